"""What is decoded: all that may be speech, once, in pieces the model hears, cut so that edits stay local."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from samples import bundled, silence
from whisper_lambda.audio.chunking import BRIDGE_S, Cut, _Heard, _pieces, _weigh, most_speech, plan
from whisper_lambda.audio.frames import frames
from whisper_lambda.audio.scenes import Scene
from whisper_lambda.audio.vad import speech_probabilities, speech_spans
from whisper_lambda.types import MAX_CHUNK_S, SAMPLE_RATE, Chunk, Samples, Span, VadMode

# Shrinking would hear each recording's voices hundreds of times over.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
MODES: tuple[VadMode, ...] = ("auto", "on", "off")


def noise(seconds: float, rms: float = 0.05) -> Samples:
    return np.random.default_rng(7).normal(0, rms, round(seconds * SAMPLE_RATE)).astype(np.float32)


@st.composite
def recordings(draw: st.DrawFn) -> Samples:
    """Real speech, noise and silence in any order, up to a minute and a half."""
    pieces = []
    for kind in draw(st.lists(st.sampled_from(["speech", "noise", "hiss", "silence"]), max_size=5)):
        length = draw(st.sampled_from([0.02, 0.4, 1.7, 3.0, 9.0, 29.0]))
        if kind == "speech":
            said = bundled()[draw(st.integers(0, 9))]
            pieces.append(said[: round(length * SAMPLE_RATE)])
        else:
            pieces.append(
                {"noise": noise(length), "hiss": noise(length, 1e-4), "silence": silence(length)}[kind]
            )
    return np.concatenate([np.zeros(draw(st.integers(0, 600)), np.float32), *pieces])


def bounds(chunk: Chunk) -> tuple[int, int]:
    """Where a chunk is in its recording, in samples."""
    start = chunk.start * SAMPLE_RATE
    assert start == pytest.approx(round(start), abs=1e-4), "a chunk starts on a sample"
    return round(start), round(start) + len(chunk.samples)


def covered(chunks: Iterable[Chunk], length: int) -> np.ndarray:
    """How many chunks hold each sample."""
    times = np.zeros(length, np.int64)
    for start, stop in map(bounds, chunks):
        times[start:stop] += 1
    return times


# --- what every plan promises ---


@settings(max_examples=25, phases=NO_SHRINKING)
@given(recordings(), st.sampled_from(MODES))
def test_every_plan_keeps_every_promise(samples: Samples, vad: VadMode) -> None:
    """In one test, because hearing the voices in each example is what takes time."""
    cut = plan(samples, vad)
    times = covered(cut.chunks, len(samples))

    assert all(0 < len(c.samples) <= MAX_CHUNK_S * SAMPLE_RATE for c in cut.chunks)
    assert all(bounds(a)[1] <= bounds(b)[0] for a, b in pairwise(cut.chunks)), "ordered and disjoint"
    for chunk in cut.chunks:
        start, stop = bounds(chunk)
        assert stop <= len(samples)
        assert np.array_equal(chunk.samples, samples[start:stop])
    if vad != "off":
        for span in speech_spans(speech_probabilities(samples), frames(samples)):
            assert (times[span.start : span.stop] == 1).all(), "all speech in exactly one chunk"
    all_is_told(cut, times)


def all_is_told(cut: Cut, times: np.ndarray) -> None:
    """What no chunk holds is told as dropped, and nothing else is."""
    told = np.zeros(len(times), bool)
    for gap in cut.dropped:
        start, stop = round(gap.start * SAMPLE_RATE), round(gap.end * SAMPLE_RATE)
        assert 0 <= start < stop <= len(times)
        assert not times[start:stop].any(), "what is decoded is not dropped"
        told[start:stop] = True

    assert longest_run(~told & (times == 0)) <= 1.01 * SAMPLE_RATE, "over a second, and nobody knows"
    assert [g.start for g in cut.dropped] == sorted(g.start for g in cut.dropped)


def longest_run(which: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], which.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def test_the_same_recording_is_cut_the_same() -> None:
    samples = spaced([*bundled()[:6], noise(8)])

    assert described(plan(samples, "auto")) == described(plan(samples.copy(), "auto"))


def described(cut: Cut) -> tuple[object, ...]:
    return [(bounds(c), c.unsure) for c in cut.chunks], cut.dropped


# --- silence, noise, speech ---


@pytest.mark.parametrize("vad", MODES)
@pytest.mark.parametrize("seconds", [0.0, 0.01, 5.0, 70.0])
def test_silence_is_not_decoded(vad: VadMode, seconds: float) -> None:
    cut = plan(silence(seconds), vad)

    assert cut.chunks == ()
    assert [(d.start, d.end, d.reason) for d in cut.dropped] == (
        [(0.0, seconds, "silence")] if seconds >= 1 else []
    )


def test_off_covers_all_that_sounds() -> None:
    samples = np.concatenate([noise(5), silence(10), noise(40, 0.003), silence(4), bundled()[7]])
    chunks = plan(samples, "off").chunks
    times = covered(chunks, len(samples))

    for start, stop in ((0, 5), (15, 55), (59.5, 63)):
        assert (times[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)] == 1).all()
    assert not times[7 * SAMPLE_RATE : 13 * SAMPLE_RATE].any()
    assert not any(c.unsure for c in chunks)


@pytest.mark.parametrize("seconds", [2 / SAMPLE_RATE, 0.06])
def test_off_leaves_out_what_is_too_short_for_a_word(seconds: float) -> None:
    click = noise(seconds, 0.3)

    assert plan(click, "off").chunks == ()
    assert plan(np.concatenate([silence(3), click, silence(3)]), "off").chunks == ()


def test_on_decodes_speech_and_nothing_else() -> None:
    samples = np.concatenate([noise(20), silence(5), bundled()[0], silence(5), noise(20)])
    cut = plan(samples, "on")
    times = covered(cut.chunks, len(samples))

    assert cut.chunks
    assert not times[: 23 * SAMPLE_RATE].any()
    assert not times[-23 * SAMPLE_RATE :].any()
    assert {d.reason for d in cut.dropped} == {"no_speech"}


def test_auto_hands_on_sound_without_speech_as_unsure() -> None:
    samples = np.concatenate([bundled()[0], silence(5), noise(20), silence(5), bundled()[1]])
    kinds = [c.unsure for c in plan(samples, "auto").chunks]

    assert kinds == [False, True, False]


def test_auto_leaves_out_clicks() -> None:
    click = noise(0.3, 0.3)
    samples = np.concatenate([silence(3), click, silence(6), bundled()[0], silence(6), click, silence(3)])
    cut = plan(samples, "auto")

    assert not covered(cut.chunks, len(samples))[: 5 * SAMPLE_RATE].any()
    assert not covered(cut.chunks, len(samples))[-5 * SAMPLE_RATE :].any()


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    """A minute without a pause, whose level dips for 50 ms here and there."""
    said = np.concatenate([s for s in bundled() for s in trimmed(s)])
    assert len(said) > 45 * SAMPLE_RATE
    chunks = plan(said, "on").chunks
    levels = [edge_level(said, bounds(a)[1]) for a, b in pairwise(chunks) if bounds(a)[1] == bounds(b)[0]]

    assert len(chunks) > 1
    assert all(level < 0.2 * float(np.sqrt(np.mean(np.square(said)))) for level in levels)


def trimmed(samples: Samples) -> Iterable[Samples]:
    """The loud parts of a recording."""
    blocks = samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)
    return (b for b in blocks if np.sqrt(np.mean(np.square(b))) > 0.02)


def edge_level(samples: Samples, at: int) -> float:
    return float(np.sqrt(np.mean(np.square(samples[at - 160 : at + 160]))))


SPANS = st.lists(st.tuples(st.integers(1, 90_000), st.integers(1, 90_000)), max_size=5)


@given(SPANS, SPANS)
def test_speech_and_doubtful_sound_never_overlap_and_hold_all_speech(
    speech: list[tuple[int, int]], sounding: list[tuple[int, int]]
) -> None:
    """Voices and loudness disagree freely here: a span may reach over the edge of what sounds."""
    voices = laid_out(speech, apart=0)
    sure, unsure = _weigh(voices, laid_out(sounding, apart=round(BRIDGE_S * SAMPLE_RATE)))
    kept = sorted([*sure, *unsure], key=lambda s: s.start)

    assert all(a.stop <= b.start for a, b in pairwise(kept))
    length = max((s.stop for s in (*voices, *kept)), default=0)
    times = np.zeros(length, np.int64)
    for span in kept:
        times[span.start : span.stop] += 1
    assert all((times[v.start : v.stop] == 1).all() for v in voices)


def laid_out(gaps_and_lengths: list[tuple[int, int]], *, apart: int) -> list[Span]:
    spans, at = [], 0
    for gap, length in gaps_and_lengths:
        spans.append(Span(at + gap + apart, at + gap + apart + length))
        at = spans[-1].stop
    return spans


@pytest.mark.parametrize(
    "parts", [("speech", "noise"), ("noise", "speech"), ("speech", "noise", "speech")], ids="-".join
)
def test_sound_right_beside_speech_is_not_decoded_with_it_twice(parts: tuple[str, ...]) -> None:
    samples = np.concatenate([bundled()[0] if part == "speech" else noise(4) for part in parts])
    chunks = plan(samples, "auto").chunks

    assert {c.unsure for c in chunks} == {True, False}
    assert covered(chunks, len(samples)).max() == 1


# --- edits stay local ---


@settings(max_examples=1, phases=NO_SHRINKING)
@example(60 * SAMPLE_RATE // 512 * 512, 60)
@example(60 * SAMPLE_RATE + 77, 60)
@given(st.integers(1, 60 * SAMPLE_RATE), st.integers(40, 120))
def test_what_is_put_in_changes_only_the_chunks_around_it(length: int, at_s: int) -> None:
    """Chunks are cut by their own sound, not by their place: a cache finds the others again, byte for byte.

    However many samples are put in: those behind them move by no whole number of frames.
    """
    recording = talk()
    at = at_s * SAMPLE_RATE
    put_in = np.resize(spaced(bundled()[2:8]), length)
    before = talk_chunks()
    after = plan(np.concatenate([recording[:at], put_in, recording[at:]]), "auto").chunks
    again = {c.samples.tobytes() for c in before} & {c.samples.tobytes() for c in after}

    assert len(before) >= 8
    assert len(again) >= 0.6 * len(before), f"{len(again)} of {len(before)} chunks are as before"


def test_where_pauses_are_regular_two_ways_of_filling_meet() -> None:
    """Two fit into a chunk, so one put in would shift every pair behind it, to the recording's end."""
    said, pause = 11 * SAMPLE_RATE, round(1.15 * SAMPLE_RATE)
    spans = [Span(at, at + said) for at in range(0, 40 * (said + pause), said + pause)]
    noise = np.random.default_rng(5).normal(0, 0.05, spans[-1].stop).astype(np.float32)
    heard = _Heard(Scene(noise, 0), frames(noise[:0]), np.zeros(0, np.float32))
    cuts = [{stop for _, stop in _pieces(spans[first:], heard, 28 * SAMPLE_RATE)} for first in range(2)]
    behind = [{stop for stop in those if stop > spans[12].stop} for those in cuts]

    assert behind[0] == behind[1]
    assert len(behind[0]) < 20, "most chunks still hold two"


