"""Samples of the recordings, for tests that begin behind the decoder."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from prompts import read_prompts
from whisper_lambda.audio.decode import Limits, decode
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.types import SAMPLE_RATE, Samples

LIMITS = Limits(max_seconds=1800.0, max_bytes=100_000_000, timeout_s=30.0)


@lru_cache(maxsize=32)
def samples_of(path: Path) -> Samples:
    """Decode a recording; the array is shared and cannot be written to."""
    decoders = DecoderPool(1)
    try:
        samples = decode(path, LIMITS, decoders).samples
    finally:
        decoders.close()
    samples.flags.writeable = False
    return samples


@lru_cache(maxsize=1)
def bundled() -> tuple[Samples, ...]:
    """All bundled recordings, Spanish first: 80 s in all."""
    return tuple(samples_of(prompt.path) for prompt in read_prompts())


def silence(seconds: float) -> Samples:
    """Return digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)
