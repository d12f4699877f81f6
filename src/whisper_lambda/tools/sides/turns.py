"""The loop of a side: answer each job on standard input until it closes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def take_turns(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer jobs one by one; the wall-clock seconds of each are measured here, in its process.

    Libraries print where they like, so standard output is moved aside for the answers alone.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as out:
        os.dup2(2, 1)
        out.write(json.dumps({"ready": True}) + "\n")
        for line in sys.stdin:
            started = time.perf_counter()
            reply = answer(json.loads(line))
            reply["seconds"] = time.perf_counter() - started
            out.write(json.dumps(reply, ensure_ascii=False) + "\n")
