"""Measure a server under load and write docs/load.md: `make load` (about 15 minutes).

python tests/load/run.py [--out docs/load.md] [PART ...]     parts: overload stub same-words soak pair
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import httpx2  # noqa: E402
import server  # noqa: E402
from clients import ROUTE, Clip, Outcome, ask, ask_raw, at_rate, in_turn, percentile  # noqa: E402

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
SPEECH = ROOT.parent / "shared" / "speech" / "open"
SHORT_SETS = ("es-phone-asterisk", "en-phone-asterisk", "fr-phone-asterisk", "it-phone-asterisk")
STUB_S = 0.2  # what a recording takes the stub engine
STATUSES = "ok / refused / 5xx / lost"


def clips(folder: Path, limit: int = 10_000) -> list[Clip]:
    """Read the clips a manifest names."""
    manifest = next(folder.glob("*.jsonl"))
    lines = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()][:limit]
    return [
        Clip(e["audio"], (folder / e["audio"]).read_bytes(), e["language"], e["duration_s"]) for e in lines
    ]


def counted(outcomes: list[Outcome]) -> str:
    """Say what became of requests. A 503 or 429 is a refusal; any other 5xx is a failure."""
    status = Counter(o.status for o in outcomes)
    refused = status[503] + status[429]
    failed = sum(n for s, n in status.items() if s >= 500) - status[503]
    return f"{status[200]} / {refused} / {failed} / {status[0]}"


def overload() -> list[str]:
    """Real weights, closed loop: c clients send a clip after the other."""
    some = clips(FIXTURES)
    rows = [
        f"| clients | {STATUSES} | p50 s | p99 s | audio s heard a second | resident MB |",
        "|---|---|---|---|---|---|",
    ]
    with server.real() as running:
        asyncio.run(in_turn(running.url, lambda h, n: ask(h, some[n % len(some)]), workers=2, count=4))
        for workers in (1, 2, 4, 8, 16, 32):
            began = time.perf_counter()
            done = asyncio.run(
                in_turn(
                    running.url,
                    lambda h, n: ask(h, some[n % len(some)]),
                    workers=workers,
                    count=max(20, 2 * workers),
                )
            )
            seconds = time.perf_counter() - began
            took = [o.took_s for o in done if o.status == 200]
            heard = sum(o.audio_s for o in done) / seconds
            rows.append(
                f"| {workers} | {counted(done)} | {percentile(took, 50):.2f} | {percentile(took, 99):.2f} "
                f"| {heard:.1f} | {running.memory_mb():.0f} |"
            )
    return [
        "## Real `base`, 1 to 32 clients at once",
        "",
        "Each sends one fixture after the other.",
        "",
        *rows,
    ]


def stub(seconds: float = 8.0) -> list[str]:
    """A stub engine of known pace, open loop: 1 to 50 times what it can do."""
    clip, lost = min(clips(FIXTURES), key=lambda c: c.audio_s), Counter[str]()
    capacity = 1 / STUB_S
    rows = [
        f"| offered | {STATUSES} | goodput / capacity | p50 ok, s | p50 refusal, ms | p99 refusal, ms "
        "| Retry-After |",
        "|---|---|---|---|---|---|---|",
    ]
    # Seats for two seconds of work: who would wait longer is refused at once.
    with server.stub(STUB_S, WHISPER_LAMBDA_AT_ONCE="2", WHISPER_LAMBDA_QUEUE="10") as running:
        for times in (1, 2, 5, 10, 20, 50):
            began = time.perf_counter()
            rate = times * capacity
            done = asyncio.run(
                at_rate(running.url, lambda h, _: ask_raw(h, clip), per_s=rate, seconds=seconds)
            )
            lasted = time.perf_counter() - began
            lost.update(o.lost for o in done if o.lost)
            ok = [o.took_s for o in done if o.status == 200]
            refused = [1000 * o.took_s for o in done if o.status in (429, 503)]
            told = all(o.retry_after.isdigit() for o in done if o.status in (429, 503))
            rows.append(
                f"| {times}x ({rate:.0f}/s) | {counted(done)} | {len(ok) / lasted / capacity:.2f} "
                f"| {percentile(ok, 50):.2f} | {percentile(refused, 50):.0f} | {percentile(refused, 99):.0f} "
                f"| {'always' if told else '**not always**'} |"
            )
    if lost:
        rows += ["", f"Not answered: {dict(lost)}."]
    said = f"An engine that takes {STUB_S * 1000:.0f} ms a recording, one at a time; requests come at a rate."
    return ["## A stub engine, 1 to 50 times its capacity", "", said, "", *rows]


def same_words(count: int = 500) -> list[str]:
    """Real weights: clips heard eight at once say what they say one after the other."""
    every = [c for name in SHORT_SETS for c in clips(SPEECH / name)] if SPEECH.is_dir() else clips(FIXTURES)
    shortest = sorted(every, key=lambda c: c.audio_s)[:125]
    asked = [shortest[n % len(shortest)] for n in range(count)]
    with server.real() as running:
        alone = asyncio.run(
            in_turn(running.url, lambda h, n: ask(h, shortest[n]), workers=1, count=len(shortest))
        )
        together = asyncio.run(in_turn(running.url, lambda h, n: ask(h, asked[n]), workers=8, count=count))
    pairs = list(zip(together, (alone[n % len(shortest)] for n in range(count)), strict=True))
    differing = sum(a.text != b.text or a.status != 200 for a, b in pairs)
    foreign = sum(a.text != b.text and any(a.text == o.text for o in alone) for a, b in pairs)
    return [
        "## Eight at once say what one says",
        "",
        f"{count} requests for {len(shortest)} clips (real `base`, {sum(c.audio_s for c in asked):.0f} s of "
        f"audio), eight at once, against each clip alone: **{differing}** answers differ by a byte, "
        f"**{foreign}** hold another request's words; statuses {counted(together)} ({STATUSES}).",
    ]


def soak(count: int = 2000) -> list[str]:
    """Real weights: good requests, bad ones, and clients that leave, while the process is watched."""
    good = min(clips(FIXTURES), key=lambda c: c.audio_s)  # what leaks does so however long it is
    seen: list[tuple[int, float, int, int]] = []
    outcomes: Counter[str] = Counter()
    with server.real() as running:

        async def one(http: httpx2.AsyncClient, number: int) -> Outcome:
            if number % 50 == 0:
                seen.append((number, running.memory_mb(), running.files(), running.threads()))
                print(f"\rrequest {number}, {seen[-1][1]:.1f} MB", end="", file=sys.stderr, flush=True)
            if number % 3 == 0:
                outcome = await ask(http, good)
                outcomes[f"good: {outcome.status}"] += 1
            elif number % 3 == 1:
                bad = (b"no audio at all", good.content[: number % 3000], b"")[number // 3 % 3]
                outcome = await ask(http, Clip("bad.wav", bad, "es", 0.0))
                outcomes[f"bad: {outcome.status}"] += 1
            else:
                outcome = await _left(running.url, good)
                outcomes["left"] += 1
            return outcome

        warm = 600  # heaps and caches have found their size by then
        asyncio.run(in_turn(running.url, one, workers=4, count=warm))
        seen.clear()
        asyncio.run(in_turn(running.url, one, workers=4, count=count))
        time.sleep(3)
        seen.append((count, running.memory_mb(), running.files(), running.threads()))
    first, last = seen[0], seen[-1]
    slope = _slope([(n, mb * 1024) for n, mb, _, _ in seen])
    return [
        "## Two thousand requests: a third good, a third bad, a third abandoned",
        "",
        f"{count} requests after {warm} to warm up, four at once: "
        + ", ".join(f"{name} {n}" for name, n in sorted(outcomes.items()))
        + ".",
        "",
        "| | at first | at last |",
        "|---|---|---|",
        f"| resident MB | {first[1]:.1f} | {last[1]:.1f} |",
        f"| open files | {first[2]} | {last[2]} |",
        f"| threads | {first[3]} | {last[3]} |",
        "",
        f"Slope of the resident size, least squares over {len(seen)} looks: **{slope:.2f} KB a request**.",
    ]


async def _left(url: str, clip: Clip) -> Outcome:
    """Send a request whole and hang up before the answer."""
    began = time.perf_counter()
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {ROUTE}?language=es HTTP/1.1\r\nHost: {host}\r\nContent-Type: audio/flac\r\n"
    writer.write(f"{head}Content-Length: {len(clip.content)}\r\n\r\n".encode() + clip.content)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    return Outcome(0, time.perf_counter() - began)


def _slope(points: list[tuple[float, float]]) -> float:
    mean_x, mean_y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def pair(rounds: int = 30) -> list[str]:
    """A warm 10 s clip, in turn: our server, the plain call, and the usual FastAPI around faster-whisper."""
    from dataclasses import replace

    from whisper_lambda.bootstrap import build
    from whisper_lambda.config import Settings
    from whisper_lambda.types import Options

    clip = clips(FIXTURES)[4]  # 9 s
    path = FIXTURES / clip.name
    said: dict[str, str] = {}
    outside: list[float] = []  # ms of our server's answers that are neither decoding nor hearing
    theirs = [sys.executable, str(Path(__file__).parent / "usual_server.py")]

    with (
        server.real() as ours,
        server.running(theirs) as usual,
        build(replace(Settings(), model="base", cache_mb=0)) as service,
        httpx2.Client(base_url=ours.url, timeout=600) as our_line,
        httpx2.Client(base_url=usual.url, timeout=600) as their_line,
    ):

        def plain() -> str:
            return service.transcribe(path, Options(language=clip.language, times="none")).text

        def over(line: httpx2.Client) -> str:
            form = {"model": "whisper-1", "language": clip.language}
            began = time.perf_counter()
            heard = line.post(ROUTE, files={"file": (clip.name, clip.content)}, data=form).json()
            if bill := heard.get("x_receipt"):
                in_line_s = bill["decode_s"] + bill["engine_s"]
                outside.append(1000 * (time.perf_counter() - began - in_line_s))
            return heard["text"]

        calls = {"plain": plain, "ours": lambda: over(our_line), "theirs": lambda: over(their_line)}

        def in_turns(*names: str) -> dict[str, list[float]]:
            took: dict[str, list[float]] = {name: [] for name in names}
            for number in range(rounds + 2):
                for name in names if number % 2 else reversed(names):
                    began = time.perf_counter()
                    said[name] = calls[name]()
                    if number >= 2:  # the first two warm everything up
                        took[name].append(time.perf_counter() - began)
            return took

        # Apart: for a moment after its answer the usual server's threads spin, whoever comes next.
        http, peers = in_turns("plain", "ours"), in_turns("theirs", "ours")
    empty_ms, empty_plain_ms = _without_engine(clip, path)
    over_ms = 1000 * median(o - p for o, p in zip(http["ours"], http["plain"], strict=True))
    ratio = median(t / o for t, o in zip(peers["theirs"], peers["ours"], strict=True))
    return [
        f"## A warm {clip.audio_s:.0f} s clip over HTTP",
        "",
        f"{rounds} rounds, in turn, same weights (`base`, int8), language given, connections kept.",
        "",
        "| | median, s | WER of the clip |",
        "|---|---|---|",
        f"| the plain Python call | {median(http['plain']):.3f} | {_wer(clip, said['plain']):.1f} |",
        f"| our server, in turn with it | {median(http['ours']):.3f} | {_wer(clip, said['ours']):.1f} |",
        f"| FastAPI around faster-whisper, the usual way | {median(peers['theirs']):.3f} "
        f"| {_wer(clip, said['theirs']):.1f} |",
        f"| our server, in turn with that | {median(peers['ours']):.3f} | |",
        "",
        f"What HTTP adds to the plain call: {over_ms:.1f} ms (median of pairs). Of our server's answers "
        f"**{median(outside):.1f} ms** are neither decoding nor hearing, by its receipts "
        f"(median of {len(outside)}). "
        f"The usual server takes {ratio:.2f} times as long as ours (median of pairs). "
        "speaches is on no package index: it was not run.",
        "",
        f"With an engine that takes no time, decoding included: {empty_ms:.1f} ms over HTTP, "
        f"{empty_plain_ms:.1f} ms by the plain call (medians of 60 in turn), so "
        f"**{empty_ms - empty_plain_ms:.1f} ms** are the server's.",
    ]


def _wer(clip: Clip, said: str) -> float:
    from whisper_lambda.tools.scoring import error_rate, normalise

    lines = [json.loads(line) for line in (FIXTURES / "prompts.jsonl").read_text("utf-8").splitlines()]
    wanted = next(line["text"] for line in lines if line["audio"] == clip.name)
    words = [normalise(text, clip.language) for text in (wanted, said)]
    return 100 * error_rate(words[:1], words[1:]).wer


def _without_engine(clip: Clip, path: Path, rounds: int = 60) -> tuple[float, float]:
    """Return what the clip takes over HTTP and by the plain call, in ms, where the engine takes no time."""
    from fakes import FakeEngine, fake_service
    from whisper_lambda.types import Options

    over, plain = [], []
    with server.stub(0.0) as running, fake_service(FakeEngine()) as service:
        for number in range(rounds + 5):
            began = time.perf_counter()
            service.transcribe(path, Options(language=clip.language, times="none"))
            plain_s = time.perf_counter() - began
            took_s = asyncio.run(one_after_another(running.url, clip, 2))
            if number >= 5:  # warm by then
                plain.append(1000 * plain_s)
                over.append(1000 * took_s)
    return median(over), median(plain)


async def one_after_another(url: str, clip: Clip, count: int) -> float:
    """Return what the last of `count` requests on one connection took: those of before opened it."""
    return (await in_turn(url, lambda h, _: ask(h, clip), workers=1, count=count))[-1].took_s


HEAD = """# Under load

