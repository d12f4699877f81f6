"""A server under test: a process of its own, started as its users start it, watched from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

STUB = Path(__file__).parent / "stub_server.py"


@dataclass(frozen=True)
class Server:
    url: str
    pid: int

    def memory_mb(self) -> float:
        """Resident size of the process itself; its decoding children are counted apart."""
        return _status(self.pid, "VmRSS") / 1024

    def threads(self) -> int:
        return _status(self.pid, "Threads")

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - a count, thousands of times


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found, f"{name} is not in /proc/{pid}/status"
    return int(found[1])


@contextmanager
def real(model: str = "base", **env: str) -> Iterator[Server]:
    """Run `whisper-lambda serve` with real weights."""
    program = Path(sys.executable).with_name("whisper-lambda")
    with running([str(program), "serve", "--port", "0", "--model", model], env) as it:
        yield it


@contextmanager
def stub(delay_s: float, **env: str) -> Iterator[Server]:
    """Run the same application with an engine that takes `delay_s` a recording, one at a time."""
    with running([sys.executable, str(STUB), str(delay_s)], env) as it:
        yield it


@contextmanager
def running(command: list[str], env: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a program that prints its address on stderr; end it when the block is left."""
    with TemporaryDirectory() as home:
        # Keys and usage belong to the run; weights to the machine.
        own = {
            "WHISPER_LAMBDA_KEYS_FILE": f"{home}/keys.json",
            "WHISPER_LAMBDA_SCRATCH": home,
            "WHISPER_LAMBDA_CACHE_MB": "0",  # a remembered answer measures nothing
        }
        process = subprocess.Popen(
            command,
            env=os.environ | own | (env or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        try:
            url, said = "", []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    url = found[0]
                    break
            assert url, "the server did not start: " + "".join(said)
            threading.Thread(target=process.stderr.read, daemon=True).start()  # or its log fills the pipe
            yield Server(url, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
