"""Commands in; what their processes took out: wall clock, CPU and memory, children included.

CPU and memory come from /proc, so on other systems they read 0 and only wall clock is told.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from whisper_lambda.errors import EngineFailed

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SAMPLE_EVERY_S = 0.005  # between two looks at the memory of a process tree


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """What one command took from start to exit."""

    output: str  # what it wrote to standard output
    seconds: float  # wall clock
    cpu_s: float  # user and system, children it waited for included
    peak_rss_mb: float = 0.0  # of the tree: resident sizes added, so shared pages count once for each
    peak_pss_mb: float = 0.0  # of the tree: a page shared by n processes counts 1/n for each


def run_cold(
    command: Sequence[str],
    *,
    memory: bool = False,
    env: Mapping[str, str] | None = None,
    on_start: Callable[[int], object] | None = None,
) -> ProcessCost:
    """Run a command in fresh processes to its end.

    Args:
        command: program and arguments.
        memory: watch the tree's memory meanwhile; costs the command a few per cent of its time.
        env: its environment; None = ours.
        on_start: given its number as soon as it runs.

    Raises:
        EngineFailed: the command did not exit with 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=complaints, env=env)
        if on_start:
            on_start(process.pid)
        peaks = _Peaks(process.pid) if memory else None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # it is reaped; Popen must not wait again
        rss_mb, pss_mb = peaks.stop() if peaks else (0.0, 0.0)
        text, complaint = _written(out), _written(complaints)
    if process.returncode:
        raise EngineFailed(f"{command[0]} exited with {process.returncode}: {complaint[-500:]}")
    return ProcessCost(text, seconds, usage.ru_utime + usage.ru_stime, rss_mb, pss_mb)


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def tree_cpu_s(root: int) -> float:
    """Return the CPU seconds a process and its living descendants have used so far."""
    return sum(_cpu_s(pid) for pid in tree(root))


def tree(root: int) -> Iterator[int]:
    """Yield the process and its descendants, as far as /proc knows them now."""
    yield root
    tasks = _PROC / str(root) / "task"
    try:  # not by glob, which raises where the process ends between its look and its listing
        threads = list(tasks.iterdir())
    except OSError:
        return
    for thread in threads:
        for child in _read(thread / "children").split():
            yield from tree(int(child))


def _cpu_s(pid: int) -> float:
    # The command's name, in brackets, may hold spaces; the numbers start after it.
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    utime, stime, children_utime, children_stime = map(int, fields[11:15]) if fields else (0, 0, 0, 0)
    return (utime + stime + children_utime + children_stime) * _TICK_S


def memory_mb(pid: int | str) -> tuple[float, float]:
    """Return resident and proportional set size of one process ("self" will do); (0, 0) when it is gone."""
    sizes = {}
    for line in _read(_PROC / str(pid) / "smaps_rollup").splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss"):
            sizes[name] = int(rest.split()[0]) / 1000  # the file counts in kB
    return sizes.get("Rss", 0.0), sizes.get("Pss", 0.0)


def _read(path: Path) -> str:
    """Return a file of /proc; "" when the process has ended meanwhile."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


class _Peaks:
    """Watches the memory of a process tree from a thread until stopped."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._rss_mb = self._pss_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            sizes = [memory_mb(pid) for pid in tree(self._root)]
            self._rss_mb = max(self._rss_mb, sum(rss for rss, _ in sizes))
            self._pss_mb = max(self._pss_mb, sum(pss for _, pss in sizes))

    def stop(self) -> tuple[float, float]:
        """Return the largest sums seen, resident and proportional."""
        self._done.set()
        self._thread.join()
        return self._rss_mb, self._pss_mb
