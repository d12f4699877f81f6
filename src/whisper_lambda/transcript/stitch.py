"""Chunk results in any order in, one timeline out."""

from __future__ import annotations

from collections.abc import Iterable

from whisper_lambda.types import ChunkResult, Dropped, Segment


def stitch(results: Iterable[ChunkResult]) -> tuple[tuple[Segment, ...], tuple[Dropped, ...]]:
    """Shift every segment by its own chunk's start and put all in recording order.

    The order of `results` does not matter: a chunk knows where it began, so nobody counts.
    """
    ordered = sorted(results, key=lambda r: (r.start, r.duration))
    segments = tuple(s.shifted(r.start) for r in ordered for s in r.segments)
    dropped = tuple(d.shifted(r.start) for r in ordered for d in r.dropped)
    return segments, dropped
