"""What a session promises, on a real voice and a scripted engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripted import PACE_S, ScriptedEngine, said
from whisper_lambda.engine.windows import BEFORE
from whisper_lambda.live.endpoints import Rules
from whisper_lambda.live.pace import PACES
from whisper_lambda.live.session import Committed, Ended, Event, Session, Started, Stopped, Tentative
from whisper_lambda.types import SAMPLE_RATE, Continuation, LiveWord, Options, Samples, Window


def cut(samples: Samples, sizes: list[int]) -> list[Samples]:
    parts, at, i = [], 0, 0
    while at < len(samples):
        parts.append(samples[at : at + sizes[i % len(sizes)]])
        at, i = at + sizes[i % len(sizes)], i + 1
    return parts


def heard(session: Session, parts: list[Samples]) -> list[Event]:
    events = [event for part in parts for event in session.feed(part)]
    return events + session.finish()


def words(events: list[Event]) -> list[str]:
    return [w.text for e in events if isinstance(e, Committed) for w in e.words]


@pytest.fixture(scope="module")
def whole(voice: Samples) -> list[Event]:
    return heard(Session(ScriptedEngine()), [said(voice[:80_000], 1.5, 3.0)])


@settings(max_examples=12)
@given(sizes=st.lists(st.integers(1, 30_000).map(lambda n: n + 160), min_size=1, max_size=6))
def test_packets_of_any_size_give_the_same_events(
    voice: Samples, whole: list[Event], sizes: list[int]
) -> None:
    cuts = cut(said(voice[:80_000], 1.5, 3.0), sizes)

    assert heard(Session(ScriptedEngine()), cuts) == whole


def test_committed_words_are_the_script_and_come_in_order(whole: list[Event]) -> None:
    told = words(whole)
    numbers = [int(w.removeprefix(" w")) for w in told]  # fails on a garbled one

    assert numbers == sorted(set(numbers))
    assert len(told) > 20


def test_utterances_begin_and_end_where_the_voice_does(whole: list[Event]) -> None:
    kinds = [type(e) for e in whole if not isinstance(e, Committed | Tentative)]
    starts = [e.at for e in whole if isinstance(e, Started)]
    stops = [e.at for e in whole if isinstance(e, Stopped)]

    assert kinds == [Started, Stopped, Ended] * (len(kinds) // 3)
    assert len(starts) >= 3
    assert all(a < b for a, b in zip(starts, stops, strict=True))


def test_what_is_committed_is_never_decoded_again_and_leaves_the_window(voice: Samples) -> None:
    engine = ScriptedEngine()
    session = Session(engine, pace=PACES["low"])
    committed: list[int] = []
    for part in cut(said(voice, 0.3), [1600]):  # at most one step each
        before = list(committed)
        for event in session.feed(part):
            if isinstance(event, Committed):
                committed += [int(w.text.removeprefix(" w")) for w in event.words]
        for window in engine.windows:
            assert list(window.prefix) == before[len(before) - len(window.prefix) :]
        engine.windows.clear()
        assert session.tail().size <= 26 * SAMPLE_RATE


def test_interleaved_sessions_do_not_hear_each_other(voice: Samples, whole: list[Event]) -> None:
    engine = ScriptedEngine()
    one, other = Session(engine), Session(engine)
    events: tuple[list[Event], list[Event]] = ([], [])
    audio = said(voice[:80_000], 1.5, 3.0)
    for part in cut(audio, [3200]):
        events[0].extend(one.feed(part))
        events[1].extend(other.feed(part * 0.5))

    assert events[0] + one.finish() == whole
    assert words(events[1] + other.finish()) != []


def test_silence_asks_the_engine_nothing_and_keeps_little() -> None:
    engine = ScriptedEngine()
    session = Session(engine)
    for _ in range(120):
        assert session.feed(np.zeros(SAMPLE_RATE, np.float32)) == []

    assert engine.windows == []
    assert session.tail().size <= 5 * SAMPLE_RATE


def test_under_pressure_steps_grow_and_no_word_is_lost(voice: Samples) -> None:
    """A server that is busy calls `take` as audio comes, and `step` when the engine is free."""
    engine = ScriptedEngine()
    session, events = Session(engine), []
    audio = said(voice, 0.2, 0.2)
    for i, part in enumerate(cut(audio, [1600])):
        events += session.take(part)
        if i % 35 == 0 and session.due:  # a step takes 3.5 s
            events += session.step()
    eager = Session(ScriptedEngine())

    assert words(events + session.finish()) == words(heard(eager, [audio]))
    assert len(engine.windows) < 20


def test_a_window_never_outgrows_what_the_encoder_hears(voice: Samples) -> None:
    session, events = Session(ScriptedEngine()), []
    audio = np.concatenate([voice] * 5)
    events += session.take(audio)  # 70 s at once
    while not session.idle:
        events += session.step() if session.due else session.take(np.zeros(0, np.float32))
    numbers = [int(w.removeprefix(" w")) for w in words(events + session.finish())]

    assert numbers == sorted(set(numbers))
    assert len(numbers) > 60 / PACE_S


def test_clear_forgets_what_was_not_committed(voice: Samples) -> None:
    session = Session(ScriptedEngine())
    events = session.feed(voice[: 4 * SAMPLE_RATE])
    session.clear()

    assert words(session.finish()) == []
    assert session.heard_s == 4.0
    later = session.feed(voice[: 4 * SAMPLE_RATE])
    assert next(e.at for e in later if isinstance(e, Started)) >= 4.0
    assert words(events)


def test_the_language_is_heard_for_each_utterance_and_kept_within_one(voice: Samples) -> None:
    engine = ScriptedEngine(language="en")
    events = heard(Session(engine), [voice[: 4 * SAMPLE_RATE]])
    assert {e.language for e in events if isinstance(e, Committed | Ended)} == {"en"}
    fixed = heard(Session(ScriptedEngine(), Options(language="es")), [voice[: 4 * SAMPLE_RATE]])
    assert {e.language for e in fixed if isinstance(e, Committed | Ended)} == {"es"}


@pytest.mark.parametrize(
    ("language", "pause_s", "joined"), [("es", 1.0, True), ("es", 6.0, False), (None, 1.0, False)]
)
def test_words_before_a_short_pause_are_context_for_what_follows(
    language: str | None, pause_s: float, joined: bool, voice: Samples
) -> None:
    engine = ScriptedEngine()
    session, first, begun = Session(engine, Options(language=language)), [], 0
    for part in cut(said(voice[:80_000], pause_s), [1600]):
        engine.windows.clear()
        begun += sum(isinstance(e, Started) for e in session.feed(part))
        if engine.windows and len(first) < begun:
            first.append(engine.windows[-1])

    assert len(first) >= 2
    assert not first[0].prefix
    assert bool(first[-1].prefix) == joined
    spoken_at = first[-1].start + first[-1].settled_s
    assert not joined or spoken_at > 5.0 + pause_s - 0.5  # no word of the second stands in the pause


def test_words_of_another_language_are_no_context(voice: Samples) -> None:
    engine = ScriptedEngine()
    session = Session(engine, Options(language="es"))
    session.feed(said(voice[:80_000], 0.7)[: 5 * SAMPLE_RATE + 11_200])
    assert session.state.inside
    assert not session.state.open
    session.options = Options(language="en")
    engine.windows.clear()
    session.feed(voice[:32_000])

    assert not engine.windows[0].prefix


def test_a_longer_delay_decodes_less_often(voice: Samples) -> None:
    steps = {}
    for delay in ("minimal", "low", "medium", "high", "xhigh"):
        engine = ScriptedEngine()
        told = words(heard(Session(engine, pace=PACES[delay]), [voice]))
        steps[delay] = len(engine.windows)
        assert told
    assert list(steps.values()) == sorted(steps.values(), reverse=True)
    assert steps["xhigh"] < steps["minimal"] / 3


def test_sound_without_speech_is_listened_to_and_less_often_the_less_it_says() -> None:
    """A beat: the VAD hears nothing, the engine is asked, and asked more rarely while it hears nothing."""
    rng = np.random.default_rng(1)
    noise = (0.1 * rng.standard_normal(60 * SAMPLE_RATE)).astype(np.float32)
    deaf = ScriptedEngine()
    deaf.listen = lambda window, options: deaf.windows.append(window) or EMPTY  # type: ignore[method-assign]
    session = Session(deaf)
    events = session.feed(noise)

    assert [e.unsure for e in events if isinstance(e, Started)] == [True]
    assert 3 <= len(deaf.windows) <= 9
    off = ScriptedEngine()
    assert Session(off, rules=Rules(unsure=False)).feed(noise) == []
    assert off.windows == []


EMPTY = Continuation((), "es")


class Wordy(ScriptedEngine):
    """Its words have six tokens each."""

    @staticmethod
    def word(n: int, token: int) -> LiveWord:
        one = ScriptedEngine.word(n, token)
        return replace(one, tokens=one.tokens * 6)


def test_words_that_left_the_window_are_asked_with_up_to_the_most_that_is_used(voice: Samples) -> None:
    engine = Wordy()
    heard(Session(engine, Options(language="es")), [said(voice, 0.3)])
    before = [w.before for w in engine.windows]

    assert max(map(len, before)) == BEFORE[-1]
    assert all(told == tuple(sorted(told)) and told.count(told[-1]) == 6 for told in before if told)


class Astray(ScriptedEngine):
    """Says little more once it is told to go on from word 5, as the real one does after some words."""

    says = 0  # words

    def listen(self, window: Window, options: Options) -> Continuation:
        told = super().listen(window, options)
        if window.prefix and window.prefix[-1] == 5:
            return replace(told, words=told.words[: self.says])
        return told


@pytest.mark.parametrize("says", [0, 1])
def test_words_that_lead_the_decoder_astray_cost_no_others(says: int, voice: Samples) -> None:
    engine = Astray(garbles=0)
    engine.says = says
    events = heard(Session(engine), cut(voice[:80_000], [1600]))

    assert words(events) == [f" w{n}" for n in range(len(words(events)))]
    assert len(words(events)) > 10
