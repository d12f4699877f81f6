"""What no client may ever see broken, whatever it sends and whoever else is speaking."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripted import PACE_S, ScriptedEngine
from whisper_lambda.http.realtime.conversation import Conversation
from whisper_lambda.live.endpoints import Ear
from whisper_lambda.live.pace import PACES
from whisper_lambda.live.session import Committed, Event, Session, Started, State, Tentative
from whisper_lambda.types import SAMPLE_RATE, Continuation, LiveWord, Options, Samples, Window, Word

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


class Speaker:
    """A session as a server holds it, and what its client has been told so far."""

    def __init__(self, engine: ScriptedEngine, delay: Any, language: str | None, *, commits: bool) -> None:
        self.session = Session(engine, Options(language=language), pace=PACES[delay])
        self.conversation = Conversation(commits=commits)
        self.words: list[Word] = []  # committed
        self.sent: list[dict[str, Any]] = []

    def happen(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Committed):
                self.words += event.words
        self.sent += self.conversation.told(events)

    def hear(self, samples: Samples, *, stepping: bool) -> None:
        """Take a packet in; a busy server steps later."""
        self.happen(self.session.take(samples))
        if stepping and self.session.due:
            self.happen(self.session.step())

    def end(self) -> None:
        """As a server does at a commit, or when the line ends."""
        while not (self.session.idle and not self.session.state.open):
            self.happen(self.session.finish())
        self.sent += self.conversation.finished(self.session.heard_s)


def spoken(voice: Samples, rng: Random, seconds: float = 6.0) -> Samples:
    """Return speech with pauses wherever the dice say."""
    parts, left = [], seconds
    while left > 0:
        at, length = rng.uniform(0, 10), rng.uniform(0.4, 4.0)
        parts.append(voice[round(at * SAMPLE_RATE) : round((at + length) * SAMPLE_RATE)])
        parts.append(np.zeros(round(rng.choice([0.0, 0.2, 0.6, 1.5]) * SAMPLE_RATE), np.float32))
        left -= sum(len(p) for p in parts[-2:]) / SAMPLE_RATE
    return np.concatenate(parts)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), delays=st.lists(st.sampled_from(sorted(PACES)), min_size=1, max_size=3))
def test_committed_words_stay_and_deltas_are_the_transcript(
    voice: Samples, seed: int, delays: list[str]
) -> None:
    """Random packets, pauses and paces, several sessions in turn on one engine, at any load."""
    rng, engine = Random(seed), ScriptedEngine()
    speakers = [Speaker(engine, d, rng.choice([None, "es"]), commits=rng.random() < 0.3) for d in delays]
    coming = [spoken(voice, rng) for _ in speakers]
    eagerness = rng.choice([1.0, 0.5, 0.1])
    while any(len(c) for c in coming):
        n = rng.randrange(len(speakers))
        size = rng.choice([1, 160, 1600, 4801, 24_000])
        before = list(speakers[n].words)
        speakers[n].hear(coming[n][:size], stepping=rng.random() < eagerness)
        coming[n] = coming[n][size:]

        assert speakers[n].words[: len(before)] == before
    for speaker in speakers:
        speaker.end()
        said: dict[str, str] = defaultdict(str)
        for event in speaker.sent:
            if event["type"] == DELTA:
                said[event["item_id"]] += event["delta"]
        done = {e["item_id"]: e["transcript"] for e in speaker.sent if e["type"] == COMPLETED}
        numbers = [int(w.text.removeprefix(" w")) for w in speaker.words]  # fails on a garbled one

        assert done == {item: said[item] for item in done}
        assert set(said) <= set(done)
        assert " ".join(done.values()).split() == [w.text.strip() for w in speaker.words]
        assert numbers == sorted(set(numbers))
        assert all(w.start <= w.end for w in speaker.words)


def test_a_song_over_a_beat_keeps_its_text_coming(voice: Samples) -> None:
    """The voice rests for a bar and a half and the beat goes on: no end of an utterance, and no long wait."""
    rng = np.random.default_rng(7)
    song = np.concatenate([voice, np.zeros(24_000, np.float32)] * 3)
    beat = 0.5 * float(np.sqrt(np.mean(voice**2))) * rng.standard_normal(len(song)).astype(np.float32)
    session, at_s, gaps, last = Session(ScriptedEngine()), 0.0, [], 0.0
    events: list[Event] = []
    for at in range(0, len(song), 8_000):
        came = session.feed(song[at : at + 8_000] + beat[at : at + 8_000])
        at_s += 0.5
        events += came
        if any(isinstance(e, Committed) for e in came):
            gaps.append(at_s - last)
            last = at_s
    events += session.finish()

    assert sum(isinstance(e, Started) for e in events) == 1
    assert max(gaps) <= 4.0
    words = sum(len(e.words) for e in events if isinstance(e, Committed))
    assert words > 0.9 * len(song) / SAMPLE_RATE / PACE_S
    assert any(isinstance(e, Tentative) for e in events)
    assert session.tail().size <= 30 * SAMPLE_RATE


class Baffled(ScriptedEngine):
    """Hears loops that nobody can believe."""

    def listen(self, window: Window, options: Options) -> Continuation:
        super().listen(window, options)
        assert len(self.windows) < 20, "it is asked the same thing again and again"
        return Continuation((), "es", loops=True)


@pytest.mark.parametrize("last_s", [2.0, 12.0, 20.0])
def test_a_full_window_that_cannot_be_understood_moves_on(last_s: float) -> None:
    """A song: words until `last_s`, then loops until the window is as long as one may be."""
    rng = np.random.default_rng(7)
    beat = (0.1 * rng.standard_normal(25 * SAMPLE_RATE)).astype(np.float32)
    at = 23 * SAMPLE_RATE // 512 * 512
    inside = (LiveWord(last_s - 1.0, last_s, " w1", 0.9, (1,)),)
    ear = Ear(at=at, open=True, unsure=True, spoke=at, sounding=1.0, sound_db=-20.0)
    state = State(ear=ear, decoded=at, inside=inside, language="es")
    session = Session(Baffled(), state=state, tail=beat[:at])
    session.feed(beat[at:])

    assert session.state.window >= 6 * SAMPLE_RATE
    assert session.tail().size <= 24 * SAMPLE_RATE
