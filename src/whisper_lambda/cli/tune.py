"""`whisper-lambda tune`: which memory size to give the function, here or on AWS."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whisper_lambda.cli import lists
from whisper_lambda.cli.terminal import say

if TYPE_CHECKING:
    from whisper_lambda.tools.tuning.choosing import Point
    from whisper_lambda.tools.tuning.local import Measured

SIZES_MB = "1024,1769,2654,3538"


def tune(  # one parameter a flag
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Recordings one run hears, one by one.")
    ] = None,
    function: Annotated[
        str | None, typer.Option("--function", metavar="NAME", help="Tune this Lambda function instead.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option("--payload", metavar="FILE", help="Event for the function, JSON.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME,NAME", help="Tiers heard with here.")
    ] = "base",
    quality: Annotated[
        str, typer.Option("--quality", metavar="NAME,NAME", help="fast, balanced, best: here.")
    ] = "balanced",
    threads: Annotated[
        str, typer.Option("--threads", metavar="N,N", help="Decoding threads here; 0 = what a size is worth.")
    ] = "0",
    language: Annotated[
        str | None, typer.Option("--language", "-l", metavar="CODE", help="Heard here; absent = detected.")
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Here: time without words, random numbers in the true shape."),
    ] = False,
    shared_machine: Annotated[
        bool,
        typer.Option("--shared-machine", help="Here: go by processor time, where others use it too."),
    ] = False,
    memory: Annotated[str, typer.Option("--memory", metavar="MB,MB", help="Sizes to try.")] = SIZES_MB,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="Runs of each size.")] = 5,
    architecture: Annotated[str, typer.Option("--arch", metavar="NAME", help="x86_64 or arm64.")] = "x86_64",
    strategy: Annotated[
        Literal["cost", "speed", "balanced"],
        typer.Option("--strategy", metavar="NAME", help="cost, speed, balanced."),
    ] = "balanced",
    weight: Annotated[
        float, typer.Option("--weight", metavar="X", min=0, max=1, help="Balanced: 0 fastest, 1 cheapest.")
    ] = 0.5,
    max_latency_s: Annotated[
        float, typer.Option("--max-latency-s", metavar="S", help="Leave out what takes longer.")
    ] = math.inf,
    max_usd: Annotated[
        float, typer.Option("--max-usd", metavar="USD", help="Leave out what costs more a run.")
    ] = math.inf,
    against: Annotated[
        bool, typer.Option("--against-faster-whisper", help="Run it beside us, same files, same sizes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the result there.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the curve there.")
    ] = None,
    template: Annotated[
        Path | None, typer.Option("--write-template", metavar="FILE", help="Set the chosen size in it.")
    ] = None,
) -> None:
    """Find the memory size that is cheapest, fastest, or both in balance.

    Here, processes get the processor time Lambda gives a function of each size. With --function, the
    function itself is tried at each size, by versions and aliases that are removed afterwards.
    """
    from whisper_lambda.config import Settings
    from whisper_lambda.economy.prices import price_book
    from whisper_lambda.tools.tuning import choosing, curve

    _check_writable(template, page)
    sizes = _sizes(memory)
    book = price_book(Settings.from_env())
    measured: list[Measured] = []
    if function:
        from whisper_lambda.tools.tuning.on_lambda import sweep as sweep_function

        event = payload.read_bytes() if payload else b"{}"
        seconds = sweep_function(function, sizes, event, runs=runs, say=say)
        by_side = {function: [choosing.point(mb, s, book, architecture) for mb, s in seconds.items()]}
    else:
        heard = _Heard(
            tuple(model.split(",")),
            _qualities(quality),
            tuple(lists.numbers("--threads", threads, (0, 64), int)),
            language,
            random_weights=random_weights,
        )
        measured = _here(inputs or [], heard, sizes, runs, against=against)
        by_side = {}
        for m in measured:
            took = m.reckoned_s if shared_machine else m.seconds
            by_side.setdefault(m.side, []).append(choosing.point(m.memory_mb, took, book, architecture))
    points = next(iter(by_side.values()))
    for side, each in by_side.items():
        _print(side, each)
    if measured:
        _print_hours(measured, by_side, shared=shared_machine)
    chosen = choosing.best(points, strategy, weight=weight, max_ms=max_latency_s * 1000, max_usd=max_usd)
    typer.echo(
        f"\n{strategy}: {chosen.memory_mb} MB, {chosen.duration_ms:.0f} ms, {chosen.usd:.7f} USD a run"
    )
    typer.echo(choosing.visualisation(points))
    result = {
        **choosing.to_json(points, chosen),
        **curve.facts(measured, by_side, architecture),
        "shared_machine": shared_machine,
    }
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if page:
        curve.write_page(by_side, chosen, page)
    if template:
        from whisper_lambda.tools.tuning.template import set_memory

        set_memory(template, chosen.memory_mb)
        say(f"{template}: the function's memory is {chosen.memory_mb} MB now")


def _check_writable(template: Path | None, page: Path | None) -> None:
    """Refuse what could not be written in the end: a sweep takes minutes, and money on AWS."""
    from whisper_lambda.tools.extras import needed
    from whisper_lambda.tools.tuning.template import memory_of

    if template:
        memory_of(template)
    if page:
        needed("altair")


def _sizes(text: str) -> list[int]:
    return sorted(lists.numbers("--memory", text, lists.LAMBDA_MB, int))


def _qualities(text: str) -> tuple[str, ...]:
    from whisper_lambda.errors import BadOption

    if set(named := text.split(",")) <= {"fast", "balanced", "best"}:
        return tuple(named)
    raise BadOption(f"--quality lists fast, balanced and best with commas, not {text!r}")


@dataclass(frozen=True, slots=True)
class _Heard:
    """With what, and in what language, the recordings are heard here."""

    models: tuple[str, ...]
    qualities: tuple[str, ...]
    threads: tuple[int, ...]
    language: str | None
    random_weights: bool


def _here(inputs: list[Path], heard: _Heard, sizes: list[int], runs: int, *, against: bool) -> list[Measured]:
    from whisper_lambda.config import Settings
    from whisper_lambda.errors import BadOption
    from whisper_lambda.tools.tuning import local

    if not inputs:
        raise BadOption("name the recordings a run hears, or --function for one on AWS")
    if heard.random_weights and len(heard.models) > 1:
        raise BadOption("--random-weights takes one model at a time")
    if against and not heard.random_weights and heard.models[0] != "base":
        raise BadOption("faster-whisper runs on base, or on --random-weights of another shape")
    home, audio_s = Settings.from_env().home, sum(local.duration_s(path) for path in inputs)
    with ExitStack() as held:
        folder: Path | None = None
        if heard.random_weights:
            folder = held.enter_context(local.random_model(heard.models[0], audio_s / len(inputs), home))
        sides, wishes, counts = _ours(heard, folder)
        if against:
            from whisper_lambda.tools.baselines import base_folder

            sides["faster-whisper"] = local.faster_whisper(str(folder or base_folder(home)))
        spoken = {"language": heard.language} if heard.language else {}
        found = local.sweep(
            sides,
            sizes,
            [{"audio": str(path), **spoken} for path in inputs],
            audio_s=audio_s,
            rounds=runs,
            wishes=wishes,
            on_run=lambda side, size, seconds: say(f"{side}, {size} MB: {seconds:.2f} s"),
        )
    return [replace(each, threads=counts.get(each.side, 0)) for each in found]


def _ours(
    heard: _Heard, folder: Path | None
) -> tuple[dict[str, Callable[[int], Sequence[str]]], dict[str, dict[str, str]], dict[str, int]]:
    """Return a side for each tier, quality and thread count, what it is asked for, and that count."""
    from whisper_lambda.tools.tuning import local

    ways = list(product(heard.models, heard.qualities, heard.threads))
    sides: dict[str, Callable[[int], Sequence[str]]] = {}
    wishes: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for model, quality, count in ways:
        parts = [model, quality, f"{count} threads" if count else ""] if len(ways) > 1 else []
        name = " ".join(["whisper-lambda", *filter(None, parts)])
        sides[name] = local.ours(folder or model, count)
        wishes[name], counts[name] = {"quality": quality}, count
    return sides, wishes, counts


def _print(side: str, points: list[Point]) -> None:
    typer.echo(f"\n{side}\n{'MB':>8}{'ms':>10}{'USD a run':>14}{'GB-s':>9}")
    for p in points:
        typer.echo(f"{p.memory_mb:>8}{p.duration_ms:>10.0f}{p.usd:>14.8f}{p.gb_s:>9.3f}")


def _print_hours(measured: list[Measured], by_side: dict[str, list[Point]], *, shared: bool) -> None:
    audio_s = measured[0].audio_s
    typer.echo("")
    for side, points in by_side.items():
        least = min(points, key=lambda p: p.usd)
        hour = least.usd / audio_s * 3600
        typer.echo(
            f"{side}: an hour of audio costs {hour:.5f} USD at its cheapest size, {least.memory_mb} MB"
        )
    for how in dict.fromkeys(m.enforced for m in measured):
        typer.echo(f"  {how}")
    if shared:
        typer.echo("  times are processor seconds over the cores granted: the machine was shared")
