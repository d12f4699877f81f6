"""Captions where no server stays: POST /v1/live/{session} through the local Lambda, beside the WebSocket.

python tests/measure/live_lambda.py MANIFEST... --out docs/live-lambda.md

Two environments of one function, each behind a gateway of its own, do the steps in turn, two recordings at
once. A step is a function of token and audio, so its words do not depend on how busy the machine is. What the
WebSocket says does: so the same session hears the same audio on a clock of its own (`tools/live_runs.py`),
which is a WebSocket on a machine that does nothing else; `--wire` sends it over a real one in real time.
Words are scored against the reference; what it costs is what the receipts say.
"""

import argparse
import itertools
import math
import os
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "http")]

from commands import running  # noqa: E402
from fakes import fake_service  # noqa: E402
from talking import COMPLETED, DELTA, pcm, talking  # noqa: E402
from whisper_lambda.bootstrap import build  # noqa: E402
from whisper_lambda.config import Settings  # noqa: E402
from whisper_lambda.economy.prices import price_book  # noqa: E402
from whisper_lambda.live.pace import PACES  # noqa: E402
from whisper_lambda.tools.live_runs import play, session_of  # noqa: E402
from whisper_lambda.tools.manifest import read_manifests, read_utterances  # noqa: E402
from whisper_lambda.tools.scoring import error_rate, normalise, open_brackets  # noqa: E402
from whisper_lambda.types import SAMPLE_RATE  # noqa: E402

MEMORY_MB = 1_769  # one core of Lambda's
PACKET_S = 0.1
AT_ONCE = 2  # recordings: one for each environment


@dataclass
class Run:
    """What steps of one length said and cost."""

    said: list[str] = field(default_factory=list)  # of each recording
    usd: float = 0.0
    steps: int = 0
    audio_s: float = 0.0
    took_s: list[float] = field(default_factory=list)
    kb: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def post(url, session, samples, **form):
    """Do one step."""
    return httpx2.post(
        f"{url}/v1/live/{session}",
        files={"file": ("tail.pcm", pcm(samples))},
        data={"encoding": "pcm16", **{k: v for k, v in form.items() if v}},
        timeout=120,
    )


_NAMES = itertools.count()
_TURNS = defaultdict(threading.Lock)  # of each environment, which refuses a second event at once


def stepped(urls, samples, language, every_s, run):
    """Send a recording step by step, each to the next environment; return its words, name and tokens."""
    session, token, at, begin, said, tokens = f"s{os.getpid()}-{next(_NAMES)}", "", 0, 0, "", []
    while at < len(samples):
        at = min(len(samples), at + round(every_s * SAMPLE_RATE))
        final = "true" if at == len(samples) else ""
        url = urls[len(tokens) % len(urls)]
        with _TURNS[url]:
            began = time.monotonic()
            answered = post(
                url,
                session,
                samples[begin:at],
                token=token,
                final=final,
                language="" if token else language,
            )
            took_s = time.monotonic() - began
        answered.raise_for_status()
        answer = answered.json()
        with run.lock:
            run.took_s.append(took_s)
            run.kb.append((at - begin) * 2 / 1000)
            run.usd += answer["x_receipt"]["usd"]
            run.steps += 1
        tokens.append(token)
        token, said, begin = (
            answer["token"],
            said + answer["text"],
            round(answer["audio_from_s"] * SAMPLE_RATE),
        )
    with run.lock:
        run.audio_s += len(samples) / SAMPLE_RATE
    return said, session, tokens


def _listen(speaker, *, until):
    """Take events until a moment: unread ones would stop the connection, its pings included."""
    while (left_s := until - time.monotonic()) > 0:
        try:
            speaker.next(left_s)
        except TimeoutError:
            return


def streamed(url, samples, language):
    """Send a recording over the WebSocket as it is spoken."""
    with talking(url) as speaker:
        speaker.configure(transcription={"model": "base", "language": language})
        began, size = time.monotonic(), round(PACKET_S * SAMPLE_RATE)
        for n, at in enumerate(range(0, len(samples), size)):
            _listen(speaker, until=began + n * PACKET_S)
            speaker.speak(samples[at : at + size])
        speaker.send("input_audio_buffer.commit")
        try:
            while True:
                speaker.next(8)
        except TimeoutError:
            pass
        assert "".join(e["delta"] for e in speaker.of(DELTA)) == "".join(
            e["transcript"] for e in speaker.of(COMPLETED)
        )
        return " ".join(e["transcript"] for e in speaker.of(COMPLETED))


def pieces(manifests, seconds):
    """Yield (language, samples, reference) of the beginning of each recording."""
    with fake_service() as service:
        for entry in read_manifests(manifests):
            if not entry.text or not entry.language:
                continue
            samples, text = service.decode(entry.path).samples, entry.text
            if entry.utterances and seconds < math.inf:
                told = [u for u in read_utterances(entry.utterances) if u.end <= seconds]
                samples = samples[: int((told[-1].end + 0.3) * SAMPLE_RATE)]
                text = " ".join(u.text for u in told)
            quiet = np.zeros(SAMPLE_RATE, np.float32)
            yield entry, np.concatenate([samples, quiet]), text


