"""Blocks of a recording in, scenes out: parts short enough to be planned in memory, each by itself.

A scene ends where the recording is quietest, on a sample that its own sound picks out. Where that is
does not depend on what came an hour before, nor on how the recording was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.audio.frames import FRAME, Frames, frames
from whisper_lambda.types import SAMPLE_RATE, Samples

LONGEST_SCENE_S = 600.0  # most recordings are one scene; as float32 this is 38 MB
SHORTEST_SCENE_S = 300.0
_QUIET_FRAMES = 31  # one second: the shortest silence worth ending a scene in
_REACH = 8  # samples whose values pick a cut
_STRIDE = SAMPLE_RATE  # in digital silence nothing picks a sample: whole seconds from its beginning do


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Part of a recording, from `start` on."""

    samples: Samples
    start: int  # samples into the recording


def scenes(blocks: Iterable[Samples]) -> Iterator[Scene]:
    """Yield the recording's scenes, in order and without gaps; nothing of an empty one."""
    longest = round(LONGEST_SCENE_S * SAMPLE_RATE)
    start, held, waiting = 0, 0, list[Samples]()
    for block in blocks:
        waiting.append(block)
        held += len(block)
        while held > longest:  # more than fits: there will be another
            samples = np.concatenate(waiting)
            cut = _end(samples[:longest])
            yield Scene(samples[:cut].copy(), start)
            waiting, held, start = [samples[cut:].copy()], held - cut, start + cut
    if held:
        yield Scene(waiting[0] if len(waiting) == 1 else np.concatenate(waiting), start)


def _end(samples: Samples) -> int:
    """Return where a scene that could go on ends: in the quietest second of its last part."""
    grid = frames(samples)
    first = grid.at(round(SHORTEST_SCENE_S * SAMPLE_RATE))
    summed = np.cumsum(np.concatenate([[0.0], powers(samples, grid)[first:]]))
    quiet = summed[_QUIET_FRAMES:] - summed[:-_QUIET_FRAMES]
    middle = grid.sample(first + int(np.argmin(quiet)) + _QUIET_FRAMES // 2)
    return picked(samples, middle - 3 * FRAME, middle + 3 * FRAME)


def powers(samples: Samples, grid: Frames) -> NDArray[np.float64]:
    """Return the mean square of each frame of 512 samples; a last one that is not full is padded."""
    found = np.zeros(len(grid.starts))
    whole = int(np.searchsorted(grid.starts, len(samples) - FRAME, side="right"))
    if whole:
        windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME)
    for at in range(0, whole, 1024):  # a copy of it all would cost more than the recording
        some = windows[grid.starts[at : min(at + 1024, whole)]]
        found[at : at + len(some)] = np.einsum("fs,fs->f", some, some) / FRAME
    for at in range(whole, len(found)):
        part = samples[grid.starts[at] :]
        found[at] = float(np.dot(part, part)) / FRAME
    return found


def picked(samples: Samples, low: int, high: int) -> int:
    """Return the sample in [low, high] that the sound around it picks out, however it is framed.

    Two recordings that hold the same sound are so cut at the same place in it, to the sample, though
    their frames lie differently: a cache finds the chunk again. Source: content-defined chunking
    (Muthitacharoen et al., LBFS, 2001), with the least hash for the boundary.
    """
    low, high = max(0, low), min(high, len(samples))
    if high - low < _REACH:
        return max(low, (low + high) // 2)
    bits = np.ascontiguousarray(samples[low:high]).view(np.uint32)
    hashes = np.zeros(len(bits) - _REACH + 1, np.uint32)
    for i in range(_REACH):
        hashes = (hashes ^ bits[i : i + len(hashes)]) * np.uint32(2654435761)
        hashes ^= hashes >> np.uint32(15)
    sounding = np.flatnonzero(bits[: len(hashes)] << np.uint32(1))  # neither 0.0 nor -0.0
    if not len(sounding):
        return _in_silence(samples, low, high)
    return low + int(sounding[np.argmin(hashes[sounding])])


def _in_silence(samples: Samples, low: int, high: int) -> int:
    """Return a place in digital silence, so many whole steps from its beginning."""
    near = samples[max(0, low - 60 * SAMPLE_RATE) : low]
    sound = np.flatnonzero(near)
    begins = low - len(near) + (int(sound[-1]) + 1 if len(sound) else 0)
    for stride in (_STRIDE, _STRIDE // 4, _STRIDE // 16):
        at = begins + -(-(low - begins) // stride) * stride
        if at <= high:
            return at
    return low