def test_the_last_piece_is_no_stub_where_a_pause_allows_it() -> None:
    """27 s fit, with 4 s left alone; of the pauses that leave both sides 8.4 s the longest is at 14 s."""
    lasting = [(0, 6), (6.2, 14), (14.5, 20), (20.3, 27), (27.5, 31.5)]
    spans = [Span(round(start * SAMPLE_RATE), round(stop * SAMPLE_RATE)) for start, stop in lasting]
    heard = _Heard(Scene(silence(32), 0), frames(silence(0)), np.zeros(0, np.float32))
    cut = [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in _pieces(spans, heard, 28 * SAMPLE_RATE)]
    without = [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in _pieces(spans[:4], heard, 28 * SAMPLE_RATE)]
    through = [Span(0, spans[3].stop), spans[4]]  # nobody pauses in the first 27 s

    assert cut == [(0, 14), (14.5, 31.5)]
    assert without == [(0, 27)]
    assert [b / SAMPLE_RATE for _, b in _pieces(through, heard, 28 * SAMPLE_RATE)] == [27, 31.5]


@lru_cache(maxsize=1)
def talk() -> Samples:
    return spaced([*bundled(), *bundled()[::-1], *bundled()[3:]])


@lru_cache(maxsize=1)
def talk_chunks() -> tuple[Chunk, ...]:
    return plan(talk(), "auto").chunks


