"""What tests of jobs over HTTP share."""

from __future__ import annotations

import time

import httpx2


def until_ended(http: httpx2.Client, job_id: str, seconds: float = 60.0, **query: str) -> dict:
    deadline = time.monotonic() + seconds
    while (job := http.get(f"/v1/jobs/{job_id}", params=query).json())["status"] in {"queued", "running"}:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job
