"""What the pair is measured against: FastAPI around faster-whisper, written the way such servers are."""

import socket
import sys

import uvicorn
from fastapi import FastAPI, UploadFile
from faster_whisper import WhisperModel

from whisper_lambda.config import Settings

app = FastAPI()
model = WhisperModel(str(Settings().home / "models" / "base"), device="cpu", compute_type="int8")


@app.post("/v1/audio/transcriptions")
def transcribe(file: UploadFile, language: str = "es") -> dict[str, str]:
    segments, _ = model.transcribe(file.file, language=language)
    return {"text": "".join(s.text for s in segments).strip()}


listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listener])
