"""Opus out of samples: its size, its length, its words kept, and what becomes of an encoder that dies."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from samples import bundled
from whisper_lambda.audio import encode
from whisper_lambda.audio.decode import Limits, decode
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.errors import BadOption, DecoderFailed
from whisper_lambda.types import SAMPLE_RATE, Samples


def encoded(samples: Samples, kbit_per_s: float = encode.KBIT_PER_S) -> bytes:
    out = io.BytesIO()
    blocks = np.array_split(samples, 7)
    size = encode.opus(blocks, out, kbit_per_s=kbit_per_s)
    assert size == len(out.getvalue())
    return out.getvalue()


@pytest.mark.parametrize("kbit_per_s", [16.0, 24.0, 32.0])
def test_speech_becomes_as_small_as_asked_and_stays_as_long(kbit_per_s: float) -> None:
    samples = np.concatenate(list(bundled()))
    content = encoded(samples, kbit_per_s)

    with closing(DecoderPool(1)) as pool:
        again = decode(content, Limits(max_seconds=3600.0, max_bytes=10**9, timeout_s=60.0), pool)

    seconds = len(samples) / SAMPLE_RATE
    assert len(content) * 8 / seconds / 1000 == pytest.approx(kbit_per_s, rel=0.35)
    assert again.duration == pytest.approx(seconds, abs=0.1)
    assert again.warnings == ()
    assert loudness_agrees(samples, again.samples)


def loudness_agrees(before: Samples, after: Samples) -> bool:
    """Compare the envelopes, tenth by tenth of a second: words are where they were."""
    size = SAMPLE_RATE // 10
    count = min(len(before), len(after)) // size
    rms = [np.sqrt((s[: count * size].reshape(count, size) ** 2).mean(1)) for s in (before, after)]
    return bool(np.corrcoef(rms[0], rms[1])[0, 1] > 0.95)


@pytest.mark.parametrize("kbit_per_s", [0.0, 5.9, 300.0, float("nan")])
def test_a_bitrate_opus_does_not_have_is_refused(kbit_per_s: float) -> None:
    with pytest.raises(BadOption, match="6 to 256 kbit/s"):
        encode.opus([np.zeros(10, np.float32)], io.BytesIO(), kbit_per_s=kbit_per_s)


@pytest.mark.parametrize("program", ["exit(3)", "import os, sys; sys.stdin.buffer.read(9); os.abort()"])
def test_an_encoder_that_dies_is_our_error_and_leaves_no_process(program: str, tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(program)

    with pytest.raises(DecoderFailed, match="encoder ended"):
        encode.opus([np.zeros(SAMPLE_RATE, np.float32)] * 20, io.BytesIO(), program=tmp_path / "dying.py")


def test_a_source_that_fails_ends_the_encoder() -> None:
    def failing():
        yield np.zeros(SAMPLE_RATE, np.float32)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode.opus(failing(), io.BytesIO())


def test_encoding_loads_no_av_into_this_process() -> None:
    code = (
        "import io, sys, numpy as np; from whisper_lambda.audio.encode import opus; "
        "opus([np.zeros(16000, np.float32)], io.BytesIO()); print('av' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"OggS\0\2", True), (b"ID3\4", True), (b"\xff\xfb\x90", True), (b"\0\0\0\x20ftypM4A ", True),
        (b"\x1aE\xdf\xa3", True), (b"RIFF\x24\0\0\0WAVE", False), (b"fLaC", False), (b"", False),
    ],
)  # fmt: skip
def test_what_is_compressed_already_is_told_by_its_first_bytes(head: bytes, expected: bool) -> None:
    assert encode.compressed(head) is expected
