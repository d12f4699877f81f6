"""`whisper-lambda compare`: a saved OpenAI answer against ours for the same recording."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whisper_lambda.cli.terminal import one_line, say

if TYPE_CHECKING:
    from whisper_lambda.tools.compare import Comparison
    from whisper_lambda.types import Task, Times


def compare(
    context: typer.Context,
    saved: Annotated[
        Path, typer.Argument(metavar="SAVED.json", help="An answer of the OpenAI API, as json.")
    ],
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="What it is the answer to.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Tier or alias to hear it with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", metavar="")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Hear a recording again and say how our answer differs from a saved one of OpenAI's.

    Words, times and fields are compared; json and verbose_json are understood. Nothing leaves this machine.
    """
    from whisper_lambda.tools.compare import compare as compared

    del debug  # read by the outermost edge
    before = _read(saved)
    found = compared(before, _ours(context, recording, before, model))
    if as_json:
        typer.echo(json.dumps(_to_json(found), ensure_ascii=False, indent=1))
    else:
        _print(found)


def _read(path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        say(f"error: {path} cannot be read as JSON: {cause}")
        raise typer.Exit(1) from cause
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        say(f"error: {path} is no answer of the API: it has no text")
        raise typer.Exit(1)
    for name in ("words", "segments"):
        if not _timed(answer.get(name) or []):
            say(f"error: {path} is no answer of the API: its {name} are not objects with a text and a start")
            raise typer.Exit(1)
    return answer


def _timed(parts: object) -> bool:
    return isinstance(parts, list) and all(
        isinstance(part, dict)
        and isinstance(part.get("word") or part.get("text") or "", str)
        and isinstance(part.get("start"), int | float)
        for part in parts
    )


def _ours(
    context: typer.Context, recording: Path, saved: dict[str, Any], model: str | None
) -> dict[str, Any]:
    """Hear the recording and answer in the saved answer's format."""
    from whisper_lambda.bootstrap import build
    from whisper_lambda.config import Settings
    from whisper_lambda.economy.receipt import receipt
    from whisper_lambda.http.answers import to_json, to_verbose_json
    from whisper_lambda.types import Options

    settings = Settings.from_env()
    verbose, words = "duration" in saved, bool(saved.get("words"))
    times: Times = "word" if words else "segment" if verbose else "none"
    task: Task = "translate" if saved.get("task") == "translate" else "transcribe"
    with (context.obj["build"] or build)(settings) as service:
        transcript = service.transcribe(recording, Options(times=times, task=task), model=model)
    bill = receipt(transcript, settings, queue_s=0.0, init_s=0.0)
    if not verbose:
        return to_json(transcript, bill)
    granularities = [name for name in ("word", "segment") if saved.get(f"{name}s")]
    return to_verbose_json(transcript, bill, granularities)


def _to_json(found: Comparison) -> dict[str, Any]:
    return asdict(found) | {
        "word_difference": round(found.word_difference, 4),
        "median_shift_s": found.median_shift_s,
    }


def _print(found: Comparison) -> None:
    ours = [name for name in found.added if not name.split(".")[-1].startswith("x_")]
    lines = {
        "words": f"{found.edits} of {found.words} differ ({100 * found.word_difference:.1f} %)",
        "times": "none to compare"
        if found.median_shift_s is None
        else f"{len(found.shifts)} beginnings, median {found.median_shift_s:.2f} s apart, "
        f"at most {max(map(abs, found.shifts)):.2f} s",
        "language": " -> ".join(dict.fromkeys(filter(None, found.language))) or "not told",
        "fields missing": ", ".join(found.missing) or "none",
        "fields of another kind": ", ".join(found.retyped) or "none",
        "fields added": ", ".join(ours) or "none but ours (x_)",
    }
    for name, says in lines.items():
        typer.echo(f"{name:<24}{one_line(says)}")
    for passage in found.passages:
        typer.echo(f"  {one_line(passage.saved) or '-'}  ->  {one_line(passage.ours) or '-'}")
