"""When a chunk is heard again in halves, where it is cut, and when the halves are believed."""

import numpy as np
import pytest

from whisper_lambda.engine.halves import MIDDLE, SHORTEST_S, SPARSE_FROM_S, fuller, halved, suspicious
from whisper_lambda.engine.policy import Hypothesis
from whisper_lambda.types import SAMPLE_RATE, Chunk, ChunkResult, Dropped, Samples, Segment


def spoken(*seconds: float) -> Samples:
    """Noise and silence in turn, for so many seconds each."""
    noise = np.random.default_rng(1)
    parts = [
        noise.normal(0, 0.1, round(s * SAMPLE_RATE)) if n % 2 == 0 else np.zeros(round(s * SAMPLE_RATE))
        for n, s in enumerate(seconds)
    ]
    return np.concatenate(parts).astype(np.float32)


def said(*tokens: int) -> Hypothesis:
    return Hypothesis(tokens, "words", -0.2, 0.0)


def result(start: float, duration: float, tokens: int) -> ChunkResult:
    segment = Segment(0.0, duration, " words", -0.2, 0.0, 1.0, tokens=tuple(range(tokens)))
    return ChunkResult(start, duration, (segment,) if tokens else ())


def test_as_many_tokens_as_there_is_speech_is_no_reason() -> None:
    assert not suspicious(said(*range(60)), spoken(15.0))


def test_few_tokens_for_much_speech_are_suspicious() -> None:
    assert suspicious(said(*range(25)), spoken(15.0))


def test_a_short_chunk_is_not_counted() -> None:
    assert not suspicious(said(*range(15)), spoken(SPARSE_FROM_S - 1.0))


def test_half_of_a_suspicious_chunk_is_counted_however_short() -> None:
    assert suspicious(said(*range(15)), spoken(SPARSE_FROM_S - 1.0), half=True)


def test_silence_asks_for_no_tokens() -> None:
    assert not suspicious(said(*range(15)), spoken(4.0, 20.0))


def test_a_sentence_said_twice_over_is_suspicious_however_fast() -> None:
    assert suspicious(said(*range(10), *range(10), *range(20, 60)), spoken(10.0))


def test_nothing_heard_and_short_chunks_are_left_alone() -> None:
    assert not suspicious(said(), spoken(10.0))
    assert not suspicious(said(1), spoken(SHORTEST_S - 0.1))


def test_the_cut_falls_into_the_longest_pause_around_the_middle() -> None:
    samples = spoken(4.0, 0.3, 1.0, 0.6, 4.0)
    before, after = halved(Chunk(samples, 7.0)) or pytest.fail("no cut")

    assert before.duration == pytest.approx(5.6, abs=0.05)
    assert before.start == 7.0
    assert after.start == pytest.approx(7.0 + before.duration, abs=1e-9)
    assert np.array_equal(np.concatenate([before.samples, after.samples]), samples), "all of it, once"


@pytest.mark.parametrize("samples", [spoken(10.0), spoken(9.0 * MIDDLE, 0.5, 9.0), spoken(5.0, 0.1, 5.0)])
def test_no_pause_around_the_middle_no_cut(samples: Samples) -> None:
    assert halved(Chunk(samples, 0.0)) is None


def test_halves_that_say_clearly_more_are_believed_at_their_own_times() -> None:
    whole = result(30.0, 10.0, 20)
    parts = [result(30.0, 4.0, 15), result(34.0, 6.0, 15)]

    chosen = fuller(whole, parts)

    assert (chosen.start, chosen.duration) == (30.0, 10.0)
    assert [(s.start, s.end) for s in chosen.segments] == [(0.0, 4.0), (4.0, 10.0)]


@pytest.mark.parametrize("tokens", [(10, 11), (30, 0), (8, 8)])
def test_halves_that_say_no_more_or_nothing_are_not(tokens: tuple[int, int]) -> None:
    whole = result(0.0, 10.0, 20)
    parts = [result(0.0, 4.0, tokens[0]), result(4.0, 6.0, tokens[1])]

    assert fuller(whole, parts) is whole


def test_what_a_half_dropped_is_told_at_its_place() -> None:
    late = ChunkResult(
        4.0, 6.0, result(0.0, 5.0, 30).segments, (Dropped(5.0, 6.0, "low_confidence", "mumble"),)
    )

    chosen = fuller(result(0.0, 10.0, 10), [result(0.0, 4.0, 5), late])

    assert [(d.start, d.end) for d in chosen.dropped] == [(9.0, 10.0)]
