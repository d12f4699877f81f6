"""What the machine grants: cores and memory as containers and Lambda limit them."""

import os
from pathlib import Path

import pytest

from whisper_lambda import machine
from whisper_lambda.config import Settings

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="macOS has no affinity")


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def cgroup(folder: Path, **files: str) -> Path:
    """Write a cgroup's files; `__` stands for a dot, and version 1 keeps them in folders."""
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return folder


def version_1(folder: Path, **files: str) -> Path:
    """Write files of the cpu and memory controllers of the older kind."""
    for name, content in files.items():
        path = folder / ("memory" if name.startswith("memory") else "cpu") / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return folder


@pytest.mark.usefixtures("sixteen_cores")
class TestCores:
    def test_all_that_may_be_used_are_used(self, tmp_path: Path) -> None:
        assert machine.cores(Settings(), cgroup=tmp_path) == 16

    def test_the_setting_decides(self, tmp_path: Path) -> None:
        limited = cgroup(tmp_path, cpu__max="100000 100000")

        assert machine.cores(Settings(threads=3, lambda_memory_mb=1769), cgroup=limited) == 3

    @pytest.mark.parametrize(
        ("granted", "cores"),
        [
            ("max 100000", 16),
            ("200000 100000", 2),
            ("150000 100000", 2),
            ("50000 100000", 1),
            ("9000000 100000", 16),
        ],
    )
    def test_a_containers_share_counts(self, tmp_path: Path, granted: str, cores: int) -> None:
        assert machine.cores(Settings(), cgroup=cgroup(tmp_path, cpu__max=granted)) == cores

    @pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("400000", 4)])
    def test_so_does_that_of_an_older_kernel(self, tmp_path: Path, quota: str, cores: int) -> None:
        older = version_1(tmp_path, cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")

        assert machine.cores(Settings(), cgroup=older) == cores

    @pytest.mark.parametrize(("memory_mb", "cores"), [(128, 1), (1769, 1), (3008, 2), (3538, 2), (10240, 6)])
    def test_lambda_gives_cores_by_memory(self, tmp_path: Path, memory_mb: int, cores: int) -> None:
        assert machine.cores(Settings(lambda_memory_mb=memory_mb), cgroup=tmp_path) == cores

    def test_the_least_of_all_limits_holds(self, tmp_path: Path) -> None:
        limited = cgroup(tmp_path, cpu__max="300000 100000")

        assert machine.cores(Settings(lambda_memory_mb=10240), cgroup=limited) == 3
        assert machine.cores(Settings(lambda_memory_mb=1769), cgroup=limited) == 1


@needs_affinity
def test_a_process_bound_to_one_core_uses_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})

    assert machine.cores(Settings(), cgroup=tmp_path) == 1


# --- memory ---


def test_what_the_container_has_left_is_what_is_free(tmp_path: Path) -> None:
    limited = cgroup(tmp_path, memory__max="5000000", memory__current="2000000")

    assert machine.free_memory_bytes(limited) == 3_000_000


def test_an_older_kernels_container_counts_too(tmp_path: Path) -> None:
    older = version_1(tmp_path, memory__limit_in_bytes="5000000", memory__usage_in_bytes="1000000")

    assert machine.free_memory_bytes(older) == 4_000_000


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_container_without_a_limit_has_what_the_machine_has(tmp_path: Path, limit: str) -> None:
    free = machine.free_memory_bytes(cgroup(tmp_path, memory__max=limit, memory__current="1"))

    assert free is not None
    assert 1_000_000 < free < 1 << 44


# --- instructions ---

FAST = "avx512f avx512bw avx512dq avx512vl avx512_vnni"


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        (f"fpu sse2 avx2 {FAST}", True),
        ("avx512f avx512bw avx512dq avx512vl", False),
        ("avx2", False),
        ("", False),
    ],
)
def test_wide_instructions_are_used_only_where_all_of_them_are(
    tmp_path: Path, flags: str, fast: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: {flags}\n")

    assert machine.has_fast_avx512(cpuinfo) is fast


def test_instructions_have_their_usual_names(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n")

    assert machine.instructions(cpuinfo) == ["NEON", "dot product", "int8 matrices"]
