"""Measure what a job of many hours costs a server that does it, and a server and a worker: `make long-job`.

The engine is a stand-in that takes no time and no memory: what is measured is receiving, decoding, cutting,
queueing, storing and merging. With real weights, add what they need. Prints a JSON line each way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from long_recording import make

from commands import wait_until_alive

FAKE_CLI = Path(__file__).parents[1] / "cli" / "fake_cli.py"


def peak_mb(pid: int) -> float:
    """Return the most memory a process has had resident."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def measured(recording: Path, home: Path, hours: float, port: int, *, apart: bool) -> dict[str, object]:
    """Serve, hand in, wait; `apart` = a worker does the job, and the server only takes it."""
    environment = os.environ | {
        "WHISPER_LAMBDA_HOME": str(home),
        "WHISPER_LAMBDA_MAX_AUDIO_S": "1000000",
        "WHISPER_LAMBDA_MAX_AUDIO_MB": "100000",
        "WHISPER_LAMBDA_MAX_UPLOAD_MB": "100000",
        "WHISPER_LAMBDA_DECODE_TIMEOUT_S": "100000",
        "WHISPER_LAMBDA_PROBE_EVERY_S": "0",
        "WHISPER_LAMBDA_JOBS_HERE": "no" if apart else "yes",
    }
    command = [sys.executable, str(FAKE_CLI)]
    with ExitStack() as running:
        server = running.enter_context(_running([*command, "serve", "--port", str(port)], environment))
        worker = running.enter_context(_running([*command, "worker"], environment)) if apart else None
        row = _followed(server.pid, command, recording, f"http://127.0.0.1:{port}")
        if worker:
            row["worker_peak_mb"] = round(peak_mb(worker.pid))
    return {"hours": hours, "done_by": "a worker" if apart else "the server", **row}


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _followed(pid: int, command: list[str], recording: Path, address: str) -> dict[str, object]:
    with httpx2.Client(base_url=address, timeout=60) as http:
        wait_until_alive(http)
        idle_mb, began = peak_mb(pid), time.perf_counter()
        submit = [*command, "jobs", "submit", "-l", "es", str(recording), "--server", address]
        job_id = subprocess.run(submit, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        accepted = time.perf_counter() - began, peak_mb(pid)
        while (job := http.get(f"/v1/jobs/{job_id}").json())["status"] in ("queued", "running"):
            time.sleep(1.0)
        took_s = time.perf_counter() - began
        text = http.get(f"/v1/jobs/{job_id}/result", params={"format": "srt"}).text
    return {
        "status": job["status"],
        "error": job["error"],
        "audio_s": job["progress"]["audio_s"],
        "chunks": job["progress"]["chunks"],
        "result_bytes": len(text),
        "accepted_s": round(accepted[0], 1),
        "took_s": round(took_s, 1),
        "idle_mb": round(idle_mb),
        "accepted_mb": round(accepted[1]),
        "peak_mb": round(peak_mb(pid)),
    }


def main() -> None:
    """Make, measure, print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--hours", type=float, default=10.0)
    reader.add_argument("--port", type=int, default=8765)
    given = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.wav")
        make(path, given.hours)
        for apart in (False, True):
            with tempfile.TemporaryDirectory() as home:
                row = measured(path, Path(home), given.hours, given.port, apart=apart)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
