"""What a benchmark compares: recordings, weights for every side, and the ways to ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_lambda.config import Settings
from whisper_lambda.models.catalogue import tier
from whisper_lambda.models.int8 import rewrite
from whisper_lambda.models.store import Store
from whisper_lambda.tools.baselines import base_folder
from whisper_lambda.tools.contest import Job, Row
from whisper_lambda.tools.evaluate import pooled_short
from whisper_lambda.tools.manifest import Entry
from whisper_lambda.tools.random_weights import SHAPES, write_random_model

MODEL = "base"  # the one tier whose weights every side can have
OURS = "whisper-lambda"
FASTER = "faster-whisper"
OPENAI = "openai-whisper"
WORD_TIMES = f"{OURS} word times"  # we, asked for the time of every word
THEIR_WORD_TIMES = f"{FASTER} word times"
BATCH_SIZE = 8  # of faster-whisper's BatchedInferencePipeline
OPENAI_CLIPS_S = (5.0, 20.0)  # length of the clips given to openai-whisper, which is slow
COLD_S = 11.0  # seconds of audio from cold process to text


@dataclass(frozen=True, slots=True)
class Weights:
    """Model folders, all made of the same published weights but the last."""

    base: Path  # fp16, for the others
    int8: Path  # as we keep them
    small: Path  # int8, random numbers in the true shape of `small`


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run compares, on what, and how long it may take."""

    entries: tuple[Entry, ...]
    weights: Weights
    rounds: int = 1
    quick: bool = False
    every_nth: int = 1  # of the short clips in the part `short`
    against: frozenset[str] = frozenset({FASTER, OPENAI})
    openai_python: str = sys.executable  # interpreter that has openai-whisper
    say: Callable[[str], None] = lambda text: None

    def of(self, *sets: str) -> tuple[Entry, ...]:
        """Return the recordings of these sets."""
        return tuple(entry for entry in self.entries if entry.set in sets)

    @property
    def short(self) -> tuple[Entry, ...]:
        """The pooled short recordings."""
        return pooled_short(self.entries)

    @property
    def music(self) -> tuple[Entry, ...]:
        """Songs, and speech with music behind it."""
        return tuple(e for e in self.entries if e.set == "song-lyrics" or e.set.endswith("-over-music"))


def hinted(entry: Entry) -> Mapping[str, Any]:
    """Ask with the language the manifest names."""
    return {"language": entry.language_hint}


def batched(entry: Entry) -> Mapping[str, Any]:
    """Ask for faster-whisper's batched pipeline."""
    return {"language": entry.language_hint, "batch_size": BATCH_SIZE}


def with_options(**options: Any) -> Job:  # noqa: ANN401 - fields of a job
    """Ask with the language the manifest names and these options."""
    return lambda entry: {"language": entry.language_hint, **options}


def every(entries: Sequence[Entry], nth: int) -> tuple[Entry, ...]:
    """Return each nth recording, from the first on."""
    return tuple(entries[::nth])


def shortest(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the shortest recording alone."""
    return tuple(sorted(entries, key=lambda e: e.duration_s)[:1])


def fastest(rows: Iterable[Row], prefix: str, otherwise: int = 0) -> int:
    """Return the number in the name of the side with the least seconds, of those named `prefix` + number.

    `otherwise` is returned when there is none.
    """
    totals: dict[str, float] = {}
    for row in rows:
        if row["side"].startswith(prefix):
            totals[row["side"]] = totals.get(row["side"], 0.0) + row["seconds"]
    return int(min(totals, key=lambda name: totals[name]).removeprefix(prefix)) if totals else otherwise


def our_command() -> list[str]:
    """Return our command line as it is installed beside this interpreter."""
    installed = Path(sys.executable).with_name("whisper-lambda")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "whisper_lambda"]


def lay_out_weights(settings: Settings) -> Weights:
    """Return the weights every side needs, written below the settings' home where they are missing.

    Raises:
        ModelUnavailable: the packages that carry the weights are not installed.
        ModelCorrupt: the bytes are not those of the catalogue.
    """
    base = base_folder(settings.home)
    int8 = Store(settings).obtain(tier(MODEL)).path
    return Weights(base=base, int8=int8, small=_random_small(settings.home, base))


def _random_small(home: Path, like: Path) -> Path:
    """Return an int8 folder of the true shape of `small`, written once."""
    folder = home / "bench" / "small-random"
    if not (folder / "model.bin").is_file():
        fp16 = home / "bench" / "small-random-fp16"
        write_random_model(fp16, SHAPES["small"], like)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "model.part").open("wb") as out:
            rewrite((fp16 / "model.bin",), out)
        for beside in fp16.iterdir():
            if beside.name != "model.bin":
                (folder / beside.name).write_bytes(beside.read_bytes())
        (folder / "model.part").rename(folder / "model.bin")
        (fp16 / "model.bin").unlink()
    return folder