@settings(max_examples=5, phases=NO_SHRINKING)
@given(st.integers(1, 100_000), st.integers(120, 480))
def test_far_from_an_edit_not_a_sample_of_any_chunk_changes(length: int, at_s: int) -> None:
    """Ten minutes of sounds that come and go, heard without voices, for speed."""
    recording, at = long_noise(), at_s * SAMPLE_RATE
    put_in = np.random.default_rng(length).normal(0, 0.05, length).astype(np.float32)
    after = {
        c.samples.tobytes()
        for c in plan(np.concatenate([recording[:at], put_in, recording[at:]]), "off").chunks
    }

    far = [c for c in long_noise_chunks() if c.start + c.duration < at_s - 60 or c.start > at_s + 120]
    assert len(far) > 10
    assert all(c.samples.tobytes() in after for c in far)


@lru_cache(maxsize=1)
def long_noise_chunks() -> tuple[Chunk, ...]:
    return plan(long_noise(), "off").chunks


@lru_cache(maxsize=1)
def long_noise() -> Samples:
    draw = np.random.default_rng(8)
    parts = []
    for _ in range(60):
        parts += [noise(draw.uniform(2, 14)) * draw.uniform(0.2, 1.0), silence(draw.uniform(0.3, 3.5))]
    return np.concatenate(parts).astype(np.float32)[: 590 * SAMPLE_RATE]


def spaced(pieces: Sequence[Samples]) -> Samples:
    """Sentences with the pauses of a talk between them: 0.3 to 1.5 s, and background noise throughout."""
    draw = np.random.default_rng(4)
    parts = [np.concatenate([p, silence(draw.uniform(0.3, 1.5))]) for p in pieces]
    whole = np.concatenate(parts)
    return whole + draw.normal(0, 2e-4, len(whole)).astype(np.float32)


# --- which chunk tells the language ---


def test_the_language_is_heard_from_speech_near_the_start() -> None:
    def chunk(start: float, seconds: float, *, unsure: bool = False) -> Chunk:
        return Chunk(silence(seconds), start, unsure)

    music, short, long = chunk(0, 24, unsure=True), chunk(30, 4), chunk(40, 9)
    late = chunk(400, 26)

    assert most_speech([music, short, long]) is long
    assert most_speech([music]) is music
    assert most_speech([music, short, long, short, short, late]) is long


def test_the_first_frame_starts_at_the_first_sample() -> None:
    assert bounds(plan(noise(3), "off").chunks[0]) == (0, 3 * SAMPLE_RATE)
