"""What an answer cost, told in the answer: seconds, memory and what AWS Lambda charges for them.

On a laptop `usd` is what Lambda would charge, at the memory and architecture the settings name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from whisper_lambda.config import Settings
from whisper_lambda.types import Transcript

# us-east-1, on-demand, as of 2026-09. Source: AWS Price List, service AWSLambda. Memory beyond the
# first 6 billion GB-seconds a month and the free tier are cheaper and not counted here.
PRICES_AS_OF = "2026-09"
USD_PER_GB_S: Mapping[str, float] = MappingProxyType({"x86_64": 0.0000166667, "arm64": 0.0000133334})
USD_PER_REQUEST = 0.20 / 1_000_000
USUAL_MEMORY_MB = 3008  # two cores' worth but for a little; what we suggest for base and small


@dataclass(frozen=True, slots=True)
class Receipt:
    """The bill of one answer. Unknown times are 0."""

    audio_s: float
    decode_s: float  # the file's bytes into samples
    queue_s: float  # waiting for a turn
    init_s: float  # loading the model, where this request had to
    engine_s: float  # finding the speech and hearing it
    billed_ms: int  # all but the queue, rounded up as AWS does
    memory_mb: int
    gb_s: float
    usd: float
    rtf: float  # processing seconds for one second of audio
    cached_chunks: int
    chunks: int
    model: str

    def to_wire(self) -> dict[str, float | int | str]:
        """Return it as JSON carries it."""
        return asdict(self)

    def to_headers(self) -> dict[str, str]:
        """Return it as `X-Receipt-*` headers, for answers that are not JSON."""
        return {
            f"X-Receipt-{name.replace('_', '-')}": f"{value:.10f}".rstrip("0").rstrip(".")
            if isinstance(value, float)
            else str(value).encode("ascii", "replace").decode()
            for name, value in asdict(self).items()
        }


def receipt(transcript: Transcript, settings: Settings, *, queue_s: float, init_s: float) -> Receipt:
    """Return the bill of a transcript.

    Args:
        transcript: with its timings.
        settings: name the memory and architecture it is priced for.
        queue_s: seconds it waited for its turn.
        init_s: seconds it waited for its model to be loaded.
    """
    timings = transcript.timings
    engine_s = timings.vad_s + timings.engine_s
    busy_s = timings.decode_s + engine_s
    billed_ms = max(1, math.ceil((busy_s + init_s) * 1000))
    memory_mb = settings.receipt_memory_mb or settings.lambda_memory_mb or USUAL_MEMORY_MB
    gb_s = billed_ms / 1000 * memory_mb / 1024
    return Receipt(
        audio_s=round(transcript.duration, 3),
        decode_s=round(timings.decode_s, 4),
        queue_s=round(queue_s, 4),
        init_s=round(init_s, 4),
        engine_s=round(engine_s, 4),
        billed_ms=billed_ms,
        memory_mb=memory_mb,
        gb_s=round(gb_s, 6),
        usd=round(gb_s * usd_per_gb_s(settings) + USD_PER_REQUEST, 10),
        rtf=round(busy_s / transcript.duration, 5) if transcript.duration else 0.0,
        cached_chunks=transcript.cached_chunks,
        chunks=transcript.chunks,
        model=transcript.model.served if transcript.model else "",
    )


def usd_per_gb_s(settings: Settings) -> float:
    """Return the price of a GB-second.

    Raises:
        ValueError: the settings name an architecture Lambda does not have.
    """
    try:
        return USD_PER_GB_S[settings.receipt_architecture]
    except KeyError:
        known = ", ".join(USD_PER_GB_S)
        raise ValueError(
            f"receipt_architecture is one of {known}, not {settings.receipt_architecture!r}"
        ) from None
