"""A model folder and a thread count in; one line of JSON out: load, encode and decode speed, memory.

Meant for weights of the true shape with random numbers: nothing here depends on what is said, only
on how much is computed. End-of-text is suppressed so that every decode has the same length.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import ctranslate2
import numpy as np

from whisper_lambda.tools.processes import memory_mb

MOST_TOKENS = 96  # CTranslate2 lets half of this be new: 48, about what an 11 s clip has
WINDOWS_S = (11, 30)  # seconds of audio
FRAMES_A_SECOND = 100
BATCH = 8
_PROMPT = (50258, 50259, 50359, 50363)  # start, English, transcribe, no timestamps
_END = 50257


def main(folder: str, threads: int, mel_bins: int) -> None:
    """Measure and print."""
    before_mb = memory_mb_now()
    started = time.perf_counter()
    model = ctranslate2.models.Whisper(folder, compute_type="int8", intra_threads=threads)
    found: dict[str, Any] = {"threads": threads, "load_s": time.perf_counter() - started}
    found["memory_mb"] = memory_mb_now() - before_mb
    for window_s in WINDOWS_S:
        features = _features(mel_bins, window_s)
        model.encode(features, to_cpu=True)
        found[f"encode_{window_s}_s"] = _median(3, lambda f=features: model.encode(f, to_cpu=True))  # type: ignore[misc]
    one = model.encode(_features(mel_bins, WINDOWS_S[0]))
    many = model.encode(_features(mel_bins, WINDOWS_S[0], BATCH))
    found["greedy_ms"] = _token_ms(model, one, 1, beams=1)
    found["beam5_ms"] = _token_ms(model, one, 1, beams=5)
    found["batch8_beam5_ms"] = _token_ms(model, many, BATCH, beams=5, times=1)
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # kB on Linux
    print(json.dumps(found))  # noqa: T201 - its answer


def memory_mb_now() -> float:
    """Return this process's resident size."""
    return memory_mb("self")[0]


def _features(mel_bins: int, window_s: int, batch: int = 1) -> Any:  # noqa: ANN401 - untyped library
    noise = np.random.default_rng(1).standard_normal((batch, mel_bins, window_s * FRAMES_A_SECOND))
    return ctranslate2.StorageView.from_array((noise * 0.3).astype(np.float32))


def _token_ms(model: Any, encoded: Any, batch: int, *, beams: int, times: int = 3) -> float:  # noqa: ANN401
    """Return milliseconds for each token of each recording."""

    def decode() -> Any:  # noqa: ANN401
        return model.generate(
            encoded,
            [list(_PROMPT)] * batch,
            beam_size=beams,
            max_length=MOST_TOKENS,
            suppress_blank=False,
            suppress_tokens=[_END],
        )

    tokens = sum(len(result.sequences_ids[0]) for result in decode())
    return _median(times, decode) * 1000 / tokens


def _median(times: int, work: Callable[[], object]) -> float:
    """Return the median seconds of `times` runs; the caller has run it once before."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
