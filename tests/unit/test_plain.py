"""What is stored or sent to another machine comes back as it was, and nothing else comes in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.job import Failure, Job, Order
from whisper_lambda.plain import from_plain, to_plain
from whisper_lambda.types import ChunkResult, Dropped, ModelChoice, Options, Segment, Token, Word

times = st.floats(0, 1e6)
words = st.builds(Word, times, times, st.text(), st.floats(0, 1))
tokens = st.builds(Token, st.binary(), st.floats(-100, 0))
segments = st.builds(
    Segment,
    times,
    times,
    st.text(),
    st.floats(-10, 0),
    st.floats(0, 1),
    st.floats(0, 100),
    words=st.lists(words, max_size=3).map(tuple),
    scored=st.lists(tokens, max_size=3).map(tuple),
    tokens=st.lists(st.integers(0, 51865), max_size=3).map(tuple),
    language=st.none() | st.sampled_from(["es", "en"]),
)
results = st.builds(
    ChunkResult,
    times,
    times,
    st.lists(segments, max_size=3).map(tuple),
    st.lists(st.builds(Dropped, times, times, st.just("silence"), st.text()), max_size=2).map(tuple),
    st.none() | st.just("es"),
    st.booleans(),
)


@given(results)
def test_a_chunks_result_comes_back_through_json(result: ChunkResult) -> None:
    assert from_plain(ChunkResult, json.loads(json.dumps(to_plain(result)))) == result


def test_a_job_comes_back_through_json() -> None:
    job = Job(
        id="job_1",
        tenant="ana",
        order=Order(options=Options(language="es", hotwords=("a", "b")), answer={"response_format": "srt"}),
        source="jobs/job_1/source",
        size_bytes=1,
        created=1.5,
        choice=ModelChoice("small", "base", "no source has small"),
        error=Failure("why", "poison_chunk"),
        receipt={"usd": 0.1},
    )

    assert from_plain(Job, json.loads(json.dumps(to_plain(job)))) == job


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {"start": "0", "duration": 1.0, "segments": []},
        {"start": 0.0, "duration": 1.0, "segments": [], "surprise": 1},
        {"start": 0.0, "duration": 1.0, "segments": [{"start": 1.0}]},
        {"start": 0.0, "duration": 1.0, "segments": 7},
        {"start": 0.0, "duration": 1.0, "segments": [], "cached": "yes"},
    ],
)
def test_what_is_no_result_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match="is "):
        from_plain(ChunkResult, plain)


def test_a_word_outside_a_closed_list_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of"):
        from_plain(Dropped, {"start": 0.0, "end": 1.0, "reason": "boredom"})
