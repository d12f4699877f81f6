"""The line, with a stand-in for the model: order, language, failure, leaving early, times."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fakes import FakeEngine
from samples import bundled, silence
from whisper_lambda import pipeline
from whisper_lambda.errors import BadAudio, EngineFailed, UnknownLanguage
from whisper_lambda.types import (
    SAMPLE_RATE,
    Chunk,
    ChunkResult,
    Decoded,
    Dropped,
    LanguageGuess,
    ModelChoice,
    Options,
    Plan,
    Recording,
    Samples,
)

PATIENCE_S = 10.0


@dataclass
class LineEngine(FakeEngine):
    """A FakeEngine that says which chunk it heard, and in the language it was told or finds."""

    asked: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)  # language questions
    before: Callable[[Chunk], object] = lambda _: None  # called with each chunk before it is answered

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        self.asked.append((chunk.start, candidates))
        return LanguageGuess("es" if chunk.start < 1 else "fr", 0.8)

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        self.before(chunk)
        language = options.language or self.detect_language(chunk, options.languages).language
        said = super().transcribe(chunk, options)
        segment = replace(said.segments[0], text=f" {chunk.start:g}")
        return replace(said, segments=(segment,), language=language)


def planned(count: int, options: Options | None = None) -> Plan:
    """A recording of so many chunks of one second, ten seconds apart."""
    chunks = tuple(Chunk(silence(1), 10.0 * n) for n in range(count))
    return Plan(chunks=chunks, options=options or Options(language="es"), duration=10.0 * count)


def decoded(samples: Samples, *warnings: str) -> Recording:
    return pipeline.whole(Decoded(samples, warnings))


# --- order ---


def test_results_come_in_recording_order_though_chunks_finish_out_of_it() -> None:
    others = threading.Semaphore(0)
    finished: list[float] = []

    def before(chunk: Chunk) -> None:
        if chunk.start == 0:
            for _ in range(5):
                assert others.acquire(timeout=PATIENCE_S)
        else:
            others.release()
        finished.append(chunk.start)

    results = list(pipeline.results(planned(6), engine=LineEngine(before=before)))

    assert finished[-1] == 0.0, "the first chunk was the last to finish"
    assert [r.start for r in results] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def test_results_in_any_order_make_the_same_transcript() -> None:
    plan = planned(6)
    results = list(pipeline.results(plan, engine=LineEngine(drops=True)))
    forward, backward = pipeline.finish(plan, results), pipeline.finish(plan, reversed(results))

    assert forward.text == "0 10 20 30 40 50"
    assert [s.start for s in forward.segments] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert (forward.segments, forward.dropped) == (backward.segments, backward.dropped)


def test_a_result_is_handed_on_before_the_next_chunks_are_done() -> None:
    go_on = threading.Event()
    engine = LineEngine(before=lambda chunk: chunk.start == 0 or go_on.wait(PATIENCE_S))
    results = pipeline.results(planned(3), engine=engine)

    assert next(results).start == 0.0
    assert not go_on.is_set()
    go_on.set()
    assert [r.start for r in results] == [10.0, 20.0]


# --- leaving early, and failing ---


def test_closing_the_results_begins_no_further_chunk() -> None:
    engine = LineEngine(serial=True)
    results = pipeline.results(planned(500), engine=engine)
    next(results)
    results.close()
    begun = len(engine.heard)
    time.sleep(0.05)

    assert begun == len(engine.heard) <= 2 * pipeline.AHEAD
    assert [t.name for t in threading.enumerate() if t.name.startswith("chunk")] == []


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_failing_chunk_fails_the_recording_and_ends_it(count: int) -> None:
    engine = LineEngine(fails=True)

    with pytest.raises(EngineFailed):
        pipeline.finish(planned(count), pipeline.results(planned(count), engine=engine))
    assert len(engine.heard) <= 2 * pipeline.AHEAD
    assert [t.name for t in threading.enumerate() if t.name.startswith("chunk")] == []


def test_what_was_heard_before_a_failure_is_handed_on() -> None:
    def before(chunk: Chunk) -> None:
        if chunk.start == 20:
            raise EngineFailed("the third chunk")

    results = pipeline.results(planned(5), engine=LineEngine(before=before))

    assert [next(results).start, next(results).start] == [0.0, 10.0]
    with pytest.raises(EngineFailed, match="the third chunk"):
        next(results)


def test_a_recording_that_cannot_be_decoded_reaches_no_model() -> None:
    def broken(_: object) -> list[Samples]:
        raise BadAudio("half a file")

    engine = LineEngine()
    with pytest.raises(BadAudio):
        pipeline.transcribe(broken, Options(), engine=engine)
    assert (engine.asked, engine.heard) == ([], [])


# --- language ---


@pytest.mark.parametrize(
    "options", [Options(language="xx"), Options(languages=("es", "xx"))], ids=["language", "candidates"]
)
def test_an_unknown_language_is_refused_before_anything_is_decoded(options: Options) -> None:
    def never(_: object) -> list[Samples]:
        raise AssertionError("the recording was decoded")

    with pytest.raises(UnknownLanguage, match="xx"):
        pipeline.prepare(never, options, engine=LineEngine())


def talk() -> Samples:
    """A short sentence, a long one, and a short one, each a chunk of its own."""
    return np.concatenate([silence(4), bundled()[7], silence(5), bundled()[0], silence(5), bundled()[9]])


def test_the_language_is_asked_once_and_of_the_chunk_with_most_speech() -> None:
    engine = LineEngine()
    plan = pipeline.prepare(decoded(talk()), Options(languages=("es", "fr")), engine=engine)
    [(start, candidates)] = engine.asked

    assert candidates == ("es", "fr")
    assert start == max(plan.chunks, key=lambda c: c.duration).start > 5
    assert (plan.options.language, plan.language_probability) == ("fr", 0.8)
    list(pipeline.results(plan, engine=engine))
    assert {options.language for _, options in engine.heard} == {"fr"}, "chunks must not disagree"
    assert len(engine.asked) == 1


def test_a_language_told_is_not_asked_for() -> None:
    engine = LineEngine()
    transcript = pipeline.transcribe(decoded(talk()), Options(language="it"), engine=engine)

    assert engine.asked == []
    assert (transcript.language, transcript.language_probability) == ("it", 1.0)
    assert {s.language for s in transcript.segments} == {None}


@pytest.mark.parametrize(("language", "warned"), [("fi", True), (None, False)])
def test_a_language_asked_for_in_which_nothing_is_likely_is_named(language: str | None, warned: bool) -> None:
    engine = FakeEngine(doubts=("fi", "es"))  # Spanish is what it detects
    heard = pipeline.transcribe(decoded(talk(), "it ends early"), Options(language=language), engine=engine)

    said = "no text is likely in fi, which was asked for: without it, it is detected"
    assert heard.text == ""
    assert heard.warnings == ("it ends early", *([said] if warned else []))


def test_one_chunk_that_is_doubted_is_no_reason_to_doubt_the_language() -> None:
    plan = replace(planned(2), language_asked=True)
    refused = ChunkResult(0.0, 1.0, (), (Dropped(0.0, 1.0, "low_confidence", "la"),), "es")
    believed = FakeEngine().transcribe(plan.chunks[1], plan.options)

    assert pipeline.finish(plan, [refused]).warnings != ()
    assert pipeline.finish(plan, [refused, believed]).warnings == ()


def test_a_multilingual_recording_has_a_language_in_each_segment() -> None:
    engine = LineEngine()
    transcript = pipeline.finish(
        planned(3), pipeline.results(planned(3, Options(multilingual=True)), engine=engine)
    )

    assert [s.language for s in transcript.segments] == ["es", "fr", "fr"]


def test_a_multilingual_recording_is_named_for_its_first_language() -> None:
    engine = LineEngine()
    transcript = pipeline.transcribe(decoded(talk()), Options(multilingual=True), engine=engine)

    assert len(engine.asked) == transcript.chunks == 3
    assert transcript.language == transcript.segments[0].language != ""


def test_silence_reaches_no_model() -> None:
    engine = LineEngine()
    transcript = pipeline.transcribe(decoded(silence(5)), Options(), engine=engine)

    assert (engine.asked, engine.heard) == ([], [])
    assert (transcript.text, transcript.language, transcript.duration) == ("", "", 5.0)
    assert transcript.dropped == (Dropped(0.0, 5.0, "silence"),)


# --- what the transcript tells ---


def test_the_transcript_tells_what_the_line_knows() -> None:
    choice = ModelChoice("small", "base", "no source has small")
    transcript = pipeline.transcribe(
        decoded(talk(), "the file ends early"),
        Options(task="translate", language="es"),
        engine=LineEngine(drops=True),
        choice=choice,
    )

    assert transcript.model is choice
    assert transcript.warnings == ("the file ends early",)
    assert transcript.task == "translate"
    assert transcript.duration == pytest.approx(len(talk()) / SAMPLE_RATE)
    assert (transcript.chunks, transcript.cached_chunks) == (3, 0)
    kinds = [d.reason for d in transcript.dropped]
    assert (kinds.count("repetition"), kinds.count("silence")) == (3, 3), "the chunks' and the plan's"
    assert [d.start for d in transcript.dropped] == sorted(d.start for d in transcript.dropped)


def test_chunks_from_a_cache_are_counted() -> None:
    plan = planned(2)
    first, second = pipeline.results(plan, engine=LineEngine())

    assert pipeline.finish(plan, [first, replace(second, cached=True)]).cached_chunks == 1


def test_each_part_of_the_work_has_its_time() -> None:
    def slow(_: object) -> Iterator[Samples]:
        time.sleep(0.05)
        yield talk()

    started = time.perf_counter()
    times = pipeline.transcribe(slow, Options(language="es"), engine=LineEngine(delay_s=0.05)).timings
    took = time.perf_counter() - started

    assert times.decode_s >= 0.05
    assert times.vad_s > 0
    assert times.engine_s >= 0.05
    assert times.decode_s + times.vad_s + times.engine_s == pytest.approx(times.total_s)
    assert times.total_s <= took
