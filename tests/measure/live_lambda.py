"""Captions where no server stays: POST /v1/live/{session} through the local Lambda, beside the WebSocket.

python tests/measure/live_lambda.py MANIFEST... --seconds 60 --out docs/live-lambda.md

Two environments of one function, each behind a gateway of its own, do the steps in turn. The same audio goes
over the WebSocket of `whisper-lambda serve` in real time. Words are scored against the reference; what it
costs is what the receipts say.
"""

import argparse
import sys
import time
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
from whisper_lambda.economy.prices import price_book  # noqa: E402
from whisper_lambda.tools.manifest import read_manifests, read_utterances  # noqa: E402
from whisper_lambda.tools.scoring import error_rate, normalise, open_brackets  # noqa: E402
from whisper_lambda.types import SAMPLE_RATE  # noqa: E402

MEMORY_MB = 1_769  # one core of Lambda's
PACKET_S = 0.1


@dataclass
class Run:
    """What steps of one length said and cost."""

    said: list[str] = field(default_factory=list)
    usd: float = 0.0
    steps: int = 0
    audio_s: float = 0.0
    took_s: list[float] = field(default_factory=list)
    kb: list[float] = field(default_factory=list)


def post(url, session, samples, **form):
    """Do one step."""
    return httpx2.post(
        f"{url}/v1/live/{session}",
        files={"file": ("tail.pcm", pcm(samples))},
        data={"encoding": "pcm16", **{k: v for k, v in form.items() if v}},
        timeout=120,
    )


def stepped(urls, samples, language, every_s, run):
    """Send a recording step by step, each to the next environment; return its words and its tokens."""
    session, token, at, begin, said, tokens = f"s{time.time_ns()}", "", 0, 0, "", []
    while at < len(samples):
        at = min(len(samples), at + round(every_s * SAMPLE_RATE))
        began = time.monotonic()
        final = "true" if at == len(samples) else ""
        answered = post(
            urls[run.steps % len(urls)],
            session,
            samples[begin:at],
            token=token,
            final=final,
            language="" if token else language,
        )
        answered.raise_for_status()
        answer = answered.json()
        run.took_s.append(time.monotonic() - began)
        run.kb.append((at - begin) * 2 / 1000)
        run.usd += answer["x_receipt"]["usd"]
        run.steps += 1
        tokens.append(token)
        token, said, begin = (
            answer["token"],
            said + answer["text"],
            round(answer["audio_from_s"] * SAMPLE_RATE),
        )
    run.audio_s += len(samples) / SAMPLE_RATE
    run.said.append(said)
    return session, tokens


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
            if entry.utterances:
                told = [u for u in read_utterances(entry.utterances) if u.end <= seconds]
                samples = samples[: int((told[-1].end + 0.3) * SAMPLE_RATE)]
                text = " ".join(u.text for u in told)
            quiet = np.zeros(SAMPLE_RATE, np.float32)
            yield entry, np.concatenate([samples, quiet]), text


def main():
    """Run and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("manifests", nargs="+", type=Path)
    asked.add_argument("--seconds", type=float, default=30.0)
    asked.add_argument("--every", type=float, nargs="+", default=[1.0, 2.0])
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
            for entry, samples, _ in played:
                session, tokens = stepped(urls, samples, entry.language, every, run)
                print(every, entry.audio, run.said[-1][-70:], flush=True)
        for n, token in enumerate((tokens[0], tokens[1], tokens[-1])):
            for url in urls:
                answer = post(url, session, samples[: 5 * SAMPLE_RATE], token=token)
                refused[n, url] = (answer.status_code, answer.json()["error"]["code"])
        idle = Run()
        stepped(urls, np.zeros(20 * SAMPLE_RATE, np.float32), "es", 1.0, idle)
        held.close()
        with running("serve", "--port", "9473", "--model", "base") as url:
            wire = [streamed(url, samples, entry.language) for entry, samples, _ in played]
    over_wire = (
        100 * error_rate(references, [_normal(e, s) for (e, _, _), s in zip(played, wire, strict=True)]).wer
    )
    write = price_book().usd("dynamodb.write")
    rows = []
    for every, run in runs.items():
        wer = (
            100
            * error_rate(
                references, [_normal(e, s) for (e, _, _), s in zip(played, run.said, strict=True)]
            ).wer
        )
        rows.append(
            f"| {every:g} s | {wer:.2f} ({wer - over_wire:+.2f}) | {_hour(run):.4f} | "
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
        wer=over_wire,
        rows="\n".join(rows),
        idle=_hour(idle),
        refused=len(refused),
    )
    how.out.write_text(page, encoding="utf-8")
    print(page)


def _hour(run):
    return run.usd / run.audio_s * 3600


def _normal(entry, text):
    return normalise(open_brackets(text), entry.language, numbers=True, fold_diacritics=entry.fold_diacritics)


HEAD = """# Live captions on Lambda, measured
<!-- Written by tests/measure/live_lambda.py (`make live-lambda`); run it again rather than editing. -->

{date}: {seconds:.0f} s of {count} recordings, model base, delay `low`, as `POST /v1/live/{{session}}` through
two local Lambda environments of {memory} MB in turn (`lambda-local`, on this machine's processor and not
Lambda's). The same audio over the WebSocket, in real time: {wer:.2f} % WER.

| step each | WER (against socket) | USD an hour: receipts | table | a step takes, p50 / p95 | PCM sent |
|---|---|---|---|---|---|
{rows}

"Table" is one conditional write a step, which is what refuses steps done already in every environment. An
hour of silence, a step each second, by the receipts: USD {idle:.4f}; a client that hears nothing itself need
send nothing. Steps done already were sent again to both environments: {refused} of {refused} refused with
`409 live_step_replayed`.
"""


if __name__ == "__main__":
    main()
