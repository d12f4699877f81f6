"""How a chunk is decoded, when a decode is doubted, and what is tried next: promises, not figures."""

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.engine.policy import (
    KNOWN_PHRASES,
    MARGIN_S,
    MAX_TOKENS,
    Hypothesis,
    Rung,
    best,
    doubt,
    is_loop,
    ladder,
    longest,
    repeats,
    settled,
)
from whisper_lambda.types import MAX_CHUNK_S, Options, Quality

DURATION = 10.0  # seconds; room for every phrase here, said in haste where it loops
QUALITIES = get_args(Quality)
SENTENCE = " The quick brown fox jumps over one lazy dog while nobody else looks at it."
PHRASE = (11, 12, 13, 14, 15, 16, 17, 18)


def hypothesis(
    tokens: Sequence[int] = PHRASE,
    text: str = SENTENCE,
    *,
    logprob: float = -0.1,
    no_speech: float = 0.0,
    temperature: float = 0.0,
) -> Hypothesis:
    return Hypothesis(tuple(tokens), text, logprob, no_speech, temperature)


LOOP = hypothesis(PHRASE * 8, " one two three" * 30)

CROWDED = hypothesis(range(70), " la la la" * 40)  # different tokens, and a text that says the same

# --- the ladder ---


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("beam", [None, 1, 3])
def test_every_ladder_ends_with_the_full_window_and_a_ban_on_repetition(
    quality: Quality, beam: int | None
) -> None:
    rungs = ladder(Options(quality=quality, beam_size=beam))

    assert not rungs[0].full_window, "the audio that is there, first"
    assert rungs[-1].full_window
    assert rungs[-1].no_repeat_ngram > 0
    assert len(set(rungs)) == len(rungs), "a rung tried twice gives the same tokens twice"


@pytest.mark.parametrize("quality", QUALITIES)
def test_nothing_is_sampled_unless_asked_for(quality: Quality) -> None:
    assert {rung.temperature for rung in ladder(Options(quality=quality))} == {0.0}


def test_fast_begins_greedy_and_balanced_with_a_beam() -> None:
    assert ladder(Options(quality="fast"))[0].beam_size == 1
    assert ladder(Options(quality="balanced"))[0].beam_size > 1


def test_best_is_harder_to_content_than_balanced() -> None:
    halting = [hypothesis(logprob=-p / 20) for p in range(40)]

    def contented(quality: Quality) -> int:
        options = Options(quality=quality)
        return sum(settled(h, ladder(options)[0], DURATION, options) for h in halting)

    assert 0 < contented("best") < contented("balanced")


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_beam_asked_for_is_used(quality: Quality) -> None:
    beams = {rung.beam_size for rung in ladder(Options(quality=quality, beam_size=4))}

    assert beams <= {1, 4}
    assert 4 in beams
    assert ladder(Options(quality=quality, beam_size=1))[0].beam_size == 1


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_temperature_asked_for_is_the_only_rung(quality: Quality) -> None:
    [rung] = ladder(Options(quality=quality, temperature=0.4))

    assert rung.temperature == 0.4


# --- the window ---


@given(duration=st.floats(0, MAX_CHUNK_S))
def test_the_window_holds_the_audio_and_silence_after_it(duration: float) -> None:
    window = Rung().window_s(duration)

    assert min(MAX_CHUNK_S, duration + MARGIN_S) <= window <= MAX_CHUNK_S
    assert window * 100 == round(window * 100), "a whole number of mel frames"
    assert Rung(full_window=True).window_s(duration) == MAX_CHUNK_S


def test_chunks_of_like_length_share_a_window() -> None:
    windows = {Rung().window_s(5 + n / 100) for n in range(1000)}

    assert len(windows) <= 30


@given(st.floats(0, MAX_CHUNK_S), st.floats(0, MAX_CHUNK_S))
def test_longer_audio_may_say_more_and_never_more_than_the_decoder_can(a: float, b: float) -> None:
    shorter, longer = sorted((a, b))

    assert 0 < longest(shorter) <= longest(longer) <= MAX_TOKENS // 2


# --- repetition ---


