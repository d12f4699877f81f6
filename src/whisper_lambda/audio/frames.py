"""Samples in, the frames they are heard in out: a grid that the sound itself lays, and an edit cannot move.

Frames counted from the beginning would lie differently in everything behind an edit, the voices found in
them differ a little, and with them which pause is the longest. So the grid begins anew every few seconds,
on a sample picked out by the sound within WITHIN_S of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.audio.silero import FRAME as FRAME
from whisper_lambda.types import SAMPLE_RATE, Samples

STRIPE = 500  # frames, 16 s: what is twice as long is heard in several such stripes side by side
WITHIN_S = 5.0  # an anchor's sound is the least within so much of it, so anchors are 10 s apart, on average
ALONE_S = 16.0  # at the beginning and at the end of a recording: short ones have one grid
_CANDIDATES = 1 << 22  # of 2^32: one sample in about a thousand may become an anchor
_PART = 1 << 18  # samples hashed at a time: what fits a processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of 512 samples, the last one before an anchor reaching over it, the last of all padded."""

    starts: NDArray[np.int64]  # (frames,), samples, ascending, at most FRAME apart
    stripes: NDArray[np.int64]  # (stripes,), their first frames
    length: int  # of the recording, samples

    def sample(self, frame: int) -> int:
        """Return where a frame begins; the recording's end for one past the last."""
        return int(self.starts[frame]) if frame < len(self.starts) else self.length

    def at(self, sample: int) -> int:
        """Return the frame a sample is in; the number of frames for one past the end."""
        if sample >= self.length:
            return len(self.starts)
        return max(0, int(np.searchsorted(self.starts, sample, side="right")) - 1)


def frames(samples: Samples) -> Frames:
    """Lay the grid."""
    starts, stripes, count = [np.zeros(0, np.int64)], [], 0
    for begin, end in pairwise((0, *_anchors(samples), len(samples))):
        here = -(-(end - begin) // FRAME)
        starts.append(begin + FRAME * np.arange(here))
        side_by_side = max(1, here // STRIPE)
        stripes += [count + at for at in range(0, here, -(-here // side_by_side) if here else 1)]
        count += here
    return Frames(np.concatenate(starts), np.array(stripes, np.int64), len(samples))


def _anchors(samples: Samples) -> list[int]:
    """The samples whose hash is the least near them, the first of equals."""
    places, hashes = _candidates(samples)
    least = np.ones(len(places), bool)
    reach = round(WITHIN_S * SAMPLE_RATE)
    for apart in range(1, len(places)):
        near = places[apart:] - places[:-apart] <= reach
        if not near.any():
            break
        before, after = hashes[:-apart], hashes[apart:]
        least[apart:] &= ~near | (after < before)
        least[:-apart] &= ~near | (before <= after)
    alone = round(ALONE_S * SAMPLE_RATE)
    return [int(p) for p in places[least] if alone <= p <= len(samples) - alone]


def _candidates(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Samples that a hash of the sixteen from there on lets through, and their hashes."""
    found = list(_hashed(np.ascontiguousarray(samples).view(np.uint32)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.uint32)
    return np.concatenate([p for p, _ in found]), np.concatenate([h for _, h in found])


def _hashed(bits: NDArray[np.uint32]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint32]]]:
    for at in range(0, len(bits) - 15, _PART):
        part = bits[at : at + _PART + 15]
        hashes = part
        for apart in (1, 2, 4, 8):
            hashes = hashes[:-apart] * np.uint32(2654435761) + hashes[apart:] * np.uint32(2246822519)
            hashes ^= hashes >> np.uint32(15)
        let = np.flatnonzero(hashes < _CANDIDATES)
        let = let[(part[let] << np.uint32(1)) != 0]  # 0.0 and -0.0: digital silence picks nothing
        yield at + let, hashes[let]
