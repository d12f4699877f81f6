"""Ctrl-C and friends: gone at once, with nobody and nothing left behind."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.conftest import started

BUSY = {
    "FAKE_DELAY_S": "600",
    "FAKE_SAYS_BUSY": "1",
}  # a chunk takes ten minutes, and cannot be interrupted


def family(pid: int) -> set[int]:
    """Return the process ids below `pid`, to the last grandchild."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    found: set[int] = set()
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown}
        found |= grown
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those that still run; a zombie does not."""
    return {
        p
        for p in pids
        if Path(f"/proc/{p}").exists() and "\nState:\tZ" not in Path(f"/proc/{p}/status").read_text()
    }


def wait_until_gone(pids: set[int]) -> set[int]:
    deadline = time.monotonic() + 30
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are looked up in /proc")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_ends_at_once_and_leaves_nothing(tmp_path: Path, long: Path, signum: int, code: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    another = tmp_path / f"another{long.suffix}"  # for which the decoding process waits
    shutil.copyfile(long, another)
    env = BUSY | {"WHISPER_LAMBDA_SCRATCH": str(scratch), "TMPDIR": str(scratch)}
    with started("transcribe", long, another, "--vad=off", "-o", "out", cwd=tmp_path, **env) as process:
        assert process.stderr.readline() == b"busy\n"
        children = family(process.pid)
        assert children, "the decoding process should be waiting"
        process.send_signal(signum)

        assert process.wait(60) == code
        assert wait_until_gone(children) == set()
        assert process.stdout.read() == b""
        assert set(process.stderr.read().splitlines()) <= {b"busy"}
    assert list((tmp_path / "out").iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_ctrl_c_in_a_terminal_reaches_the_whole_group(tmp_path: Path, long: Path) -> None:
    with started("transcribe", long, "--vad=off", cwd=tmp_path, **BUSY) as process:
        process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(60) == 130
        assert set(process.stderr.read().splitlines()) <= {b"busy"}


def test_what_was_finished_before_ctrl_c_stays(tmp_path: Path, short: Path, long: Path) -> None:
    with started(
        "transcribe",
        short,
        long,
        "--vad=off",
        "-o",
        "out",
        cwd=tmp_path,
        FAKE_DELAY_S="600",
        FAKE_QUICK_S="5",
    ) as process:
        assert b"short.txt" in process.stderr.readline()
        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["short.txt"]


def test_ctrl_c_while_standard_input_is_awaited(tmp_path: Path) -> None:
    with started("transcribe", "-", cwd=tmp_path, stdin=subprocess.PIPE) as process:
        # More than a pipe holds: when it is written, the process has begun to read.
        process.stdin.write(b"RIFF" + bytes(1 << 20))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
        assert process.stderr.read() == b""
