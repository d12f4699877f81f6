"""One real Realtime client plays one recording in real time and prints what it was told, as JSON.

python tests/realtime/speak.py openai|livekit|pipecat URL RECORDING.wav LANGUAGE [MODEL]

Runs in the clients' own virtual environment (requirements/clients.txt), which has nothing of ours. The
recording is 16-bit mono PCM at 24 kHz and ends in silence. `finals` are the finished utterances, `parts`
counts what came while they were spoken.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
import wave
from collections.abc import Iterator
from typing import Any

PACKET_S = 0.05
QUIET_S = 8.0  # after the last of the audio: nothing more comes


def packets(path: str) -> tuple[int, Iterator[bytes]]:
    """Return the recording's rate and its audio in packets."""
    with wave.open(path) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    size = round(rate * PACKET_S) * 2
    return rate, (data[at : at + size] for at in range(0, len(data), size))


async def paced(path: str) -> Any:
    """Yield the packets as fast as they are spoken."""
    began = time.monotonic()
    for n, data in enumerate(packets(path)[1]):
        await asyncio.sleep(max(0.0, began + n * PACKET_S - time.monotonic()))
        yield data


async def by_openai(url: str, path: str, language: str, model: str) -> dict[str, Any]:
    """The SDK's own realtime connection."""
    from openai import AsyncOpenAI

    client, told = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-any"), {"finals": [], "parts": 0}
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as line:
        heard = {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": model, "language": language},
        }
        await line.session.update(session={"type": "transcription", "audio": {"input": heard}})

        async def speak() -> None:
            async for data in paced(path):
                await line.input_audio_buffer.append(audio=base64.b64encode(data).decode())

        speaking, deltas = asyncio.create_task(speak()), ""
        while True:
            try:
                event = await asyncio.wait_for(line.recv(), QUIET_S)
            except TimeoutError:
                break
            if event.type.endswith("input_audio_transcription.delta"):
                told["parts"], deltas = told["parts"] + 1, deltas + event.delta
            elif event.type.endswith("input_audio_transcription.completed"):
                assert event.transcript == deltas, (event.transcript, deltas)
                told["finals"].append(event.transcript)
                deltas = ""
            elif event.type == "error":
                raise SystemExit(f"an error event: {event}")
        await speaking
    return told


async def by_livekit(url: str, path: str, language: str, model: str) -> dict[str, Any]:
    """LiveKit's plug-in, as an agent uses it."""
    from livekit import rtc
    from livekit.agents import stt, utils
    from livekit.plugins import openai

    told = {"finals": [], "parts": 0}
    async with utils.http_context.open():
        hears = openai.STT(
            base_url=f"{url}/v1", api_key="sk-any", model=model, language=language, use_realtime=True
        )
        stream, rate = hears.stream(), packets(path)[0]

        async def speak() -> None:
            async for data in paced(path):
                stream.push_frame(rtc.AudioFrame(data, rate, 1, len(data) // 2))

        speaking = asyncio.create_task(speak())
        while True:
            try:
                event = await asyncio.wait_for(anext(stream), QUIET_S)
            except (TimeoutError, StopAsyncIteration):
                break
            if event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT:
                told["parts"] += 1
            elif event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                told["finals"].append(event.alternatives[0].text)
        await speaking
        await stream.aclose()
        await hears.aclose()
    return told


async def by_pipecat(url: str, path: str, language: str, model: str) -> dict[str, Any]:
    """Pipecat's service in a pipeline of its own; the server ends turns."""
    from pipecat.frames.frames import (
        EndFrame,
        ErrorFrame,
        Frame,
        InputAudioRawFrame,
        InterimTranscriptionFrame,
        TranscriptionFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.services.openai.stt import OpenAIRealtimeSTTService
    from pipecat.transcriptions.language import Language
    from pipecat.workers.runner import WorkerRunner

    told: dict[str, Any] = {"finals": [], "parts": 0}
    last = [time.monotonic()]

    class Ear(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InterimTranscriptionFrame):
                told["parts"] += 1
                last[0] = time.monotonic()
            elif isinstance(frame, TranscriptionFrame):
                told["finals"].append(frame.text)
                last[0] = time.monotonic()
            elif isinstance(frame, ErrorFrame):
                raise SystemExit(f"an error frame: {frame.error}")
            await self.push_frame(frame, direction)

    service = OpenAIRealtimeSTTService(
        api_key="sk-any",
        base_url=f"{url.replace('http', 'ws', 1)}/v1/realtime",
        turn_detection=None,  # the server's own
        settings=OpenAIRealtimeSTTService.Settings(model=model, language=Language(language)),
    )
    rate = packets(path)[0]
    worker = PipelineWorker(Pipeline([service, Ear()]), params=PipelineParams(audio_in_sample_rate=rate))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    async def speak() -> None:
        await asyncio.sleep(0.5)
        async for data in paced(path):
            await worker.queue_frame(InputAudioRawFrame(audio=data, sample_rate=rate, num_channels=1))
        last[0] = max(last[0], time.monotonic())
        while time.monotonic() - last[0] < QUIET_S:
            await asyncio.sleep(0.2)
        await worker.queue_frame(EndFrame())

    await asyncio.gather(runner.run(), speak())
    return told


CLIENTS = {"openai": by_openai, "livekit": by_livekit, "pipecat": by_pipecat}


def main() -> None:
    """Run one client."""
    name, url, path, language, *model = sys.argv[1:]
    told = asyncio.run(CLIENTS[name](url, path, language, *(model or ["gpt-4o-mini-transcribe"])))
    print(json.dumps({"client": name, **told}, ensure_ascii=False))


if __name__ == "__main__":
    main()
