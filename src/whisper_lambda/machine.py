"""What the system says about the machine; None or nothing where it does not say."""

from __future__ import annotations

import ctypes
import math
import os
import platform
from pathlib import Path

from whisper_lambda.config import Settings

LAMBDA_MB_PER_CORE = 1769  # AWS: a function of this memory has one core's time
CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")

_INSTRUCTIONS = {  # as /proc/cpuinfo spells them
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "int8 matrices",
}


def instructions(cpuinfo: Path = CPUINFO) -> list[str]:
    """Return the processor's instruction sets that matter for decoding, by their usual names."""
    flags = cpu_flags(cpuinfo)
    return [shown for flag, shown in _INSTRUCTIONS.items() if flag in flags]


def cores(settings: Settings, *, cgroup: Path = CGROUP) -> int:
    """Return how many cores to use: as the settings say, else what may be used, at least one.

    A container's share and Lambda's memory count: more threads than cores slow each other down.
    """
    if settings.threads > 0:
        return settings.threads
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = [float(allowed), cgroup_cores(cgroup) or float(allowed)]
    if settings.lambda_memory_mb:
        granted.append(settings.lambda_memory_mb / LAMBDA_MB_PER_CORE)
    return max(1, math.floor(min(granted) + 0.5))


def few_arenas(count: int) -> None:
    """Have glibc keep at most `count` heaps, where there is a glibc.

    Decoding threads take and free much at every step; a heap for each held 30 MB more at the peak of
    one short clip (docs/log.md).
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count)


def keep_heap() -> None:
    """Have glibc keep what is freed, up to 256 MB, and take no block from the system by itself.

    Every step of a decode takes and frees tens of megabytes; getting them from the system each time
    cost a tenth of all processor time (docs/log.md).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def one_product_thread() -> None:
    """Have numpy's matrix products run on the thread that asks, where its wheel brings OpenBLAS.

    Ours have a few hundred rows: handing half of each to a second thread made them three times as
    dear, and thirty times on a machine that is busy (docs/log.md).
    """
    import numpy as np

    for library in Path(np.__file__).parents[1].glob("numpy.libs/libscipy_openblas*"):
        set_threads = getattr(ctypes.CDLL(str(library)), "scipy_openblas_set_num_threads64_", None)
        if set_threads:
            set_threads(1)


def trim_heap() -> None:
    """Give freed memory back to the system, after something large was freed for good."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


_KEPT_BYTES = 256 << 20
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # from glibc's malloc.h


def has_fast_avx512(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether 512-bit integer instructions are there to be used.

    CTranslate2 does not take AVX512 by itself: encoding is 10-20 % faster with it (docs/log.md).
    """
    return {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= cpu_flags(cpuinfo)


def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether 8-bit products can be summed without loss: ONNX Runtime's overflow on an x86 without."""
    return not {"avx512_vnni", "avx_vnni"}.isdisjoint(cpu_flags(cpuinfo))


def cgroup_cores(cgroup: Path = CGROUP) -> float | None:
    """Return the processor time the cgroup grants, in cores; None where there is no limit."""
    both = cgroup / "cpu.max"
    if both.is_file():
        quota, period = both.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us = _first_number(cgroup / "cpu/cpu.cfs_quota_us")
    period_us = _first_number(cgroup / "cpu/cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def free_memory_bytes(cgroup: Path = CGROUP) -> int | None:
    """Return what may still be used, by the machine's count or the cgroup's, whichever is less."""
    limit = _first_number(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    used = _first_number(cgroup / "memory.current", cgroup / "memory/memory.usage_in_bytes")
    room = [limit - used] if limit is not None and used is not None else []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        room.append(int(lines["MemAvailable"].split()[0]) * 1024)
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        room.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(room, default=None)


def _first_number(*paths: Path) -> int | None:
    for path in paths:
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            continue
    return None


def cpu_flags(cpuinfo: Path = CPUINFO) -> set[str]:
    """Return the processor's abilities as /proc/cpuinfo spells them; macOS: what all its kind have."""
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        return set(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())
    if platform.system() == "Darwin":
        return {"asimd", "asimddp"} if platform.machine() == "arm64" else {"avx2"}
    return set()
