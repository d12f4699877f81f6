"""A chunk the decoder may have lost count in, heard again in halves. Pure decisions.

Where somebody says the same thing over and over, the decoder attends to all of it at once and
writes it once less, or once. So does it now and then leave out a sentence. Both show: in the
tokens' own repetition, or in fewer of them than there is speech. Source: docs/log.md, 2026-11-25.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whisper_lambda.engine.alignment import LOUD_FRAME_S, loud_frames
from whisper_lambda.engine.policy import TWICE_TOKENS, Hypothesis, repeats
from whisper_lambda.types import SAMPLE_RATE, Chunk, ChunkResult, Samples

SPARSE = 2.6  # tokens a second of sound below which words may be missing; slow speech gives 3
SPARSE_FROM_S = 12.0  # of a chunk long enough for a sentence to get lost
SHORTEST_S = 4.0  # what is shorter holds one sentence
PAUSE_S = 0.2  # a cut falls into no shorter silence
MIDDLE = 0.25  # share of the chunk on either side in which no cut falls
FULLER = 1.1  # times as many tokens as the whole, for the halves to be believed


def suspicious(hypothesis: Hypothesis, samples: Samples, *, half: bool = False) -> bool:
    """Tell whether some of what is said may be missing from a hypothesis.

    Args:
        hypothesis: what the decoder made of the samples.
        samples: of the chunk.
        half: they are part of a chunk that was suspicious, so they are counted however short.
    """
    if not hypothesis.tokens or len(samples) < SHORTEST_S * SAMPLE_RATE:
        return False
    if repeats(hypothesis.tokens, TWICE_TOKENS) > 1:
        return True
    sounding_s = float(np.count_nonzero(loud_frames(samples))) * LOUD_FRAME_S
    counted = half or len(samples) >= SPARSE_FROM_S * SAMPLE_RATE
    return counted and len(hypothesis.tokens) < SPARSE * sounding_s


def halved(chunk: Chunk) -> tuple[Chunk, Chunk] | None:
    """Cut a chunk in the longest pause around its middle; None where nobody pauses there."""
    loud = loud_frames(chunk.samples)
    first, last = round(len(loud) * MIDDLE), round(len(loud) * (1 - MIDDLE))
    pauses = [run for run in _quiet_runs(loud) if run[0] >= first and run[1] <= last]
    start, stop = max(pauses, key=lambda run: run[1] - run[0], default=(0, 0))
    if (stop - start) * LOUD_FRAME_S < PAUSE_S:
        return None
    at = round((start + stop) / 2 * LOUD_FRAME_S * SAMPLE_RATE)
    return (
        Chunk(chunk.samples[:at], chunk.start),
        Chunk(chunk.samples[at:], chunk.start + at / SAMPLE_RATE),
    )


def _quiet_runs(loud: np.typing.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def fuller(whole: ChunkResult, parts: Sequence[ChunkResult]) -> ChunkResult:
    """Return what the parts say, as one result, where it is clearly more than the whole said."""
    if sum(map(_tokens, parts)) < FULLER * _tokens(whole) or not all(p.segments for p in parts):
        return whole
    return ChunkResult(
        whole.start,
        whole.duration,
        tuple(s.shifted(p.start - whole.start) for p in parts for s in p.segments),
        tuple(d.shifted(p.start - whole.start) for p in parts for d in p.dropped),
        whole.language,
    )


def _tokens(result: ChunkResult) -> int:
    return sum(len(s.tokens) for s in result.segments)
