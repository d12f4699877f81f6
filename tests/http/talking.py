"""Clients of the socket: the openai SDK's, and a bare one for what no SDK would send."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from whisper_lambda.types import Samples

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"


class Speaker:
    """A bare client at 16 kHz."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self.seen: list[dict[str, Any]] = []

    def send(self, kind: str, **members: Any) -> None:
        self.line.send(json.dumps({"type": kind, **members}))

    def configure(self, *, include: list[str] | None = None, **heard: Any) -> None:
        told = {"format": {"type": "audio/pcm", "rate": 16_000}, **heard}
        session: dict[str, Any] = {"type": "transcription", "audio": {"input": told}}
        if include is not None:
            session["include"] = include
        self.send("session.update", session=session)

    def speak(self, samples: Samples, *, packet: int = 3_200, faster: float = 0.0) -> None:
        """Send audio: at once, or so many times faster than it was spoken."""
        data = pcm(samples)
        for at in range(0, len(data), packet):
            if faster:
                time.sleep(packet / 32_000 / faster)
            self.send("input_audio_buffer.append", audio=base64.b64encode(data[at : at + packet]).decode())

    def next(self, wait_s: float = 60.0) -> dict[str, Any]:
        event = json.loads(self.line.recv(timeout=wait_s))
        self.seen.append(event)
        return event

    def until(self, kind: str, wait_s: float = 60.0) -> dict[str, Any]:
        while True:
            event = self.next(wait_s)
            if event["type"] == kind:
                return event

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.seen if e["type"] == kind]


@contextmanager
def talking(url: str, query: str = "intent=transcription", **how: Any) -> Iterator[Speaker]:
    address = url.replace("http", "ws", 1) + f"/v1/realtime?{query}"
    with connect(address, max_size=None, **how) as line:
        yield Speaker(line)


def pcm(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def transcripts_are_their_deltas(seen: list[dict[str, Any]]) -> None:
    """The promise of the wire: each item's deltas, joined, are what it is completed with."""
    said: dict[str, str] = {}
    for event in seen:
        if event["type"] == DELTA:
            assert event["content_index"] == 0
            said[event["item_id"]] = said.get(event["item_id"], "") + event["delta"]
    done = {e["item_id"]: e["transcript"] for e in seen if e["type"] == COMPLETED}
    assert done == {item: said.get(item, "") for item in done}
