"""How long each tier takes, as measured once: seconds of audio in, seconds of one core out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from whisper_lambda.errors import BadOption
from whisper_lambda.machine import LAMBDA_MB_PER_CORE
from whisper_lambda.types import MAX_CHUNK_S


@dataclass(frozen=True, slots=True)
class Speed:
    """What one tier takes on one core."""

    core_s_per_audio_s: float
    fixed_s: float  # of a request, however short
    init_s: float  # from nothing to a loaded model
    restore_s: float  # from a snapshot; nobody has published it for models of this size
    source: str

    def seconds(self, audio_s: float, cores: float) -> float:
        """Return how long a request takes: a chunk is one thread's work, chunks go side by side."""
        chunks = max(1.0, audio_s / MAX_CHUNK_S)
        return self.fixed_s + audio_s * self.core_s_per_audio_s / max(0.05, min(cores, chunks))


def cores_of(memory_mb: float) -> float:
    """Return the processor time Lambda grants a function of this size, in cores."""
    return memory_mb / LAMBDA_MB_PER_CORE


@cache
def speeds() -> Mapping[str, Speed]:
    """Return every tier that was measured, quickest first."""
    raw = json.loads(resources.files(__package__).joinpath("speeds.json").read_text("utf-8"))
    return {
        name: Speed(
            each["core_s_per_audio_s"], each["fixed_s"], each["init_s"], each["restore_s"], each["from"]
        )
        for name, each in raw["tiers"].items()
    }


def speed(tier: str) -> Speed:
    """Return one tier's speed.

    Raises:
        BadOption: it was not measured.
    """
    try:
        return speeds()[tier]
    except KeyError:
        raise BadOption(f"no speed is known of {tier!r}; of {', '.join(speeds())} there is") from None
