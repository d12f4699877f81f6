"""Raw audio of a stream in, samples at 16 kHz out, however its bytes were cut. The only user of soxr."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.types import SAMPLE_RATE, Samples

Encoding = Literal["pcm16", "pcmu", "pcma"]  # little-endian 16 bit, G.711 mu-law, G.711 A-law
RATES = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)  # Hz


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How raw audio is written. Mono."""

    encoding: Encoding = "pcm16"
    rate: int = 24_000  # Hz

    @property
    def bytes_per_second(self) -> int:
        """Bytes one second takes."""
        return self.rate * (2 if self.encoding == "pcm16" else 1)


class PcmStream:
    """Turns one stream's bytes into samples; a sample cut in two by a packet waits for its other half."""

    def __init__(self, written: RawFormat) -> None:
        self.written = written
        self._half = b""
        self._resampler: Any = None
        if written.rate != SAMPLE_RATE:
            import soxr  # 30 ms that 16 kHz needs not

            self._resampler = soxr.ResampleStream(written.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def samples(self, data: bytes, *, last: bool = False) -> Samples:
        """Return the next samples; with `last`, also those the resampler held back."""
        if self.written.encoding == "pcm16":
            data = self._half + data
            whole = len(data) & ~1
            self._half = data[whole:]
            read = np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768.0
        else:
            read = _companded(self.written.encoding)[np.frombuffer(data, np.uint8)]
        if self._resampler is None:
            return read
        return np.asarray(self._resampler.resample_chunk(read, last=last), np.float32)


@cache
def _companded(encoding: Encoding) -> NDArray[np.float32]:
    """Return what each of the 256 bytes of G.711 stands for."""
    code = np.arange(256)
    if encoding == "pcmu":
        code = ~code & 0xFF
        exponent, mantissa = (code >> 4) & 7, code & 15
        size = (((mantissa << 3) + 0x84) << exponent) - 0x84
        sign = np.where(code & 0x80, -1, 1)
    else:
        code = code ^ 0x55
        exponent, mantissa = (code >> 4) & 7, code & 15
        size = np.where(
            exponent, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0), (mantissa << 4) + 8
        )
        sign = np.where(code & 0x80, 1, -1)
    return np.asarray(sign * size / 32768.0, np.float32)
