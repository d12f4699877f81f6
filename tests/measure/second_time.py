"""What a job costs the second time, with real weights: `python tests/measure/second_time.py RECORDING...`.

A recording is handed in to a server, then the same bytes again, then the recording with a minute of it put
into its middle. Prints a JSON line each: seconds from handing in to the end, chunks, and how many of
them the engine heard.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import httpx2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from commands import wait_until_alive
from samples import samples_of
from whisper_lambda.types import SAMPLE_RATE, Samples


def as_wav(samples: Samples) -> bytes:
    """Return samples as a file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def done(http: httpx2.Client, sound: bytes, language: str) -> dict[str, object]:
    """Hand in, wait, ask."""
    began = time.perf_counter()
    answer = http.post("/v1/jobs", files={"file": ("a.wav", sound)}, data={"language": language})
    answer.raise_for_status()
    path = f"/v1/jobs/{answer.json()['id']}"
    while (job := http.get(path).raise_for_status().json())["status"] in ("queued", "running"):
        time.sleep(0.05)
    took_s = time.perf_counter() - began
    result = http.get(f"{path}/result", params={"format": "verbose_json"}).json()
    heard = job["receipt"]["chunks"] - job["receipt"]["cached_chunks"]
    return {
        "status": job["status"],
        "took_s": round(took_s, 2),
        "audio_s": job["progress"]["audio_s"],
        "chunks": job["receipt"]["chunks"],
        "heard": heard,
        "characters": len(result["text"]),
        "text": result["text"],
    }


def main() -> None:
    """Serve, hand in three times, print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("recordings", type=Path, nargs="+", help="joined, and cut to --minutes")
    reader.add_argument("--minutes", type=float, default=12.0)
    reader.add_argument("--language", default="en")
    reader.add_argument("--port", type=int, default=8766)
    given = reader.parse_args()
    whole = np.concatenate([samples_of(path) for path in given.recordings])
    whole = whole[: round(given.minutes * 60 * SAMPLE_RATE)]
    middle, minute = len(whole) // 2, 60 * SAMPLE_RATE + 77  # off the frames of what was there
    edited = np.concatenate([whole[:middle], whole[:minute], whole[middle:]])
    with tempfile.TemporaryDirectory() as home:
        weights = Path.home() / ".cache" / "whisper-lambda" / "models"
        Path(home, "models").symlink_to(weights)
        environment = os.environ | {"WHISPER_LAMBDA_HOME": home, "WHISPER_LAMBDA_PROBE_EVERY_S": "0"}
        command = [str(Path(sys.executable).parent / "whisper-lambda"), "serve", "--model", "base"]
        command += ["--port", str(given.port)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
            try:
                _told(given.port, whole, edited, given.language)
            finally:
                server.terminate()


def _told(port: int, whole: Samples, edited: Samples, language: str) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as http:
        wait_until_alive(http)
        done(http, as_wav(np.zeros(SAMPLE_RATE, np.float32)), language)  # workers hired
        said = []
        for name, sound in (("first", as_wav(whole)), ("again", as_wav(whole)), ("edited", as_wav(edited))):
            row = done(http, sound, language)
            said.append(row.pop("text"))
            print(json.dumps({"run": name, **row}), flush=True)
        print(json.dumps({"same_words_again": said[0] == said[1]}), flush=True)


if __name__ == "__main__":
    main()
