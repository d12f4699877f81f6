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


# As uvicorn makes it of a host and a port: naming the protocol, so that asyncio turns Nagle's delay off.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen()
print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listener])
