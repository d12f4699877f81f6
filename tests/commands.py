"""One of our commands that serves, in a process of its own, for the measuring scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

READY_S = 180.0  # weights are loaded and one recording is heard before it says that it is ready


@contextmanager
def running(*command: str, **variables: str) -> Iterator[str]:
    """Run one of our commands; give its address once it is ready.

    Raises:
        SystemExit: it ended, or did not get ready; says what it printed.
    """
    program = str(Path(sys.executable).parent / "whisper-lambda")
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(
            [program, *command], stdout=log, stderr=subprocess.STDOUT, env=os.environ | variables
        )
        try:
            yield _address(Path(log.name), process)
        finally:
            process.terminate()
            process.wait(30)


def wait_until_alive(http: httpx2.Client) -> None:
    """Wait for a server that was started otherwise, until it answers; it need not be ready to hear.

    Raises:
        SystemExit: it did not answer within READY_S.
    """
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            http.get("/health/live")
        except httpx2.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"nothing answers at {http.base_url}")


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            try:
                if httpx2.get(f"{found[0]}/health/ready", timeout=60).status_code == 200:
                    return found[0]
            except httpx2.HTTPError:
                pass
        time.sleep(0.3)
    raise SystemExit(f"{' '.join(map(str, process.args))} did not get ready:\n{log.read_text()}")
