"""Recordings in, raw measurements out: we and the others on the same weights in the same run, in turn.

A run can stop after any part and be taken up again: what is known is written after each. Nothing is
judged here; figures.py and report.py read the raw file and need no model.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from whisper_lambda.errors import BadOption, WhisperLambdaError
from whisper_lambda.tools.contest import Row
from whisper_lambda.tools.parts import PARTS, RECORDINGS, Results
from whisper_lambda.tools.setup import FASTER, OPENAI, Setup

_NEED_FASTER = frozenset({"threads", "short", "detect", "long", "music", "nonspeech", "cold"})
_NEED_THREADS = _NEED_FASTER - {"threads", "cold"}


def run(setup: Setup, parts: Sequence[str], raw: Path) -> Results:
    """Run parts one by one, writing what is known after each to `raw`, over what it held before.

    A part that fails is told through `setup.say` and leaves what an earlier run found.

    Raises:
        BadOption: there is no such part, or it needs a side that `against` leaves out.
    """
    for part in parts:
        _check(setup, part)
    results: Results = json.loads(raw.read_text(encoding="utf-8")) if raw.is_file() else {}
    wanted = [part for part in PARTS if part in parts and _possible(setup, part)]
    if _NEED_THREADS & set(wanted) and "threads" not in results and "threads" not in wanted:
        wanted.insert(0, "threads")
    for part in wanted:
        setup.say(f"{part}: {(PARTS[part].__doc__ or '').splitlines()[0]}")
        try:
            found = PARTS[part](setup, results)
        except WhisperLambdaError as failure:
            setup.say(f"{part} failed: {failure}")
            continue
        results[part] = {"at": now(), "machine": machine(), "quick": setup.quick, **found}
        setup.say("")
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.write_text(json.dumps(results, ensure_ascii=False) + "\n", encoding="utf-8")
    return results


def _possible(setup: Setup, part: str) -> bool:
    """Tell whether there are recordings for a part, and say so if not."""
    found = RECORDINGS[part](setup) if part in RECORDINGS else setup.short
    if not found:
        setup.say(f"{part}: none of the recordings is for this part")
    return bool(found)


def runnable(against: Collection[str]) -> list[str]:
    """Return the parts that need no opponent but these."""
    return [part for part in PARTS if _opponents(part) <= set(against)]


def _check(setup: Setup, part: str) -> None:
    if part not in PARTS:
        raise BadOption(f"there is no part {part!r}; there are {', '.join(PARTS)}")
    if left_out := _opponents(part) - setup.against:
        raise BadOption(f"the part {part!r} compares with {', '.join(left_out)}, which --against leaves out")


def _opponents(part: str) -> set[str]:
    return {FASTER} if part in _NEED_FASTER else {OPENAI} if part == "openai" else set()


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> Row:
    """Return what the figures depend on besides the code."""
    libraries = ("whisper-lambda", "ctranslate2", "faster-whisper", "onnxruntime", "av", "numpy")
    versions = {name: _version(name) for name in libraries}
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
