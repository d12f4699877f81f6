"""A manifest file in, its recordings out: one JSON object a line, paths relative to the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_lambda.errors import BadOption

SEVERAL_LANGUAGES = "mul"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recording of an evaluation set, and what is known about it."""

    path: Path
    audio: str  # as the manifest spells it
    set: str
    language: str | None = None  # ISO 639-1; "mul" = several, None = unknown or none
    text: str | None = None  # the reference; "" = must stay empty, None = nobody knows
    duration_s: float = 0.0  # 0 = the manifest does not say
    speaker: str | None = None
    condition: str | None = None
    kind: str | None = None
    expect: str | None = None
    fold_diacritics: bool = False  # the source writes without accents
    utterances: Path | None = None  # file of start, end and text of every utterance

    @property
    def language_hint(self) -> str | None:
        """The language to tell a decoder; None where it has to find out."""
        return None if self.language == SEVERAL_LANGUAGES else self.language

    @property
    def label(self) -> str:
        """Set and file, the name a recording goes by in reports."""
        return f"{self.set}/{self.audio}"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker said without a long pause, and when, as the reference has it."""

    start: float
    end: float
    text: str


def read_manifest(path: Path) -> tuple[Entry, ...]:
    """Return the recordings a manifest names, in its order.

    Raises:
        BadOption: the file is missing, or a line is not a JSON object with an `audio`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(_entry(json.loads(line), path) for line in lines if line.strip())
    except OSError as cause:
        raise BadOption(f"{path}: {cause.strerror}") from cause
    except (ValueError, KeyError, TypeError) as cause:
        raise BadOption(f"{path} is not a manifest: {cause!r}") from cause


def read_manifests(paths: Iterable[Path]) -> tuple[Entry, ...]:
    """Return the recordings of several manifests; a folder stands for the manifests below it."""
    found: list[Path] = []
    for path in paths:
        below = sorted(path.rglob("manifest.jsonl")) if path.is_dir() else [path]
        if not below:
            raise BadOption(f"no manifest.jsonl in {path}")
        found += below
    return tuple(entry for path in found for entry in read_manifest(path))


def read_utterances(path: Path) -> tuple[Utterance, ...]:
    """Return the utterances of one recording, in order of time."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return tuple(Utterance(float(r["start"]), float(r["end"]), r["text"]) for r in rows)


def _entry(row: dict[str, Any], manifest: Path) -> Entry:
    folder = manifest.resolve().parent
    return Entry(
        path=folder / row["audio"],
        audio=row["audio"],
        set=row.get("set") or folder.name,
        language=row.get("language") or None,
        text=row.get("text"),
        duration_s=float(row.get("duration_s") or 0.0),
        speaker=row.get("speaker"),
        condition=row.get("condition"),
        kind=row.get("kind"),
        expect=row.get("expect"),
        fold_diacritics=bool(row.get("fold_diacritics")),
        utterances=folder / row["segments"] if row.get("segments") else None,
    )
