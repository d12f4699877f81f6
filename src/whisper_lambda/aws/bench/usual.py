"""A Lambda function with faster-whisper as it is usually written: FastAPI, Mangum, the model at module level.

argv: folder of the model, file with the event. Answers that one event as Lambda would have it do.
"""

from __future__ import annotations

from whisper_lambda.aws.bench.phases import Phases

PHASES = Phases()
PHASES.done("interpreter")

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from fastapi import FastAPI, File, Form, UploadFile
from faster_whisper import WhisperModel
from mangum import Mangum

PHASES.done("import")

model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
PHASES.done("weights")
app = FastAPI()


@app.post("/transcribe")
async def transcribe(file: UploadFile = File(...), language: str = Form("")) -> dict[str, str]:
    """Transcribe a recording."""
    with tempfile.NamedTemporaryFile(suffix=".audio") as kept:
        kept.write(await file.read())
        kept.flush()
        segments, info = model.transcribe(kept.name, language=language or None)
        return {"text": "".join(s.text for s in segments).strip(), "language": info.language}


handler = Mangum(app, lifespan="off")

nothing: Any = {}  # it asks for no context
answer = handler(json.loads(Path(sys.argv[2]).read_text()), nothing)
PHASES.done("answer")
PHASES.tell(json.loads(answer["body"])["text"])
