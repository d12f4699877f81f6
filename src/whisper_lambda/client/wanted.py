"""What is wanted of a server for one recording, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whisper_lambda.audio.encode import KBIT_PER_S
from whisper_lambda.client.steps import Progress, Reply, Tell

# What fits into one Lambda request of 6 MB once base64 and its envelope are counted (4.718 MB).
DIRECT_BYTES = 4_500_000

Compress = Literal["auto", "always", "never"]
Way = Literal["direct", "job"]


def quiet(_: Progress) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One recording to be transcribed, and how."""

    url: str  # of the server, without a slash at its end
    fields: Sequence[tuple[str, str]]  # of the form, `response_format` not among them
    formats: Sequence[str]  # response formats wanted, at least one
    route: str = "transcriptions"  # or translations
    compress: Compress = "auto"
    kbit_per_s: float = KBIT_PER_S
    way: Literal["auto", "direct", "job"] = "auto"
    attempts: int = 4
    direct_bytes: int = DIRECT_BYTES
    tell: Tell = quiet


@dataclass(frozen=True, slots=True)
class Written:
    """What the server wrote, format by format, and how the recording got there."""

    bodies: Mapping[str, Reply]
    way: Way
    sent_bytes: int
    encoded: bool = False