def main():
    """Run and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("manifests", nargs="+", type=Path)
    asked.add_argument("--seconds", type=float, default=math.inf, help="of each long recording")
    asked.add_argument("--every", type=float, nargs="+", default=[1.0, 2.0])
    asked.add_argument("--wire", action="store_true", help="a real WebSocket, in real time")
    asked.add_argument("--out", type=Path, default=Path("docs/live-lambda.md"))
    how = asked.parse_args()
    played = list(pieces(how.manifests, how.seconds))
    references = [_normal(e, text) for e, _, text in played]
    with ExitStack() as held:
        shared = {
            "WHISPER_LAMBDA_LIVE_SECRET": "measured",
            "WHISPER_LAMBDA_MODEL": "base",
        }
        local = ("lambda-local", "--open-to-everyone", "--memory", str(MEMORY_MB), "--port")
        urls = [held.enter_context(running(*local, port, **shared)) for port in ("9471", "9472")]
        runs = {every: Run() for every in how.every}
        refused = {}
        for every, run in runs.items():

            def send(piece, every=every, run=run):
                entry, samples, _ = piece
                said, session, tokens = stepped(urls, samples, entry.language, every, run)
                print(every, entry.audio, said[-70:], flush=True)
                return said, session, tokens

            with ThreadPoolExecutor(AT_ONCE) as pool:
                done = list(pool.map(send, played))
            run.said = [said for said, _, _ in done]
        (_, session, tokens), samples = done[-1], played[-1][1]
        for n, token in enumerate((tokens[0], tokens[1], tokens[-1])):
            for url in urls:
                answer = post(url, session, samples[: 5 * SAMPLE_RATE], token=token)
                refused[n, url] = (answer.status_code, answer.json()["error"]["code"])
        idle = Run()
        stepped(urls, np.zeros(20 * SAMPLE_RATE, np.float32), "es", 1.0, idle)
    socket = over_wire(played) if how.wire else on_its_clock(played)
    wers = {"socket": _wer(references, played, socket)}
    write = price_book().usd("dynamodb.write")
    rows = []
    for every, run in runs.items():
        wer = _wer(references, played, run.said)
        rows.append(
            f"| {every:g} s | {wer:.2f} ({wer - wers['socket']:+.2f}) | {_hour(run):.4f} | "
            f"{3600 * run.steps / run.audio_s * write:.4f} | {np.median(run.took_s):.2f} / "
            f"{np.percentile(run.took_s, 95):.2f} s | {np.mean(run.kb):.0f} kB |"
        )
    print(refused)
    assert {code for _, code in refused.values()} == {"live_step_replayed"}, refused
    page = HEAD.format(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        seconds=sum(len(s) for _, s, _ in played) / SAMPLE_RATE,
        count=len(played),
        memory=MEMORY_MB,
        words=error_rate(references, references).words,
        wer=wers["socket"],
        socket=WIRE if how.wire else CLOCK,
        sets=_sets(played, references, {"socket": socket, **{f"{k:g} s": r.said for k, r in runs.items()}}),
        load=os.getloadavg()[1],
        rows="\n".join(rows),
        idle=_hour(idle),
        refused=len(refused),
    )
    how.out.write_text(page, encoding="utf-8")
    print(page)


def on_its_clock(played):
    """Return what a session says that is fed in real time and has a core to itself."""
    with build(Settings(model="base", threads=1)) as service, service.router.engine("base") as (engine, _):
        sessions = [(session_of(engine, e.language, PACES["low"]), samples) for e, samples, _ in played]
        return [play([one], cores=1)[0].text for one in sessions]


def over_wire(played):
    """Return what a server says over its WebSocket to audio sent in real time."""
    with running("serve", "--port", "9473", "--model", "base") as url:
        return [streamed(url, samples, entry.language) for entry, samples, _ in played]


def _wer(references, played, said):
    return (
        100 * error_rate(references, [_normal(e, s) for (e, _, _), s in zip(played, said, strict=True)]).wer
    )


def _sets(played, references, said):
    """Return a table of words and of WER, by set and by way."""
    lines = [f"| set | words | {' | '.join(said)} |", "|---|---|" + "---|" * len(said)]
    for name in dict.fromkeys(e.set for e, _, _ in played):
        of_set = [i for i, (e, _, _) in enumerate(played) if e.set == name]
        some = [references[i] for i in of_set]
        each = [_wer(some, [played[i] for i in of_set], [way[i] for i in of_set]) for way in said.values()]
        cells = " | ".join(f"{wer:.2f}" for wer in each)
        lines.append(f"| {name} | {error_rate(some, some).words} | {cells} |")
    return "\n".join(lines)


def _hour(run):
    return run.usd / run.audio_s * 3600


def _normal(entry, text):
    return normalise(open_brackets(text), entry.language, numbers=True, fold_diacritics=entry.fold_diacritics)


CLOCK = "fed to the same session on a clock of its own, as the WebSocket does on a machine that is free"
WIRE = "over the WebSocket, in real time"

HEAD = """# Live captions on Lambda, measured
<!-- Written by tests/measure/live_lambda.py (`make live-lambda`); run it again rather than editing. -->

{date}, load {load:.0f}: {seconds:.0f} s of {count} recordings, {words} words, model base, delay `low`, as
`POST /v1/live/{{session}}` through two local Lambda environments of {memory} MB in turn (`lambda-local`, on
this machine's processor and not Lambda's). The same audio {socket}: {wer:.2f} % WER.

| step each | WER (against socket) | USD an hour: receipts | table | a step takes, p50 / p95 | PCM sent |
|---|---|---|---|---|---|
{rows}

{sets}

"Table" is one conditional write a step, which is what refuses steps done already in every environment. An
hour of silence, a step each second, by the receipts: USD {idle:.4f}; a client that hears nothing itself need
send nothing. Steps done already were sent again to both environments: {refused} of {refused} refused with
`409 live_step_replayed`.
"""


if __name__ == "__main__":
    main()
