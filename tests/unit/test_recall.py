"""What was heard before is not heard again: the same answer, no call of the engine, no byte decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeEngine, fake_service
from prompts import Prompt
from samples import bundled, silence
from whisper_lambda import pipeline, tenants
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.audio.identity import identity
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.errors import AudioTooLarge, AudioTooLong, StorageFailed
from whisper_lambda.recall import Recall
from whisper_lambda.types import Chunk, LanguageGuess, Options, Samples, Transcript


class Counting(FakeEngine):
    """Counts languages asked for too."""

    asked = 0

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        self.asked += 1
        return super().detect_language(chunk, candidates)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SqliteSegments]:
    cache = SqliteSegments(tmp_path / "segments", max_bytes=10**8, max_age_s=1e6)
    yield cache
    cache.close()


@pytest.fixture
def engine() -> Counting:
    return Counting(drops=True)


@pytest.fixture
def service(cache: SqliteSegments, engine: Counting) -> Iterator[Service]:
    with fake_service(engine, Settings(cache_shared={"eva": "team", "leo": "team"})) as service:
        service.cache = cache
        yield service


def talk(seed: int = 0) -> Samples:
    """Five sentences, far enough apart to be a chunk each."""
    order = np.random.default_rng(seed).permutation(10)[:5]
    return np.concatenate([part for n in order for part in (bundled()[n], silence(5))])


FAST = Options(vad="off")  # which chunk is which is for other tests; voices take time to find


def words(transcript: Transcript) -> Transcript:
    """The transcript, less what it cost."""
    return replace(transcript, cached_chunks=0, timings=Transcript((), "", 0.0).timings)


# --- a repeated recording ---


def test_a_recording_heard_before_costs_no_call_and_no_decoding(
    service: Service, engine: Counting, spanish: Prompt
) -> None:
    first = service.transcribe(spanish.path, Options(times="word"))
    calls = len(engine.heard), engine.asked
    again = service.transcribe(spanish.path, Options(times="word"))

    assert calls == (first.chunks, 1)
    assert (len(engine.heard), engine.asked) == calls
    assert words(again) == words(first)
    assert (first.cached_chunks, again.cached_chunks) == (0, first.chunks)
    assert (again.timings.decode_s, again.timings.vad_s) == (0.0, 0.0), "not a byte was decoded"


@pytest.mark.parametrize("kind", ["bytes", "samples", "file"])
def test_however_it_is_handed_in(service: Service, engine: Counting, spanish: Prompt, kind: str) -> None:
    body = spanish.path.read_bytes()
    for _ in range(2):
        with spanish.path.open("rb", buffering=0) as file:
            source: Any = {"bytes": body, "samples": talk(), "file": file}[kind]
            transcript = service.transcribe(source, FAST)

    assert transcript.cached_chunks == transcript.chunks == len(engine.heard)


@pytest.mark.parametrize(
    ("narrower", "refusal"), [({"max_audio_s": 1.0}, AudioTooLong), ({"max_audio_mb": 0}, AudioTooLarge)]
)
@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
def test_a_remembered_recording_obeys_the_limits_too(
    service: Service, spanish: Prompt, narrower: dict[str, Any], refusal: type[Exception], kind: str
) -> None:
    service.transcribe(spanish.path, FAST)
    service.transcribe(spanish.path.read_bytes(), FAST)
    service.settings = replace(service.settings, **narrower)

    with spanish.path.open("rb", buffering=0) as file:
        sources: dict[str, Any] = {"path": spanish.path, "bytes": spanish.path.read_bytes(), "file": file}
        with pytest.raises(refusal):
            service.transcribe(sources[kind], FAST)


def test_what_is_too_large_to_be_heard_is_not_read_to_be_known(tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    path.write_bytes(b"twenty bytes or so..")

    assert identity(path, most_bytes=19) is None
    assert identity(path.read_bytes(), most_bytes=19) is None
    assert identity(path, most_bytes=20)
    assert identity(path.read_bytes(), most_bytes=20)


def test_another_file_with_the_same_sound_is_not_heard_again(
    service: Service, engine: Counting, spanish: Prompt, tmp_path: Path
) -> None:
    """Other bytes around the same samples: it is decoded, and every chunk is found."""
    service.transcribe(spanish.path, FAST)
    calls = len(engine.heard)
    decoded = service.decode(spanish.path)
    again = service.transcribe(decoded.samples, FAST)

    assert len(engine.heard) == calls == again.cached_chunks
    assert engine.asked == 1


def test_one_entry_lost_is_one_chunk_heard_again(
    service: Service, engine: Counting, cache: SqliteSegments, tmp_path: Path
) -> None:
    first = service.transcribe(talk(), FAST)
    victim = sorted(p for p in tmp_path.rglob("*") if p.is_file() and len(p.name) == 64)
    for path in victim[:1]:
        path.write_bytes(b"damaged")
    calls = len(engine.heard)
    again = service.transcribe(talk(), FAST)

    assert len(engine.heard) - calls <= 1
    assert words(again) == words(first)


# --- what a key covers ---


def keys(recall: Recall, chunk: Chunk, options: Options, version: str = "v1") -> tuple[str | None, ...]:
    return (
        recall.of_chunk(chunk, options, version),
        recall.of_recording(identity(chunk.samples), options, version),
    )


OTHER: dict[str, Any] = {
    "task": "translate",
    "language": "fr",
    "languages": ("es", "fr"),
    "multilingual": True,
    "prompt": "x",
    "hotwords": ("x",),
    "quality": "best",
    "vad": "off",
    "times": "word",
    "beam_size": 3,
    "no_speech_threshold": 0.5,
    "logprob_threshold": -0.5,
    "compression_ratio_threshold": 2.0,
}


def test_every_option_is_in_the_key(cache: SqliteSegments) -> None:
    recall, chunk = Recall(cache, ""), Chunk(silence(1), 0.0)
    found = [keys(recall, chunk, replace(Options(), **{name: value})) for name, value in OTHER.items()]
    found.append(keys(recall, chunk, Options()))

    assert {*OTHER, "temperature"} == {f.name for f in fields(Options)}
    assert len(set(found)) == len(found)
    assert len({key for pair in found for key in pair}) == 2 * len(found)


def test_the_key_is_of_the_samples_the_version_and_the_tenant_and_not_of_the_place(
    cache: SqliteSegments,
) -> None:
    samples = talk()[:16_000]
    other = samples.copy()
    other[7] = np.nextafter(other[7], np.float32(1), dtype=np.float32)
    recall = Recall(cache, "ana")
    key = recall.of_chunk(Chunk(samples, 0.0), Options(), "v1")

    assert recall.of_chunk(Chunk(samples.copy(), 99.0), Options(), "v1") == key
    assert Recall(cache, "ana").of_chunk(Chunk(samples, 0.0), Options(), "v1") == key
    for different in (
        recall.of_chunk(Chunk(other, 0.0), Options(), "v1"),
        recall.of_chunk(Chunk(samples, 0.0, unsure=True), Options(), "v1"),
        recall.of_chunk(Chunk(samples, 0.0), Options(), "v2"),
        recall.of_language(Chunk(samples, 0.0), Options(), "v1"),
        Recall(cache, "bob").of_chunk(Chunk(samples, 0.0), Options(), "v1"),
    ):
        assert different
        assert different != key


def test_sampled_words_are_not_remembered(service: Service, engine: Counting) -> None:
    for _ in range(2):
        transcript = service.transcribe(talk(), replace(FAST, temperature=0.2, language="es"))

    assert transcript.cached_chunks == 0
    assert len(engine.heard) == 2 * transcript.chunks


def test_a_file_that_changed_while_it_was_read_is_not_remembered_whole(tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    path.write_bytes(b"one")
    seen = identity(path)
    assert seen
    assert seen.unchanged()
    path.write_bytes(b"another")

    assert not seen.unchanged()
    path.unlink()
    assert not seen.unchanged()


# --- whose it is ---


def test_tenants_do_not_profit_from_each_other_unless_they_are_named(
    service: Service, engine: Counting
) -> None:
    found = {
        tenant: service.transcribe(talk(), FAST, tenant=tenant).cached_chunks
        for tenant in (tenants.LOCAL, "ana", "bob", "eva", "leo", tenants.of_user("ana"))
    }

    assert {tenant for tenant, cached in found.items() if cached} == {"leo"}


def test_nobodys_recording_is_neither_remembered_nor_found(service: Service, engine: Counting) -> None:
    for tenant in (None, tenants.LOCAL, None):
        assert service.transcribe(talk(), FAST, tenant=tenant).cached_chunks == 0


# --- a cache that does not work ---


class Broken:
    """A cache whose every call fails as the port allows."""

    def secret(self, tenant: str) -> bytes:
        raise StorageFailed("the index is locked")


def test_a_cache_that_does_not_work_changes_nothing(
    engine: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_service(engine) as service, caplog.at_level(logging.WARNING):
        service.cache = Broken()  # type: ignore[assignment]
        transcript = service.transcribe(talk(), FAST)

    assert transcript.cached_chunks == 0
    assert transcript.segments
    assert "locked" in caplog.text


def test_a_chunk_that_fails_is_not_remembered(cache: SqliteSegments) -> None:
    recall = Recall(cache, "")
    chunk = Chunk(talk()[:32_000], 0.0)
    with pytest.raises(Exception, match="told to fail"):
        pipeline.transcribe_chunk(chunk, Options(language="es"), engine=FakeEngine(fails=True), recall=recall)

    engine = FakeEngine()
    assert not pipeline.transcribe_chunk(chunk, Options(language="es"), engine=engine, recall=recall).cached
    assert len(engine.heard) == 1
