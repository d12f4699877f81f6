"""`whisper-lambda bench`: we against the others, on the same weights, in the same run, in turn."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption, WhisperLambdaError

PARTS = "threads short detect quality long music nonspeech modes formats cold imports openai speed"


def bench(
    manifests: Annotated[
        list[Path],
        typer.Argument(
            help="manifest.jsonl files, or folders that hold some; after the word `live`: of live captions",
            show_default=False,
        ),
    ],
    part: Annotated[
        str,
        typer.Option(
            help=f"comma-separated parts to run, of: {PARTS}; or all, or none; live: one peer crowds idle"
        ),
    ] = "all",
    sets: Annotated[str, typer.Option(help="comma-separated sets to keep; empty = every one")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="times the timed parts are run")] = 1,
    against: Annotated[str, typer.Option(help="comma-separated opponents")] = "faster-whisper,openai-whisper",
    openai_python: Annotated[
        str, typer.Option(help="Python that has openai-whisper and torch", show_default="this one")
    ] = sys.executable,
    quick: Annotated[bool, typer.Option("--quick", help="a sample of everything, in three minutes")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="live: of each long recording, for part one", show_default="all"),
    ] = None,
    nth: Annotated[int, typer.Option(min=1, help="run every nth of the short clips only")] = 1,
    run: Annotated[
        str | None, typer.Option(help="name of the raw file to add to; default: today's date")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="page to write; plot and raw files go into a folder of its name")
    ] = Path("docs/benchmarks.md"),
) -> None:
    """Measure speed, words, memory and start against faster-whisper and openai-whisper."""
    if str(manifests[0]) == LIVE:
        _live(manifests[1:], out, seconds=QUICK_S if quick else seconds or math.inf, quick=quick, part=part)
        return
    # The parts bring numpy, and the tables their own libraries: not for those who ask for help only.
    from whisper_lambda.tools import bench as benchmark
    from whisper_lambda.tools import parts, report, setup
    from whisper_lambda.tools.manifest import read_manifests

    opponents = frozenset(filter(None, against.split(",")))
    raw = out.with_suffix("") / f"{run or benchmark.now()[:10]}.json"
    try:
        wanted = benchmark.runnable(opponents) if part == "all" else () if part == "none" else part.split(",")
        kept = frozenset(filter(None, sets.split(",")))
        entries = tuple(e for e in read_manifests(manifests) if not kept or e.set in kept)
        if not entries:
            raise BadOption(f"no recording is in the sets {sets!r}")
        chosen = setup.Setup(
            entries=entries,
            weights=setup.lay_out_weights(Settings.from_env()),
            rounds=rounds,
            quick=quick,
            every_nth=nth,
            against=opponents,
            openai_python=openai_python,
            say=lambda text: typer.echo(text, err=True, nl=not text.startswith("\r")),
        )
        results = benchmark.run(chosen, wanted, raw)
        report.write(results, out, shlex.join(["whisper-lambda", *sys.argv[1:]]))
    except (WhisperLambdaError, ModuleNotFoundError) as failure:
        typer.echo(f"bench: {failure}", err=True)
        raise typer.Exit(2 if isinstance(failure, BadOption) else 1) from failure
    typer.echo(f"{out}, {raw} ({', '.join(name for name in parts.PARTS if name in results)})")


LIVE = "live"
QUICK_S = 15.0  # of each long recording


def _live(manifests: list[Path], out: Path, *, seconds: float, quick: bool, part: str) -> None:
    """Measure live captions: lateness, words, sessions at once, and against 30 s windows."""
    from whisper_lambda.tools import live_bench
    from whisper_lambda.tools.manifest import read_manifests

    page = Path("docs/benchmarks-live.md") if out == Path("docs/benchmarks.md") else out
    try:
        if not manifests:
            raise BadOption("name a manifest after `live`, e.g. of long recordings with their utterances")
        entries = [e for e in read_manifests(manifests) if e.text and e.language]
        plan = live_bench.Plan(
            seconds=seconds,
            counts=(3,) if quick else (3, 8, 12),
            parts=live_bench.PARTS if part == "all" else tuple(part.split(",")),
        )
        command = shlex.join(["whisper-lambda", *sys.argv[1:]])
        results = live_bench.run(
            entries, page, plan, command=command, say=lambda text: typer.echo(text, err=True)
        )
    except (WhisperLambdaError, ModuleNotFoundError) as failure:
        typer.echo(f"bench live: {failure}", err=True)
        raise typer.Exit(2 if isinstance(failure, BadOption) else 1) from failure
    if missing := [part for part in live_bench.PARTS if part not in results]:
        typer.echo(
            f"the page is written when {', '.join(missing)} were measured into the same file", err=True
        )
    typer.echo(str(page.with_suffix(".json") if missing else page))
