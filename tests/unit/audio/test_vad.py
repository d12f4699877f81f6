"""Where speech is, on real speech between silences, as the network of audio/silero.py hears it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import bundled, silence
from whisper_lambda.audio import vad
from whisper_lambda.audio.frames import FRAME, Frames, frames
from whisper_lambda.audio.silero import network
from whisper_lambda.audio.vad import SPEECH, Probabilities, speech_probabilities, speech_spans
from whisper_lambda.types import SAMPLE_RATE, Samples, Span


def spans(samples: Samples) -> list[Span]:
    return speech_spans(speech_probabilities(samples), frames(samples))


def spans_of(heard: list[float], length: int | None = None) -> list[Span]:
    """The spans of probabilities of frames that lie evenly."""
    starts = np.arange(len(heard)) * FRAME
    length = len(heard) * FRAME if length is None else length
    return speech_spans(np.array(heard, np.float32), Frames(starts, starts[:1], length))


def seconds(span: Span) -> tuple[float, float]:
    return span.start / SAMPLE_RATE, span.stop / SAMPLE_RATE


@pytest.fixture(scope="module")
def long() -> Samples:
    """All bundled recordings twice over: 2.7 minutes of speech in three languages."""
    return np.concatenate(bundled() * 2)


def frame_by_frame(samples: Samples) -> vad.Probabilities:
    """One pass from beginning to end: how the network was trained."""
    padded = np.concatenate([silence(vad.CONTEXT / SAMPLE_RATE), samples, np.zeros(FRAME, np.float32)])
    state, heard = np.zeros((2, 1, 128), np.float32), []
    for at in range(0, len(samples), FRAME):
        frame = padded[None, at : at + vad.CONTEXT + FRAME]
        probability, state = network().heard(frame, state)
        heard.append(probability[0])
    return np.array(heard)


def test_stripes_hear_what_one_pass_hears(long: Samples) -> None:
    """Long recordings run as stripes side by side; each begins in the middle and is not deaf there."""
    grid, whole = frames(long), frame_by_frame(long)
    striped = speech_probabilities(long, grid)
    there = whole[np.minimum((grid.starts + FRAME // 2) // FRAME, len(whole) - 1)]  # up to half a frame away

    assert len(grid.stripes) > 5, "it did run in stripes"
    assert np.mean((striped >= SPEECH) != (there >= SPEECH)) < 0.03
    assert speech_s(striped) == pytest.approx(speech_s(whole), rel=0.01)


def speech_s(heard: Probabilities) -> float:
    return float(np.count_nonzero(heard >= SPEECH) * FRAME / SAMPLE_RATE)


def test_a_short_recording_is_heard_in_one_pass() -> None:
    said = bundled()[7]

    assert np.array_equal(speech_probabilities(said), frame_by_frame(said))


def test_speech_between_silences_is_found_where_it_is() -> None:
    said = bundled()[5]  # English, 9 s, ends in silence of its own
    [start, *_, stop] = [edge for s in spans(said) for edge in seconds(s)]
    found = spans(np.concatenate([silence(5.0), said, silence(5.0)]))

    assert seconds(found[0])[0] == pytest.approx(5.0 + start, abs=0.2)
    assert seconds(found[-1])[1] == pytest.approx(5.0 + stop, abs=0.2)
    assert sum(s.stop - s.start for s in found) > 0.6 * len(said)


def test_no_bundled_recording_goes_unheard() -> None:
    shares = [sum(s.stop - s.start for s in spans(said)) / len(said) for said in bundled()]

    assert min(shares) > 0.5


@pytest.mark.parametrize("length", [0, 1, FRAME - 1, FRAME, FRAME + 1, 10 * SAMPLE_RATE, 40 * SAMPLE_RATE])
def test_silence_is_no_speech(length: int) -> None:
    nothing = np.zeros(length, np.float32)

    assert len(speech_probabilities(nothing)) == -(-length // FRAME)
    assert spans(nothing) == []


def test_noise_and_a_tone_are_no_speech() -> None:
    at = np.arange(12 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.05, len(at)).astype(np.float32)
    tone = (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)

    assert spans(noise) == []
    assert spans(tone) == []


@pytest.mark.parametrize("missing", [1, 100, FRAME - 1])
def test_the_last_frame_is_completed_with_silence(missing: int) -> None:
    said = bundled()[7][: 100 * FRAME - missing]

    assert np.array_equal(
        speech_probabilities(said), speech_probabilities(np.append(said, np.zeros(missing, np.float32)))
    )


# --- probabilities to spans ---

PROBABILITIES = st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), max_size=120)


@given(PROBABILITIES, st.integers(0, FRAME - 1))
def test_spans_are_ordered_apart_and_inside_the_recording(heard: list[float], short: int) -> None:
    length = max(0, len(heard) * FRAME - short)
    found = spans_of(heard, length)

    assert all(0 <= s.start < s.stop <= length for s in found)
    assert all(a.stop < b.start for a, b in pairwise(found))


@given(PROBABILITIES)
def test_sure_speech_is_inside_a_span_and_silence_far_from_it_is_not(heard: list[float]) -> None:
    found = spans_of(heard)
    inside = np.zeros(len(heard), bool)
    for span in found:
        inside[span.start // FRAME : span.stop // FRAME] = True

    for at in range(len(heard)):
        if min(heard[max(0, at - 1) : at + 2]) >= SPEECH and len(heard[max(0, at - 1) : at + 2]) == 3:
            assert inside[at]
        if not any(heard[max(0, at - 20) : at + 21]):
            assert not inside[at]


def test_a_click_is_no_speech_and_a_breath_ends_none() -> None:
    quiet, loud = [0.0] * 40, [1.0] * 40

    assert spans_of([*quiet, 1.0, *quiet]) == []
    assert len(spans_of([*loud, 0.0, *loud])) == 1
    assert len(spans_of([*loud, *quiet, *loud])) == 2


def test_speech_fades_out_below_where_it_fades_in() -> None:
    """Between the two thresholds speech goes on, and does not begin."""
    between = [0.4] * 40

    assert spans_of(between) == []
    [span] = spans_of([*[1.0] * 10, *between])
    assert span == Span(0, 50 * FRAME)


def test_spans_begin_before_the_first_consonant_and_end_after_the_last() -> None:
    [span] = spans_of([*[0.0] * 40, *[1.0] * 40, *[0.0] * 40])

    assert 40 * FRAME - span.start >= 0.1 * SAMPLE_RATE
    assert span.stop - 80 * FRAME >= 0.1 * SAMPLE_RATE
