"""Cold starts of two Lambda functions on this machine, in pairs: ours, and faster-whisper under Mangum.

    python -m whisper_lambda.aws.bench.coldstart --out docs/aws-cold-start.md

Both answer the founding request (a multipart event of a Function URL) in a fresh process, on the same
weights, with warm page cache. What it cannot show is Lambda's own part: fetching the image.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from whisper_lambda.config import Settings, with_environment
from whisper_lambda.models.catalogue import tier
from whisper_lambda.models.store import Store
from whisper_lambda.tools.baselines import base_folder
from whisper_lambda.tools.processes import ProcessCost, run_cold
from whisper_lambda.tools.random_weights import SHAPES, write_random_model
from whisper_lambda.tools.tuning.local import TOKENS_A_SECOND, duration_s
from whisper_lambda.tools.tuning.quota import held_to, threads

PHASES = ("interpreter", "import", "weights", "answer")
BAR_TIME, BAR_MEMORY = 0.5, 0.6
WEIGHED = 3  # pairs whose memory is watched


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start."""

    at: Mapping[str, float]  # seconds since the process began, by phase
    cost: ProcessCost
    touched_mb: float
    text: str


def founding_event(recording: Path, language: str) -> dict[str, object]:
    """Return the founding curl as a Function URL's event."""
    line = "------------------------d74496d66958873e"
    head = f'--{line}\r\nContent-Disposition: form-data; name="language"\r\n\r\n{language}\r\n'
    head += f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="{recording.name}"\r\n\r\n'
    body = head.encode() + recording.read_bytes() + f"\r\n--{line}--\r\n".encode()
    http = {"method": "POST", "path": "/transcribe", "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"}
    signed = {"iam": {"accountId": "000000000000"}}
    return {
        "version": "2.0",
        "rawPath": "/transcribe",
        "rawQueryString": "",
        "headers": {"content-type": f"multipart/form-data; boundary={line}", "host": "local"},
        "requestContext": {"http": http, "stage": "$default", "domainName": "local", "authorizer": signed},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def started(command: list[str], memory_mb: int, environment: Mapping[str, str], *, weigh: bool) -> Start:
    """Run one cold start to its end; its memory is watched in runs apart, for that costs it time."""
    with held_to(memory_mb, "start") as (enter, _):
        cost = run_cold(command, memory=weigh, env=with_environment(environment), on_start=enter)
    told = json.loads(cost.output.strip().splitlines()[-1])
    return Start(told["at"], cost, told["touched_mb"], told["text"])


def pairs(
    ours: list[str],
    theirs: list[str],
    memory_mb: int,
    environment: Mapping[str, str],
    count: int,
    *,
    weigh: bool,
) -> Iterator[tuple[Start, Start]]:
    """Yield cold starts of both, in turn; the first of each, which fills the page cache, is thrown away."""
    for number in range(count + 1):
        pair = [started(command, memory_mb, environment, weigh=weigh) for command in (ours, theirs)]
        if number:
            yield pair[0], pair[1]


def rows(name: str, measured: list[tuple[Start, Start]], weighed: list[tuple[Start, Start]]) -> list[str]:
    """Return the table's rows of one tier at one size: times of the first pairs, memory of the second."""
    out = []
    for side, who in enumerate(("whisper-lambda", "faster-whisper, Mangum")):
        starts = [pair[side] for pair in measured]
        median = {
            p: statistics.median(s.at[p] for s in starts if p in s.at) for p in PHASES if p in starts[0].at
        }
        seconds = " | ".join(f"{median[p]:.2f}" if p in median else "" for p in PHASES)
        cpu = statistics.median(s.cost.cpu_s for s in starts)
        memory = statistics.median(pair[side].cost.peak_pss_mb for pair in weighed)
        touched = statistics.median(s.touched_mb for s in starts)
        out.append(f"| {name}: {who} | {seconds} | {cpu:.2f} | {memory:.0f} | {touched:.0f} |")
    time_ratio = statistics.median(a.at["answer"] / b.at["answer"] for a, b in measured)
    cpu_ratio = statistics.median(a.cost.cpu_s / b.cost.cpu_s for a, b in measured)
    memory_ratio = statistics.median(a.cost.peak_pss_mb / b.cost.peak_pss_mb for a, b in weighed)
    kept = "kept" if time_ratio <= BAR_TIME and memory_ratio <= BAR_MEMORY else "**not kept**"
    out.append(
        f"| {name}: ratios | | | | **{time_ratio:.2f}** | {cpu_ratio:.2f} | **{memory_ratio:.2f}** | {kept} |"
    )
    return out


HEAD = """# Cold starts

Written by `make bench-lambda`; [aws-lambda.md](aws-lambda.md#cold-starts) says what is in it and what is not.

Medians of {count} pairs in one run, {day} (load {load:.0f}, warm page cache), each process held to the
processor time Lambda grants a function of that size (1,769 MB are one core; {enforced} here): seconds
since the process began, CPU seconds and peak memory (PSS, in {weighed} pairs apart) of the process tree, and
megabytes read or mapped and touched. `import`: the code is imported; `weights`: they are loaded and the
application is built (ours loads them while it imports); `answer`: the first decode is done and answered.
The event is the founding curl with {recording}. Bars: {time} of the time, {memory} of the memory.

| | interpreter | import | weights | answer | CPU s | MB | touched MB |
|---|---|---|---|---|---|---|---|
"""


def main(
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")],
    recording: Annotated[Path, typer.Option("--recording", help="What is transcribed.")] = Path(
        "tests/fixtures/es-tt-allbusy.flac"
    ),
    count: Annotated[int, typer.Option("--pairs", help="Pairs for each tier and size.")] = 5,
    memory: Annotated[
        str, typer.Option("--memory", help="Sizes of the function, MB, with commas.")
    ] = "1769,3008",
    small: Annotated[
        bool, typer.Option("--small/--no-small", help="Random weights of the small shape too.")
    ] = True,
) -> None:
    """Measure, and write the page."""
    settings = Settings()
    Store(settings).obtain(tier("base"))
    fp16 = base_folder(settings.home)
    written = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        event = folder / "event.json"
        event.write_text(json.dumps(founding_event(recording, "es")))
        models = {"base": ("base", fp16)}
        if small:
            says = max(1, round(duration_s(recording) * TOKENS_A_SECOND))  # else both doubt it for minutes
            write_random_model(folder / "small", SHAPES["small"], fp16, says=says)
            models["small, random weights"] = (str(folder / "small"), folder / "small")
        with held_to(int(memory.split(",")[0]), "look") as (_, enforced):
            pass
        for (name, (wish, theirs)), size in product(models.items(), map(int, memory.split(","))):
            environment = {
                "WHISPER_LAMBDA_THREADS": str(threads(size)),
                "WHISPER_LAMBDA_MODEL": wish,
                "WHISPER_LAMBDA_LAMBDA_AUTH": "iam",
                "WHISPER_LAMBDA_LAMBDA_INVOKE_MODE": "buffered",
                "WHISPER_LAMBDA_CACHE_MB": "0",
                "WHISPER_LAMBDA_LOG_LEVEL": "error",
            }
            two = (
                [sys.executable, "-m", "whisper_lambda.aws.bench.ours", "api", str(event)],
                [sys.executable, "-m", "whisper_lambda.aws.bench.usual", str(theirs), str(event)],
            )
            measured = list(pairs(*two, size, environment, count, weigh=False))
            weighed = list(pairs(*two, size, environment, min(count, WEIGHED), weigh=True))
            written += rows(f"{name}, {size:,} MB", measured, weighed)
            head = HEAD.format(
                count=count,
                weighed=min(count, WEIGHED),
                enforced=enforced.split(" of ")[0],
                day=time.strftime("%Y-%m-%d"),
                load=os.getloadavg()[1],
                recording=recording.name,
                time=BAR_TIME,
                memory=BAR_MEMORY,
            )
            out.write_text(head + "\n".join(written) + "\n", encoding="utf-8")  # one tier at least
    typer.echo(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
