"""The Python face: what it takes, what it refuses at once, and what it keeps open."""

import math
import os
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from fakes import FakeEngine, fake_service
from prompts import Prompt
from whisper_lambda import api
from whisper_lambda.api import OptionKeywords, Transcriber, options_from
from whisper_lambda.config import Settings
from whisper_lambda.errors import AudioTooLong, BadOption, UnknownLanguage, UnknownModel
from whisper_lambda.types import SAMPLE_RATE, Options

NOISE = np.random.default_rng(0).normal(0, 0.03, SAMPLE_RATE).astype(np.float32)  # one second


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def transcriber(engine: FakeEngine) -> Iterator[Transcriber]:
    with Transcriber(service=fake_service(engine)) as opened:
        yield opened


def minutes(count: float) -> np.ndarray:
    """Noise long enough for several chunks."""
    return np.tile(NOISE, round(count * 60))


def test_the_keywords_are_the_fields_of_options() -> None:
    """Lists are taken where Options has tuples; nothing else may differ."""

    def loosened(kind: Any) -> Any:
        return get_args(kind)[0] if get_origin(kind) is tuple else kind

    def element(kind: Any) -> Any:
        return get_args(kind)[0] if "Sequence" in str(kind) else kind

    ours = {name: element(kind) for name, kind in get_type_hints(OptionKeywords).items()}

    assert ours == {name: loosened(kind) for name, kind in get_type_hints(Options).items()}
    assert list(OptionKeywords.__annotations__) == list(Options.__dataclass_fields__)


def test_a_path_its_bytes_and_its_samples_say_the_same(transcriber: Transcriber, spanish: Prompt) -> None:
    decoded = transcriber._service.decode(spanish.path)
    sources = [
        str(spanish.path),
        spanish.path,
        spanish.path.read_bytes(),
        bytearray(spanish.path.read_bytes()),
    ]
    texts = {transcriber.transcribe(source).text for source in (*sources, decoded.samples)}

    assert len(texts) == 1
    assert "Hola" in texts.pop()


def test_options_reach_the_engine(transcriber: Transcriber, engine: FakeEngine) -> None:
    transcriber.transcribe(NOISE, vad="off", language="Spanish", beam_size=3, hotwords=["Ana"], times="word")
    [(_, options)] = engine.heard

    assert options == Options(vad="off", language="es", beam_size=3, hotwords=("Ana",), times="word")


def test_the_model_that_answered_is_in_the_transcript(transcriber: Transcriber) -> None:
    assert transcriber.transcribe(NOISE, model="tiny").model.served == "tiny"
    with pytest.raises(UnknownModel):
        transcriber.transcribe(NOISE, model="nonsense")


@pytest.mark.parametrize(
    ("samples", "advice"),
    [
        (np.zeros(16000, np.int16), "/ 32768"),
        (np.zeros(16000, np.int32), "/ 2147483648"),
        (np.zeros(16000), "astype(np.float32)"),
        (np.zeros(16000, np.float16), "astype(np.float32)"),
        (np.zeros(16000, np.complex64), "astype(np.float32)"),
        (np.zeros((2, 16000), np.float32), "mean(axis=0)"),
        (np.zeros((16000, 2), np.float32), "mean(axis=1)"),
        (np.zeros((), np.float32), "(n,)"),
        (np.zeros(0, np.float32), "empty"),
        (np.array([0, math.nan, 0], np.float32), "nan_to_num"),
        (np.array([0, math.inf], np.float32), "nan_to_num"),
        (np.array([0, -math.inf], np.float32), "nan_to_num"),
        (np.array([0, -32768, 100], np.float32), "divide"),
        ([0.0, 0.1], "np.asarray"),
        (None, "a path, bytes or"),
        (3, "a path, bytes or"),
        ("https://example.org/a.mp3", "download it first"),
    ],
)
def test_a_wrong_recording_is_refused_with_what_to_do(
    transcriber: Transcriber, engine: FakeEngine, samples: Any, advice: str
) -> None:
    for call in (transcriber.transcribe, transcriber.stream):
        with pytest.raises(BadOption) as refusal:
            call(samples)

        assert advice in str(refusal.value)
    assert engine.heard == []


@pytest.mark.parametrize("samples", [NOISE[::2], NOISE[::-1], NOISE * 30])
def test_odd_but_sound_samples_are_taken(transcriber: Transcriber, samples: np.ndarray) -> None:
    """A view with strides, and float audio that passes full scale a little."""
    assert transcriber.transcribe(samples, vad="off").text == "Hola a todos."


def test_samples_are_not_changed(transcriber: Transcriber) -> None:
    samples = NOISE.copy()
    samples.flags.writeable = False
    transcriber.transcribe(samples, vad="off")

    assert np.array_equal(samples, NOISE)


def test_samples_count_against_the_longest_recording(engine: FakeEngine) -> None:
    with Transcriber(service=fake_service(engine, Settings(max_audio_s=1.0))) as strict:
        strict.transcribe(NOISE, vad="off")
        with pytest.raises(AudioTooLong):
            strict.transcribe(np.append(NOISE, NOISE[:1]), vad="off")