def said_in_a_row(tokens: Sequence[int], shortest: int) -> int:
    """The definition: the largest n such that some phrase stands n times in a row."""
    tokens, most = tuple(tokens), 1
    for at in range(len(tokens)):
        for size in range(shortest, len(tokens) - at + 1):
            n = 1
            while tokens[at : at + size * (n + 1)] == tokens[at : at + size] * (n + 1):
                n += 1
            most = max(most, n)
    return most


@given(
    before=st.lists(st.integers(0, 2), max_size=8),
    phrase=st.lists(st.integers(0, 2), min_size=1, max_size=7),
    times=st.integers(0, 5),
    after=st.lists(st.integers(0, 2), max_size=8),
    shortest=st.integers(1, 6),
)
def test_repetition_is_counted_by_its_definition(
    before: list[int], phrase: list[int], times: int, after: list[int], shortest: int
) -> None:
    tokens = [*before, *phrase * times, *after]

    assert repeats(tokens, shortest) == said_in_a_row(tokens, shortest)


def test_a_phrase_of_any_length_is_found() -> None:
    long_phrase = list(range(60))

    assert repeats(long_phrase * 3) == 3
    assert repeats([7, *long_phrase, 7, *long_phrase]) == 2
    assert repeats(long_phrase) == 1


# --- doubt ---


def test_a_likely_sentence_is_not_doubted() -> None:
    assert doubt(hypothesis(), DURATION, Options()) is None


def test_nothing_said_is_nothing_to_doubt() -> None:
    nothing = hypothesis((), "", logprob=-5.0, no_speech=1.0)

    assert doubt(nothing, DURATION, Options()) is None
    assert settled(nothing, ladder(Options(quality="best"))[0], DURATION, Options(quality="best"))


def test_a_loop_is_repetition_however_likely() -> None:
    assert doubt(LOOP, DURATION, Options()) == "repetition"
    assert doubt(hypothesis(PHRASE * 8), DURATION, Options()) == "repetition", "by its tokens alone"
    assert doubt(CROWDED, DURATION, Options()) == "repetition", "by its text alone"


def test_what_repeats_itself_at_the_pace_of_speech_is_kept() -> None:
    """A telephone menu, a prayer, a chorus: as many words, in the time they take."""
    assert doubt(LOOP, 2 * DURATION, Options()) is None
    assert doubt(CROWDED, 2 * DURATION, Options()) is None
    assert doubt(hypothesis(PHRASE * 12), MAX_CHUNK_S, Options()) == "repetition", "but not for ever"


def test_more_than_anybody_can_say_is_a_loop() -> None:
    drawn = random.Random(0).sample(range(1_000), 200)

    assert doubt(hypothesis(drawn), 2.0, Options()) == "repetition"
    assert doubt(hypothesis(drawn), MAX_CHUNK_S, Options()) is None


def test_unlikely_words_are_no_speech_where_the_model_hears_none() -> None:
    options = Options()
    mumbled = options.logprob_threshold - 0.1

    assert doubt(hypothesis(logprob=mumbled), DURATION, options) == "low_confidence"
    assert doubt(hypothesis(logprob=mumbled, no_speech=0.9), DURATION, options) == "no_speech"
    assert doubt(hypothesis(no_speech=0.9), DURATION, options) is None, "likely words outweigh it"


def test_thresholds_are_the_callers() -> None:
    mumbled = hypothesis(logprob=-1.5, no_speech=0.5)

    assert doubt(mumbled, DURATION, Options(logprob_threshold=-2.0)) is None
    assert doubt(mumbled, DURATION, Options(no_speech_threshold=0.4)) == "no_speech"
    assert doubt(LOOP, DURATION, Options(compression_ratio_threshold=1_000)) == "repetition"
    assert doubt(CROWDED, DURATION, Options(compression_ratio_threshold=1_000)) is None


def test_where_no_speech_was_found_words_must_be_likelier() -> None:
    """Fluent text over music or noise is what a hallucination is."""
    options = Options()
    middling = [hypothesis(logprob=-p / 100, no_speech=0.9) for p in range(0, 100, 2)]
    sure = [doubt(h, DURATION, options) for h in middling]
    unsure = [doubt(h, DURATION, options, unsure=True) for h in middling]

    assert set(sure) == {None}
    assert unsure[0] is None
    assert unsure[-1] == "no_speech"