Written by `make load`; `make load PARTS="stub soak"` measures those parts again.

What is asked of it: never a 5xx but an honest 503; at ten times what it can do 95 % of the goodput and
refusals within 50 ms (p99); words that do not change with what is heard beside them; less than 1 KB a
request kept; less than 15 ms of HTTP's own. Where other programs kept the machine busy, server and clients
were given precedence (nice -15): that spares them the wait for a core, not cold caches, and is hard on the
usual server, which has four threads on two cores. Each section says when, where and how."""

PARTS = {"overload": overload, "stub": stub, "same-words": same_words, "soak": soak, "pair": pair}


def _measured() -> str:
    """Say when and where, and how much else ran there: the load before this part began is in it, too."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return (
        f"Measured {time.strftime('%Y-%m-%d %H:%M')} UTC: {found[1] if found else 'processor unknown'}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.0f} (5 minutes), nice {os.nice(0)}."
    )


def main() -> None:
    """Measure the parts asked for and put each in its place on the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; none = all")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "load.md")
    asked = parser.parse_args()
    known = json.loads(asked.out.with_suffix(".json").read_text("utf-8")) if _kept(asked.out) else {}
    for name in asked.parts or PARTS:
        known[name] = [*PARTS[name](), "", _measured()]
        print("\n".join(known[name]), flush=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    sections = ["\n".join(known[name]) for name in PARTS if name in known]
    asked.out.write_text("\n\n".join([HEAD, *sections]) + "\n", encoding="utf-8")
    asked.out.with_suffix(".json").write_text(json.dumps(known), encoding="utf-8")


def _kept(page: Path) -> bool:
    return page.with_suffix(".json").exists()


if __name__ == "__main__":
    main()
