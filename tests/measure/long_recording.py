"""Measure what a recording of many hours costs in memory: `make long` (HOURS=10, CACHE_MB=512, STAND_IN=1).

The recording is made here, as a WAV of 16 kHz: the bundled prompts, said over and over in a drawn order with
drawn pauses; with PROGRAMME_MIN=30 so much of it, repeated with gaps of 5 to 60 s. Prints a JSON line a run:
the first, and with a cache the second. With a stand-in for the engine, which takes neither
time nor memory, what is left is decoding, cutting, remembering, stitching.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from samples import bundled

RATE = 16_000
CHILD = """
import json, resource, sys, time
from dataclasses import replace
from pathlib import Path
from whisper_lambda.bootstrap import build
from whisper_lambda.config import Settings
from whisper_lambda.types import Options
settings = replace(Settings(), home=Path(sys.argv[2]), model="base", max_audio_s=1e6, max_audio_mb=10**6,
    decode_timeout_s=1e5, cache_mb=int(sys.argv[3]), model_dir=None)
began = time.perf_counter()
with build(settings) as service:
    if sys.argv[4:]:
        sys.path.insert(0, sys.argv[4])
        from fakes import FakeEngine, FakeRouter
        service.router = FakeRouter(FakeEngine())
    planned = []
    transcript = service.transcribe(
        Path(sys.argv[1]), Options(language="es"),
        on_plan=lambda plan, _: planned.append(time.perf_counter() - began),
    )
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"chunks": transcript.chunks, "cached": transcript.cached_chunks,
    "audio_s": transcript.duration,
    "characters": len(transcript.text), "planned_s": planned[0], "took_s": time.perf_counter() - began,
    "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
"""


def make(path: Path, hours: float, programme_min: float | None = None) -> None:
    """Write the recording, piece by piece: anew all along, or a programme over and over."""
    draw = np.random.default_rng(11)
    length = round(hours * 3600 * RATE)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        if programme_min is None:
            for part in _said(draw, length):
                file.writeframes(part.tobytes())
            return
        programme = np.concatenate(list(_said(draw, round(programme_min * 60 * RATE)))).tobytes()
        left = 2 * length
        while left > 0:
            gap = bytes(2 * round(draw.uniform(5.0, 60.0) * RATE))
            part = (programme + gap)[:left]
            file.writeframes(part)
            left -= len(part)


def _said(draw: np.random.Generator, left: int) -> Iterator[NDArray[np.int16]]:
    said = [(s * 32767).astype("<i2") for s in bundled()]
    while left > 0:
        pause = np.zeros(round(draw.uniform(0.4, 6.0) * RATE), "<i2")
        part = np.concatenate([said[draw.integers(len(said))], pause])[:left]
        yield part
        left -= len(part)


def children_peak_mb(pid: int, found: dict[str, float], ended: threading.Event) -> None:
    """Note the greatest memory of the decoding processes while the measured one runs."""
    while not ended.wait(0.2):
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
                line = Path(status.parent, "cmdline").read_bytes()
            except OSError:
                continue
            if b"decoder_child" in line:
                peak = int(text.partition("VmHWM:")[2].split()[0]) / 1024
                if f"PPid:\t{pid}\n" in text or found.get("parent") == float(
                    text.partition("PPid:")[2].split()[0]
                ):
                    found["parent"] = found.get("parent", float(text.partition("\nPid:")[2].split()[0]))
                    found["peak_mb"] = max(found.get("peak_mb", 0.0), peak)


def main() -> None:
    """Make, measure, print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--hours", type=float, default=10.0)
    reader.add_argument("--cache-mb", type=int, default=512)
    reader.add_argument("--stand-in", action="store_true", help="hear with an engine that takes no time")
    reader.add_argument(
        "--programme-min", type=float, help="minutes said over and over; absent = all is drawn"
    )
    reader.add_argument("--home", type=Path, help="where weights are found; the cache is made anew elsewhere")
    given = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, home = Path(folder, "long.wav"), Path(folder, "home")
        make(path, given.hours, given.programme_min)
        home.mkdir()
        weights = (given.home or Path.home() / ".cache" / "whisper-lambda") / "models"
        if weights.is_dir():
            (home / "models").symlink_to(weights)
        command = [sys.executable, "-c", CHILD, str(path), str(home), str(given.cache_mb)]
        command += [str(Path(__file__).parents[1])] if given.stand_in else []
        for run in ("first", "again") if given.cache_mb else ("first",):
            began = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                found: dict[str, float] = {}
                ended = threading.Event()
                watcher = threading.Thread(target=children_peak_mb, args=(child.pid, found, ended))
                watcher.start()
                out = child.communicate()[0]
                ended.set()
                watcher.join()
            row = json.loads(out)
            row |= {
                "run": run,
                "hours": given.hours,
                "programme_min": given.programme_min,
                "engine": "stand-in" if given.stand_in else "base",
                "cache_mb": given.cache_mb,
                "decoder_peak_mb": found.get("peak_mb", 0.0),
                "wall_s": time.perf_counter() - began,
            }
            print(
                json.dumps({name: round(v, 1) if isinstance(v, float) else v for name, v in row.items()}),
                flush=True,
            )


if __name__ == "__main__":
    main()
