"""Samples in, log-mel spectrogram out, as Whisper's encoder was trained on.

Numbers follow openai/whisper `audio.py`; tests hold both mel sizes to 1e-4 of it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_lambda.types import SAMPLE_RATE, Samples

N_FFT = 400  # samples: a 25 ms analysis window
HOP = 160  # samples: one frame each 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // HOP

Features = NDArray[np.float32]  # (mel bins, frames), about [-1, 1.5]


def log_mel(samples: Samples, seconds: float, mel_bins: int) -> Features:
    """Return the log-mel spectrogram of `samples`, continued by silence to `seconds`.

    Frames that hold nothing but the added silence are filled in, not computed: a short clip pays
    for its own length.

    Args:
        samples: (n,) float32, at most `seconds` long.
        seconds: length of the encoder's window.
        mel_bins: 80, or 128 for large-v3 and its kin.

    Returns:
        (mel_bins, 100 * seconds) float32.
    """
    frames = round(seconds * FRAMES_PER_SECOND)
    heard = min(frames, (len(samples) + N_FFT // 2) // HOP + 1)
    half = N_FFT // 2
    padded = np.zeros(max((heard - 1) * HOP + N_FFT, half + len(samples)), np.float32)
    padded[half : half + len(samples)] = samples
    padded[:half] = _mirrored(samples, half)
    windows = sliding_window_view(padded, N_FFT)[::HOP][:heard]
    spectrum = np.fft.rfft(windows * _hann(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    mel = np.full((mel_bins, frames), -10.0, np.float32)  # log10 of the floor that silence gives
    mel[:, :heard] = np.log10(np.maximum(power @ mel_filters(mel_bins).T, 1e-10)).T
    np.maximum(mel, mel.max() - 8.0, out=mel)
    mel += 4.0
    mel /= 4.0
    return mel


def _mirrored(samples: Samples, n: int) -> Samples:
    """The `n` samples before the start, reflected as torch.stft's centring does."""
    ahead = samples[1 : n + 1][::-1]
    return np.concatenate([np.zeros(n - len(ahead), np.float32), ahead])


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float32]:
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


@lru_cache(maxsize=2)
def mel_filters(bins: int) -> NDArray[np.float32]:
    """Return Slaney's triangular mel filters, (bins, N_FFT // 2 + 1), each of unit area.

    Source: Slaney 1998, Auditory Toolbox: linear to 1 kHz, then 27 steps to a factor of 6.4.
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), bins + 2))
    hz = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (hz - low) / (centre - low), (high - hz) / (high - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    return np.asarray(weights, np.float32)


_LINEAR_HZ = 200 / 3  # Hz a mel below 1 kHz
_BREAK_MEL = 1000 / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return _BREAK_MEL + float(np.log(hz / 1000.0) / _LOG_STEP) if hz >= 1000.0 else hz / _LINEAR_HZ  # noqa: PLR2004


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel >= _BREAK_MEL, 1000.0 * np.exp(_LOG_STEP * (mel - _BREAK_MEL)), mel * _LINEAR_HZ)
