"""The log-mel spectrogram against openai-whisper's own, and against the formula written out slowly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.engine.features import HOP, N_FFT, log_mel, mel_filters
from whisper_lambda.types import SAMPLE_RATE

GOLDEN = Path(__file__).parent / "golden_logmel.npz"
CLOSE = 1e-4  # issue: to 1e-4 of openai-whisper's


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


@pytest.mark.parametrize("bins", [80, 128])
def test_speech_looks_as_openai_whisper_sees_it(bins: int) -> None:
    """The golden holds a second of speech and 0.3 s of added silence (make_golden.py)."""
    with np.load(GOLDEN) as golden:
        samples, theirs = golden["samples"].astype(np.float32) / 32768, golden[f"mel_{bins}"]

    ours = log_mel(samples, theirs.shape[1] / 100, bins)

    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (bins, 130)
    assert np.abs(ours - theirs).max() < CLOSE
    assert np.ptp(theirs) > 1.5  # speech, not one flat colour


def slow_log_mel(samples: np.ndarray, frames: int, bins: int) -> np.ndarray:
    """The definition, a sum a frequency a frame, in double precision."""
    half = N_FFT // 2
    padded = np.concatenate([samples[1 : half + 1][::-1], samples, np.zeros(frames * HOP + N_FFT)])
    n = np.arange(N_FFT)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / N_FFT)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(half + 1), n) / N_FFT)
    power = [np.abs(turns @ (window * padded[i * HOP : i * HOP + N_FFT])) ** 2 for i in range(frames)]
    logs = np.log10(np.maximum(slow_filters(bins) @ np.array(power).T, 1e-10))
    return (np.maximum(logs, logs.max() - 8) + 4) / 4


def slow_filters(bins: int) -> np.ndarray:
    """Slaney's triangles, one at a time."""

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    edges = [hz(top * i / (bins + 1)) for i in range(bins + 2)]
    filters = np.zeros((bins, N_FFT // 2 + 1))
    for b, (low, centre, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for k in range(N_FFT // 2 + 1):
            f = k * SAMPLE_RATE / N_FFT
            height = min((f - low) / (centre - low), (high - f) / (high - centre))
            filters[b, k] = max(0.0, height) * 2 / (high - low)
    return filters


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("count", [16_000, 15_999, 8_160, 801])
def test_the_slow_formula_agrees(bins: int, count: int) -> None:
    samples = noise(count, seed=count)

    assert np.abs(log_mel(samples, 1.2, bins) - slow_log_mel(samples, 120, bins)).max() < CLOSE


@pytest.mark.parametrize("bins", [80, 128])
def test_filters_are_slaneys(bins: int) -> None:
    assert np.abs(mel_filters(bins) - slow_filters(bins)).max() < 1e-6


@given(count=st.integers(0, 20_000), more=st.integers(0, 200))
def test_a_longer_window_is_the_samples_followed_by_silence(count: int, more: int) -> None:
    """Frames that hold added silence are filled in, not computed: that must not be seen."""
    frames = -(-count // HOP) + more + 1
    samples = noise(count)
    spelled_out = np.concatenate([samples, np.zeros(frames * HOP - count, np.float32)])

    assert np.abs(log_mel(samples, frames / 100, 80) - log_mel(spelled_out, frames / 100, 80)).max() < CLOSE


@pytest.mark.parametrize("count", [0, 1, 2, 159, 160, 199, 200, 201, 399, 400])
def test_less_than_an_analysis_window_has_the_full_shape(count: int) -> None:
    mel = log_mel(noise(count), 0.5, 80)

    assert mel.shape == (80, 50)
    assert np.isfinite(mel).all()


def test_silence_is_flat_at_the_floor() -> None:
    assert log_mel(np.zeros(8_000, np.float32), 2.0, 80) == pytest.approx(-1.5, abs=1e-6)


def test_a_full_window_keeps_its_last_frame() -> None:
    """30 s of samples give 3,000 frames, the last of them heard and not filled in."""
    mel = log_mel(noise(30 * SAMPLE_RATE), 30.0, 80)

    assert mel.shape == (80, 3000)
    assert mel[:, -1].max() > mel.min() + 1


def test_the_samples_are_left_as_they_were() -> None:
    samples = noise(4_000)
    samples.flags.writeable = False
    log_mel(samples, 1.0, 80)

    assert np.array_equal(samples, noise(4_000))
