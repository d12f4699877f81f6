from hostile import segment
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.transcript.stitch import stitch
from whisper_lambda.types import ChunkResult, Dropped, Word


def heard(start: float, *said: str) -> ChunkResult:
    """A chunk whose segments last a second each, from its own start."""
    segments = tuple(
        segment(n, n + 1.0, text, (Word(n + 0.25, n + 0.5, text, 1.0),)) for n, text in enumerate(said)
    )
    dropped = (Dropped(len(said), len(said) + 1.0, "silence"),)
    return ChunkResult(start, len(said) + 1.0, segments, dropped)


chunks = st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=6).map(
    lambda spoken: [heard(start * 30.0, *said) for start, said in enumerate(spoken)]
)


@given(chunks, st.data())
def test_any_order_of_arrival_gives_the_same_timeline(results, data):
    arrived = data.draw(st.permutations(results))
    assert stitch(arrived) == stitch(results)


@given(chunks, st.data())
def test_every_time_moves_by_its_own_chunks_start(results, data):
    segments, dropped = stitch(data.draw(st.permutations(results)))

    expected = [(r.start + s.start, r.start + s.end, s.text) for r in results for s in r.segments]
    assert [(s.start, s.end, s.text) for s in segments] == expected
    words = [(r.start + w.start, r.start + w.end) for r in results for s in r.segments for w in s.words]
    assert [(w.start, w.end) for s in segments for w in s.words] == words
    assert [(d.start, d.end) for d in dropped] == [
        (r.start + d.start, r.start + d.end) for r in results for d in r.dropped
    ]


def test_results_may_come_from_a_generator_that_is_read_once():
    segments, _ = stitch(r for r in (heard(30.0, "b"), heard(0.0, "a")))
    assert [s.text for s in segments] == ["a", "b"]


def test_silence_everywhere_is_an_empty_timeline():
    assert stitch([ChunkResult(0.0, 30.0, ()), ChunkResult(30.0, 4.0, ())]) == ((), ())
