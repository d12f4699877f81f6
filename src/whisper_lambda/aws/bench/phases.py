"""What both sides of a cold start tell: seconds since the process began, by phase, and bytes touched."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


class Phases:
    """Seconds since the process began, by the name of what had just been done."""

    def __init__(self) -> None:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        self._began = time.monotonic() - (uptime_s - started_ticks / os.sysconf("SC_CLK_TCK"))
        self.at: dict[str, float] = {}

    def done(self, name: str) -> None:
        """Note that something is done."""
        self.at[name] = round(time.monotonic() - self._began, 3)

    def tell(self, text: str) -> None:
        """Print everything as one line of JSON."""
        told = {"text": text, "at": self.at, "touched_mb": round(touched_bytes() / 1e6, 1)}
        print(json.dumps(told))  # noqa: T201 - its answer


def touched_bytes() -> int:
    """Return the bytes this process read, and those of files it has mapped that are resident."""
    read = int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])
    resident, of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()
        if "-" in head[0] and not head[0].endswith(":"):
            of_file = len(head) > 5 and head[5].startswith("/")  # noqa: PLR2004
        elif of_file and head[0] == "Rss:":
            resident += int(head[1]) * 1024
    return read + resident
