"""The public face as type checkers see it. mypy reads this file; nothing runs it."""

from collections.abc import Generator
from os import PathLike
from pathlib import Path
from typing import assert_type

import numpy as np

import whisper_lambda
from whisper_lambda.api import Transcriber
from whisper_lambda.config import Settings
from whisper_lambda.types import ModelChoice

transcript = whisper_lambda.transcribe("talk.mp3")
assert_type(transcript, whisper_lambda.Transcript)
assert_type(transcript.text, str)
assert_type(transcript.segments, tuple[whisper_lambda.Segment, ...])
assert_type(transcript.words, tuple[whisper_lambda.Word, ...])
assert_type(transcript.model, ModelChoice | None)

whisper_lambda.transcribe(Path("talk.mp3"), language="es", times="word", quality="best")
whisper_lambda.transcribe(b"RIFF", model="turbo", settings=Settings(threads=2))
whisper_lambda.transcribe(np.zeros(16_000, np.float32), languages=["es", "en"], hotwords=("Ana",))


def any_path(path: PathLike[str]) -> str:
    return whisper_lambda.transcribe(path, task="translate").text


whisper_lambda.transcribe("talk.mp3", quality="superb")  # type: ignore[arg-type]
whisper_lambda.transcribe("talk.mp3", langauge="es")  # type: ignore[call-arg]
whisper_lambda.transcribe("talk.mp3", beam_size="5")  # type: ignore[arg-type]

assert_type(whisper_lambda.stream("talk.mp3", language="es"), Generator[whisper_lambda.Segment])

with Transcriber(Settings(model="base")) as transcriber:
    assert_type(transcriber.transcribe("talk.mp3", vad="off"), whisper_lambda.Transcript)
    for segment in transcriber.stream("talk.mp3", times="word"):
        assert_type(segment.start, float)
