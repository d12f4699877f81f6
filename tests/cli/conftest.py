"""The command line as its users meet it: a process with pipes or a terminal."""

import contextlib
import fcntl
import os
import pty
import subprocess
import sys
import termios
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

FAKE_CLI = Path(__file__).with_name("fake_cli.py")
Cli = Callable[..., subprocess.CompletedProcess[bytes]]


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without anybody's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WHISPER_LAMBDA_", "FAKE_"))}
    return kept | {"TERM": "xterm", "COLUMNS": "120"} | extra


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `whisper-lambda` with a FakeEngine in an empty folder; stdout and stderr are pipes."""

    def run(*args: str | Path, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, str(FAKE_CLI), *map(str, args)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=environment(**env),
            timeout=120,
            check=False,
        )

    return run


@contextlib.contextmanager
def started(
    *args: str | Path, cwd: Path, stdin: int = subprocess.DEVNULL, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `whisper-lambda` with a FakeEngine, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, str(FAKE_CLI), *map(str, args)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(**env),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def on_terminal(
    *args: str | Path, cwd: Path, stdout_too: bool = True, **env: str
) -> tuple[int, list[tuple[float, bytes]], bytes]:
    """Run with stderr (and stdout) on a terminal.

    Returns:
        The exit code, what the terminal showed as (seconds since the start, bytes), and the piped stdout.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\x00\x00\x00\x00")  # 40 lines of 120
    process = subprocess.Popen(
        [sys.executable, str(FAKE_CLI), *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=theirs if stdout_too else subprocess.PIPE,
        stderr=theirs,
        cwd=cwd,
        env=environment(**env),
    )
    os.close(theirs)
    began = time.monotonic()
    shown: list[tuple[float, bytes]] = []
    with contextlib.suppress(OSError):  # Linux says EIO when the other end is closed
        while block := os.read(ours, 65536):
            shown.append((time.monotonic() - began, block))
    os.close(ours)
    piped = process.communicate(timeout=120)[0] or b""
    return process.returncode, shown, piped


def write_noise(path: Path, seconds: float, *, rate: int = 8_000) -> Path:
    """Write a wav file of quiet noise: really decoded, really cut, heard by nobody but a FakeEngine."""
    noise = np.random.default_rng(0).normal(0, 1000, int(seconds * rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(noise.astype("<i2").tobytes())
    return path


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A second of noise."""
    return write_noise(tmp_path / "short.wav", 1)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Two minutes of noise: more chunks than one."""
    return write_noise(tmp_path / "long.wav", 120)
