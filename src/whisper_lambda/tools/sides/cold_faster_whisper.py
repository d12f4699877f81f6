"""The least a program with faster-whisper can be: folder, recording and language in, text out."""

from __future__ import annotations

import sys

from faster_whisper import WhisperModel

model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
segments, _ = model.transcribe(sys.argv[2], language=sys.argv[3])
print("".join(s.text for s in segments).strip())  # noqa: T201 - its answer
