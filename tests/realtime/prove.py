"""Real Realtime clients against a real server with real weights: `make test-clients`.

python tests/realtime/prove.py PYTHON [OUT]

PYTHON has requirements/clients.txt. Each client plays a Spanish and an English recording in real time and
must be told what was said, in parts while it was spoken; what came of it is written to OUT as a page.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import wave
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soxr

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

from commands import running  # noqa: E402

FIXTURES = HERE.parent / "fixtures"
NAMES = ("es-tt-allbusy", "en-tt-allbusy")
SILENCE_S, RATE = 1.5, 24_000
MOST_WRONG = 0.12  # of a recording's words: three of 26
CLIENTS = {"openai": "openai", "livekit": "livekit-plugins-openai", "pipecat": "pipecat-ai"}
HEAD = """# Clients of the Realtime API
<!-- Written by tests/realtime/prove.py (`make test-clients`). -->

Live captions ([live.md](../live.md)) speak OpenAI's Realtime transcription, so its clients need the server's
address only.

```python
# LiveKit: livekit-plugins-openai
hears = openai.STT(
    base_url="http://HOST/v1", api_key="wl_...", model="whisper-1", language="es", use_realtime=True
)

# Pipecat: pipecat-ai[openai]; turn_detection=None leaves the ends of turns to the server
hears = OpenAIRealtimeSTTService(
    api_key="wl_...",
    base_url="ws://HOST/v1/realtime",
    turn_detection=None,
    settings=OpenAIRealtimeSTTService.Settings(model="whisper-1", language=Language.ES),
)

# openai
async with client.realtime.connect(extra_query={"intent": "transcription"}) as line:
    ...
```

How each is used from end to end: [speak.py](../../tests/realtime/speak.py).

## Shown

Each client plays a recording of this repository in real time into `whisper-lambda serve --model base` and is
told what was said. {date}; wrong words of those said, case and marks aside; "parts" came while it was spoken.

| client | language | wrong | parts | utterances |
|---|---|---|---|---|
"""


def played(name: str, folder: Path) -> Path:
    """Write a fixture as clients send it: 24 kHz, silence at its end."""
    from fakes import fake_service

    with fake_service() as service:
        samples = service.decode(FIXTURES / f"{name}.flac").samples
    samples = np.concatenate([samples, np.zeros(round(SILENCE_S * 16_000), np.float32)])
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((soxr.resample(samples, 16_000, RATE) * 32_767).astype("<i2").tobytes())
    return path


def wrong(reference: str, said: str) -> tuple[int, int]:
    """Return how many words must be changed, added or removed, and how many there are."""
    want, got = (re.findall(r"\w+", text.casefold()) for text in (reference, said))
    row = list(range(len(got) + 1))
    for i, word in enumerate(want, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1], len(want)


def main() -> int:
    """Run every client on every recording; 1 where one was told something else."""
    python, out = sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None
    known = {
        row["audio"]: row for row in map(json.loads, (FIXTURES / "prompts.jsonl").read_text().splitlines())
    }
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as made, running("serve", "--port", "0", "--model", "base") as url:
        for client, package in CLIENTS.items():
            asked = [python, "-c", f"from importlib.metadata import version; print(version('{package}'))"]
            release = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
            for name in NAMES:
                row = known[f"{name}.flac"]
                command = [
                    python,
                    str(HERE / "speak.py"),
                    client,
                    url,
                    str(played(name, Path(made))),
                    row["language"],
                ]
                done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
                if done.returncode:
                    print(f"{client} {name}: failed\n{done.stderr[-3000:]}", flush=True)
                    failed = True
                    continue
                told = json.loads(done.stdout.splitlines()[-1])
                errors, words = wrong(row["text"], " ".join(told["finals"]))
                failed = failed or errors > MOST_WRONG * words or told["parts"] < 3
                rows.append(
                    f"| {package} {release} | {row['language']} | {errors} of {words} | {told['parts']} | "
                    f"{len(told['finals'])} |"
                )
                print(rows[-1], " ".join(told["finals"]), flush=True)
    if out and not failed:
        date = time.strftime("%Y-%m-%d", time.gmtime())
        said = f"{date}, whisper-lambda {version('whisper-lambda')}"
        out.write_text(HEAD.replace("{date}", said) + "\n".join(rows) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
