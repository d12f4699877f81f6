"""A memory size in; processes held to the processor time Lambda gives a function of that size.

Lambda grants memory / 1,769 MB cores. Here a cgroup's CPU quota grants the same, where one can be
made (root, cgroup v1 or v2); elsewhere processes are bound to whole cores, and that is told.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from whisper_lambda.machine import CGROUP, LAMBDA_MB_PER_CORE

PERIOD_US = 20_000  # as short as schedulers make it: a quota used up pauses for less than this


def cores(memory_mb: int) -> float:
    """Return what Lambda grants."""
    return memory_mb / LAMBDA_MB_PER_CORE


def threads(memory_mb: int) -> int:
    """Return how many decoding threads that is worth."""
    return max(1, round(cores(memory_mb)))


@contextmanager
def held_to(memory_mb: int, name: str, cgroup: Path = CGROUP) -> Iterator[tuple[Callable[[int], None], str]]:
    """Make a quota; yields what puts a process under it, and a word on how it is enforced."""
    made = _made(cgroup, f"whisper-lambda-tune-{os.getpid()}-{name}", cores(memory_mb))
    if made is None:
        yield _bound_to(threads(memory_mb)), f"bound to {threads(memory_mb)} cores (no cgroup to be had)"
        return
    try:
        yield (lambda pid: _enter(made, pid)), f"CPU quota of {cores(memory_mb):.2f} cores"
    finally:
        with contextlib.suppress(OSError):
            made.rmdir()


def _made(cgroup: Path, name: str, granted: float) -> Path | None:
    quota_us = str(max(1000, round(granted * PERIOD_US)))
    old, new = cgroup / "cpu" / name, cgroup / name
    try:
        if (cgroup / "cpu").is_dir():
            old.mkdir()
            (old / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (old / "cpu.cfs_quota_us").write_text(quota_us)
            return old
        if (cgroup / "cgroup.controllers").is_file():
            new.mkdir()
            (new / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
            return new
    except OSError:
        for half in (old, new):
            with contextlib.suppress(OSError):
                half.rmdir()
    return None


def _enter(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(str(pid))


def _bound_to(count: int) -> Callable[[int], None]:
    def bind(pid: int) -> None:
        if hasattr(os, "sched_setaffinity"):
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(pid, allowed[: math.ceil(count)])

    return bind
