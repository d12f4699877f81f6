"""`whisper-lambda evaluate`: how well and how fast we hear recordings whose words are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption, WhisperLambdaError
from whisper_lambda.tools.evaluate import (
    Grouping,
    GroupScore,
    Heard,
    LanguageFrom,
    given,
    listen,
    pooled_short,
    score_record,
    scored,
    utterance_record,
)
from whisper_lambda.tools.manifest import Entry, read_manifests
from whisper_lambda.tools.scoring import NORMALISER
from whisper_lambda.types import Options, Quality, Times, VadMode


def evaluate(
    manifests: Annotated[
        list[Path], typer.Argument(help="manifest.jsonl files, or folders that hold some", show_default=False)
    ],
    model: Annotated[str | None, typer.Option(help="tier or alias; default: the settings'")] = None,
    language: Annotated[
        LanguageFrom, typer.Option(help="take the language from the manifest, or detect it")
    ] = ("manifest"),
    by: Annotated[Grouping, typer.Option(help="what a line of the report stands for")] = "set",
    numbers: Annotated[bool, typer.Option(help="fold the words for 0-10 to digits (es fr it pt de)")] = False,
    short: Annotated[
        bool, typer.Option("--short", help="leave out longform, songs, nonspeech, formats")
    ] = False,
    quality: Annotated[Quality, typer.Option(help="fast, balanced or best")] = "balanced",
    vad: Annotated[VadMode, typer.Option(help="how to find voices")] = "auto",
    beam_size: Annotated[int | None, typer.Option(min=1, help="overrides what the quality says")] = None,
    times: Annotated[
        Times | None, typer.Option(help="times to compute; default: words where the manifest has utterances")
    ] = None,
    score_hyp: Annotated[
        Path | None, typer.Option(help="score these hypotheses (JSON lines) instead of transcribing")
    ] = None,
    hyp: Annotated[Path | None, typer.Option(help="write the hypotheses here, as JSON lines")] = None,
    per_utt: Annotated[Path | None, typer.Option(help="write a line for each recording here")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the scores here")] = None,
) -> None:
    """Transcribe recordings with known words; report WER, CER, RTF and false alarms."""
    console = Console()
    try:
        entries = read_manifests(manifests)
        entries = pooled_short(entries) if short else entries
        for written in filter(None, (hyp, per_utt, json_file)):  # now, and not when all was heard
            written.parent.mkdir(parents=True, exist_ok=True)
        if score_hyp:
            heard = tuple(given(entries, score_hyp))
        else:
            options = Options(quality=quality, vad=vad, beam_size=beam_size)
            heard = tuple(_transcribed(entries, options, times, model, language))
        scores = scored(heard, by, numbers=numbers)
        _write_lines(hyp, ({"audio": one.entry.label, "text": one.text} for one in heard))
        _write_lines(per_utt, (utterance_record(one, numbers=numbers) for one in heard))
    except (WhisperLambdaError, ModuleNotFoundError) as failure:
        typer.echo(f"evaluate: {failure}", err=True)
        raise typer.Exit(2 if isinstance(failure, BadOption) else 1) from failure
    if json_file:
        records = [score_record(score) for score in scores]
        report = {"normaliser": NORMALISER, "numbers_folded": numbers, "by": by, "scores": records}
        json_file.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    console.print(_table(scores, by, numbers=numbers))


def _transcribed(
    entries: tuple[Entry, ...],
    options: Options,
    times: Times | None,
    model: str | None,
    language: LanguageFrom,
) -> Iterator[Heard]:
    from dataclasses import replace

    from whisper_lambda.bootstrap import build

    with build(replace(Settings.from_env(), cache_mb=0)) as service:  # what is measured is heard
        if entries:  # the first transcript pays for loading, which no RTF should
            next(iter(listen(entries[:1], lambda p, o: service.transcribe(p, o, model=model), options)))
        for entry in track(entries, "listening", console=Console(stderr=True), transient=True):
            wanted = times or ("word" if entry.utterances else options.times)
            yield from listen(
                (entry,),
                lambda p, o: service.transcribe(p, o, model=model),
                replace(options, times=wanted),
                language=language,
            )


def _write_lines(path: Path | None, records: Iterable[dict[str, Any]]) -> None:
    if path:
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _table(scores: Iterable[GroupScore], by: str, *, numbers: bool) -> Table:
    caption = NORMALISER + (", numbers 0-10 folded" if numbers else "")
    table = Table(title="Transcripts against references", caption=caption)
    rows = [_cells(score) for score in scores]
    shown = [name for name in rows[-1] if any(row[name] for row in rows)]
    table.add_column(by, no_wrap=True)
    for name in shown[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row["group"] == "ALL":
            table.add_section()
        table.add_row(*(row[name] for name in shown))
    return table


def _cells(score: GroupScore) -> dict[str, str]:
    """Return one line of the table; columns empty in every line are not shown."""
    near, unscored = score.first_words_near, score.failed + score.missing
    return {
        "group": score.group,
        "files": str(score.files),
        "unscored": str(score.no_reference or ""),
        "min": f"{score.audio_s / 60:.1f}",
        "WER %": f"{100 * score.rate.wer:.2f}" if score.rate else "",
        "CER %": f"{100 * score.rate.cer:.2f}" if score.rate else "",
        "RTF": f"{score.rtf:.3f}" if score.seconds else "",
        "false": f"{score.false_alarm_files}/{score.nonspeech_files}" if score.nonspeech_files else "",
        "loops": str(score.looping_files or ""),
        "disorder": str(score.unordered_files or ""),
        "near 0.3 s": f"{100 * near:.1f}" if near is not None else "",
        "failed": str(unscored or ""),
    }
