"""Where live audio comes from, and the loop that hears it. The only user of sounddevice."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from whisper_lambda.audio.pcm import PcmStream, RawFormat
from whisper_lambda.errors import BadOption
from whisper_lambda.live.session import Event, Session
from whisper_lambda.types import SAMPLE_RATE, Samples

PACKET_S = 0.1
_NOTHING = np.zeros(0, np.float32)
_END = np.zeros(0, np.float32)  # told apart by identity


def listen(session: Session, audio: Iterator[Samples], show: Callable[[list[Event]], None]) -> None:
    """Hear audio to its end. It is read beside the decoding: what comes meanwhile waits, none is lost."""
    coming = _read(audio)
    more = True
    while more:
        got = coming.get() if session.idle or coming.qsize() else _NOTHING
        if isinstance(got, BaseException):
            raise got
        more = got is not _END
        show(session.take(got))
        if session.due and not coming.qsize():
            show(session.step())
    while not session.idle:
        show(session.step() if session.due else session.take(_NOTHING))
    show(session.finish())


def _read(audio: Iterator[Samples]) -> queue.SimpleQueue[Samples | BaseException]:
    """Read on a thread of its own; `_END`, or what went wrong, comes last."""
    coming: queue.SimpleQueue[Samples | BaseException] = queue.SimpleQueue()

    def read() -> None:
        try:
            for samples in audio:
                coming.put(samples)
            coming.put(_END)
        except BaseException as failure:  # noqa: BLE001 - raised again on the other side
            coming.put(failure)

    threading.Thread(target=read, name="hearing", daemon=True).start()
    return coming


def stdin(rate: int) -> Iterator[Samples]:
    """Yield raw 16-bit little-endian mono PCM from standard input as it comes, e.g. from ffmpeg -f s16le."""
    stream = PcmStream(RawFormat("pcm16", rate))
    while data := os.read(sys.stdin.fileno(), round(rate * PACKET_S) * 2):
        yield stream.samples(data)
    yield stream.samples(b"", last=True)


def played(samples: Samples) -> Iterator[Samples]:
    """Yield a recording in real time."""
    began, size = time.monotonic(), round(PACKET_S * SAMPLE_RATE)
    for at in range(0, len(samples), size):
        time.sleep(max(0.0, began + (at + size) / SAMPLE_RATE - time.monotonic()))
        yield samples[at : at + size]


@contextmanager
def microphone(device: str | None) -> Iterator[Iterator[Samples]]:
    """Open the microphone.

    Raises:
        BadOption: sounddevice or the system's audio library is not installed, or there is no such device.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as cause:
        raise BadOption("a microphone needs the extra: pip install 'whisper-lambda[mic]'") from cause
    except OSError as cause:
        raise BadOption(
            "a microphone needs PortAudio, which is not here (Debian: apt-get install libportaudio2); "
            "--from-file FILE, or PCM on stdin (-), need none"
        ) from cause
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def come(data: Any, *_: object) -> None:  # noqa: ANN401 - a buffer of the library's
        heard.put(bytes(data))

    try:
        line = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE,
            blocksize=round(PACKET_S * SAMPLE_RATE),
            device=int(device) if device and device.isdecimal() else device,
            channels=1,
            dtype="int16",
            callback=come,
        )
    except (sounddevice.PortAudioError, ValueError) as cause:
        raise BadOption(f"the microphone cannot be opened: {cause}") from cause
    stream = PcmStream(RawFormat("pcm16", SAMPLE_RATE))
    with line:
        yield (stream.samples(data) for data in iter(heard.get, None))