def test_a_path_is_checked_at_the_call(transcriber: Transcriber, tmp_path: Path) -> None:
    for call in (transcriber.transcribe, transcriber.stream):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "nope.mp3")
        with pytest.raises(IsADirectoryError):
            call(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"task": "summarise"}, "transcribe, translate"),
        ({"quality": "superb"}, "fast, balanced, best"),
        ({"vad": True}, "auto, on, off"),
        ({"times": "letter"}, "none, segment, word"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"no_speech_threshold": 2}, "no_speech_threshold"),
        ({"logprob_threshold": 1}, "logprob_threshold"),
        ({"compression_ratio_threshold": -1}, "compression_ratio_threshold"),
        ({"beam_size": 0}, "beam_size"),
        ({"beam_size": 10_000}, "beam_size"),
        ({"beam_size": 2.0}, "beam_size"),
        ({"beam_size": True}, "beam_size"),
        ({"prompt": None}, "prompt"),
        ({"language": 3}, "language"),
        ({"hotwords": "Ana"}, "hotwords"),
        ({"hotwords": [1]}, "hotwords"),
        ({"languages": "es"}, "languages"),
        ({"multilingual": 1}, "multilingual"),
        ({"multilingual": True, "language": "es"}, "leave language out"),
        ({"language": "es", "languages": ["en", "fr"]}, "es"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], names: str) -> None:
    with pytest.raises(BadOption) as refusal:
        options_from(**options)

    assert names in str(refusal.value)


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="did you mean 'language'"):
        options_from(langauge="es")


def test_languages_have_names() -> None:
    assert options_from(language="Spanish", languages=["castilian", "EN"]).languages == ("es", "en")
    with pytest.raises(UnknownLanguage):
        options_from(language="klingon")


def test_nothing_said_is_every_default() -> None:
    assert options_from() == Options()


def test_segments_come_as_their_chunks_finish() -> None:
    """The first segment is in our hands while the second chunk waits for us."""
    go_on = threading.Event()
    chunks = iter(range(100))
    engine = FakeEngine(serial=True, began=lambda: next(chunks) and go_on.wait(120))
    with Transcriber(service=fake_service(engine)) as transcriber:
        segments = transcriber.stream(minutes(3), vad="off")
        first = next(segments)

        assert first.start == 0.0
        assert not go_on.is_set()
        go_on.set()
        assert len(list(segments)) > 2


def test_streamed_segments_are_those_of_the_transcript(transcriber: Transcriber) -> None:
    recording = minutes(3)

    assert (
        tuple(transcriber.stream(recording, vad="off"))
        == transcriber.transcribe(recording, vad="off").segments
    )


def test_closing_the_stream_stops_the_work() -> None:
    engine = FakeEngine(serial=True, delay_s=0.01)
    with Transcriber(service=fake_service(engine)) as transcriber:
        recording = minutes(60)
        segments = transcriber.stream(recording, vad="off")
        next(segments)
        segments.close()
        heard = len(engine.heard)
        transcriber.transcribe(recording[: SAMPLE_RATE * 20], vad="off")
        later = [start for start, _ in engine.heard[heard:]]

    assert heard <= 40, "the line works a few chunks ahead, not the whole recording"
    assert later == [0.0], "nothing of the closed stream goes on"


def test_settings_of_the_call_are_checked_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(AudioTooLong):
        api.stream(NOISE, settings=Settings(max_audio_s=0.5))
    with pytest.raises(FileNotFoundError):
        api.stream(tmp_path / "nope.mp3", settings=Settings(home=tmp_path))


def test_a_misspelt_setting_stops_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_MODLE", "base")
    with pytest.raises(ValueError, match="WHISPER_LAMBDA_MODLE"):
        Transcriber()


def test_closing_closes_what_it_holds(engine: FakeEngine) -> None:
    with Transcriber(service=fake_service(engine)) as transcriber:
        transcriber.transcribe(NOISE, vad="off")

    assert engine.closed


def test_a_process_has_one_transcriber_and_its_fork_another(tmp_path: Path) -> None:
    """Also: the parent's is closed at exit, by the parent."""
    code = """
import os
from whisper_lambda import api
first = api._shared_transcriber()
assert api._shared_transcriber() is first
first._service.decoders.warm()
if (pid := os.fork()) == 0:
    assert api._shared_transcriber() is not first
    raise SystemExit(0)
assert os.waitpid(pid, 0)[1] == 0
assert first._service.decoders.missing_limits() is not None  # the child left the parent's decoder alone
"""
    env = os.environ | {"WHISPER_LAMBDA_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, timeout=120)


def test_a_wav_made_here_is_heard(transcriber: Transcriber, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((NOISE * 32767).astype("<i2").tobytes())

    assert transcriber.transcribe(path, vad="off").duration == pytest.approx(1.0, abs=0.01)