def test_where_no_speech_was_found_what_captions_say_in_silence_is_dropped() -> None:
    said = hypothesis(text=" ¡Gracias por ver el video! ")

    assert doubt(said, DURATION, Options(), unsure=True) == "known_phrase"
    assert doubt(said, DURATION, Options()) is None, "a speaker may say it"
    assert doubt(hypothesis(text=" Gracias por ver el partido."), DURATION, Options(), unsure=True) is None


def test_where_no_speech_was_found_a_vowel_held_is_repetition() -> None:
    held = hypothesis([5, 6, 5, 5, 6, 6, 5, 6, 5, 5, 5, 6], " Oh, oh, oh")

    assert doubt(held, DURATION, Options(), unsure=True) == "repetition"
    assert doubt(hypothesis(text=" Oh, oh"), DURATION, Options(), unsure=True) is None


@pytest.mark.parametrize("phrase", sorted(KNOWN_PHRASES))
def test_known_phrases_are_written_as_they_are_compared(phrase: str) -> None:
    assert doubt(hypothesis(text=f" {phrase.upper()}."), DURATION, Options(), unsure=True) == "known_phrase"


# --- climbing ---


def climbed(options: Options, proposals: Sequence[Hypothesis], *, unsure: bool = False) -> int:
    """How many rungs are tried when each rung proposes the next of `proposals`."""
    for tried, (rung, proposal) in enumerate(zip(ladder(options), proposals, strict=False), 1):
        if settled(proposal, rung, DURATION, options, unsure=unsure):
            return tried
    return len(ladder(options)) + 1


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_good_hypothesis_ends_the_climb_at_once(quality: Quality) -> None:
    assert climbed(Options(quality=quality), [hypothesis()]) == 1


def test_doubt_climbs_until_it_is_gone() -> None:
    assert climbed(Options(), [LOOP, hypothesis()]) == 2
    assert climbed(Options(), [LOOP, LOOP, hypothesis()]) == 3
    assert climbed(Options(), [LOOP, LOOP, LOOP]) == 4


def test_a_sentence_said_twice_is_looked_at_again_and_then_kept() -> None:
    """The short window starts over now and then; what the full window repeats was said twice."""
    twice = hypothesis(PHRASE * 2, " Please hold the line." * 2)

    assert climbed(Options(), [twice, twice]) == 2
    assert doubt(twice, DURATION, Options()) is None


def test_unlikely_words_over_noise_are_not_tried_again() -> None:
    noise = hypothesis(logprob=-1.5, no_speech=0.9)

    assert climbed(Options(), [noise], unsure=True) == 1
    assert climbed(Options(), [noise, hypothesis()]) == 2
    assert climbed(Options(), [LOOP, hypothesis()], unsure=True) == 2, "a loop is"


# --- choosing ---


def test_a_sentence_is_better_than_a_loop_however_likely() -> None:
    mumbled = hypothesis(logprob=-3.0)

    assert best([LOOP, mumbled, LOOP], DURATION, Options()) is mumbled


@given(st.lists(st.floats(-5, 0), min_size=1, max_size=4))
def test_of_sentences_the_likeliest_is_chosen(logprobs: list[float]) -> None:
    chosen = best([hypothesis(logprob=p) for p in logprobs], DURATION, Options())

    assert chosen.avg_logprob == max(logprobs)


def test_of_equals_the_first_is_chosen() -> None:
    """So that the choice depends on nothing but the samples."""
    tried = [hypothesis(text=" a"), hypothesis(text=" b")]

    assert best(tried, DURATION, Options()) is tried[0]


# --- how crowded a text is ---


def test_the_compression_ratio_is_whispers() -> None:
    assert hypothesis(text="").compression_ratio == 0.0
    assert hypothesis(text=SENTENCE).compression_ratio < 1.5
    rising = [hypothesis(text=" la la" * n).compression_ratio for n in (2, 8, 32)]
    assert all(a < b for a, b in pairwise(rising))
    assert is_loop(hypothesis(range(70), " la la" * 32), DURATION, 2.4)
    assert not math.isnan(hypothesis(text="\ud7ff🎵").compression_ratio)
