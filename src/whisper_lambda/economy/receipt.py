"""What an answer cost, told in the answer: seconds, memory and what AWS Lambda charges for them.

On a laptop `usd` is what Lambda would charge, at the memory and architecture the settings name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from whisper_lambda.config import Settings
from whisper_lambda.economy.prices import MB_PER_GB, billed_ms, price_book
from whisper_lambda.types import Transcript

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
    served: str  # of a cascade: which tier heard which chunks, as "tiny.en 0-3,5; base 4"

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

    Raises:
        BadOption: the settings name an architecture Lambda does not have, or prices that are none.
    """
    timings = transcript.timings
    engine_s = timings.vad_s + timings.engine_s
    busy_s = timings.decode_s + engine_s
    billed = billed_ms(busy_s + init_s)
    memory_mb = settings.receipt_memory_mb or settings.lambda_memory_mb or USUAL_MEMORY_MB
    book = price_book(settings)
    gb_s = billed / 1000 * memory_mb / MB_PER_GB
    return Receipt(
        audio_s=round(transcript.duration, 3),
        decode_s=round(timings.decode_s, 4),
        queue_s=round(queue_s, 4),
        init_s=round(init_s, 4),
        engine_s=round(engine_s, 4),
        billed_ms=billed,
        memory_mb=memory_mb,
        gb_s=round(gb_s, 6),
        usd=round(book.invocation_usd(billed, memory_mb, settings.receipt_architecture), 10),
        rtf=round(busy_s / transcript.duration, 5) if transcript.duration else 0.0,
        cached_chunks=transcript.cached_chunks,
        chunks=transcript.chunks,
        model=transcript.model.served if transcript.model else "",
        served=chunks_by_model(transcript.served),
    )


def invocation_bill(settings: Settings, duration_s: float) -> dict[str, float]:
    """Return what a whole invocation costs, a job's part for one: `gb_s` and `usd`, as a receipt has them."""
    memory_mb = settings.lambda_memory_mb or USUAL_MEMORY_MB
    billed = billed_ms(duration_s)
    usd = price_book(settings).invocation_usd(billed, memory_mb, settings.receipt_architecture)
    return {"gb_s": round(billed / 1000 * memory_mb / MB_PER_GB, 6), "usd": round(usd, 10)}


def chunks_by_model(served: Sequence[str]) -> str:
    """Say which model heard which chunks, in the order models first appear; "" where none was noted.

    Args:
        served: the model of each chunk, in recording order; empty where none was noted.
    """
    heard: dict[str, list[int]] = defaultdict(list)
    for chunk, model in enumerate(served):
        heard[model].append(chunk)
    return "; ".join(f"{model} {_ranges(chunks)}" for model, chunks in heard.items())


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers with runs drawn together: 0-3,5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
