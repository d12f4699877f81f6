"""One live session: audio in as it comes, events out. Synchronous, and pure but for the engine.

`feed` decodes at fixed moments of the audio, so what comes out does not depend on how the audio was
cut into packets. A server that is busy calls `take` and `step` itself instead: then a step decodes
what has come since the last one, and under pressure that is more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from whisper_lambda.audio.vad import FRAME
from whisper_lambda.live import agreement, endpoints
from whisper_lambda.live.endpoints import Ear, Rules
from whisper_lambda.live.pace import PACES, Pace
from whisper_lambda.live.tape import Tape
from whisper_lambda.live.trust import believed
from whisper_lambda.ports import Engine
from whisper_lambda.types import SAMPLE_RATE, LiveWord, Options, Samples, Window, Word

MOST_BEFORE = 112  # tokens of earlier words that are kept to ask with
LONGEST_S = 24.0  # of a window; beyond it words are committed by age alone
UNSURE_STEP_S, UNSURE_MOST_S = 3.0, 12.0  # of sound without speech: the step, doubled while nothing is heard
UNSURE_KEPT_S = 8.0  # lines of a song need their context
IDLE_S = 4.0  # audio kept while no utterance is open: an unsure one begins so far back
SURE_LANGUAGE = 0.6  # below this probability an utterance is in the language of the one before
HEARD_BEYOND_S = 0.25  # a decode that saw so much after the last speech need not be repeated at the endpoint
MUTE_S = 1.0  # of speech after committed words without a token, and each second more: they lead it astray
JOINED_S = 3.0  # a pause up to which the words before it are context for what follows
LISTEN_FROM_S = 1.0  # of an utterance before its language is heard


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody began to speak, at `at` seconds."""

    at: float
    unsure: bool = False  # the VAD hears no speech: it may be music


@dataclass(frozen=True, slots=True)
class Committed:
    """Words that never change again."""

    words: tuple[Word, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Tentative:
    """What is heard beyond the committed words, which the next event of this kind replaces."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The utterance's endpoint, at `at` seconds; its last words follow before the next `Started`."""

    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Everything of the utterance is committed; its audio goes to `at` seconds."""

    at: float
    language: str


Event = Started | Committed | Tentative | Stopped | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a session knows beside its audio. Positions are samples of the session's audio."""

    ear: Ear = field(default_factory=Ear)
    window: int = 0  # where the window begins
    decoded: int = 0  # how far it was decoded
    ending: bool = False  # the endpoint was heard, the last decode is due
    end: int = 0  # of the utterance that is ending
    unsure: bool = False  # it was, when it ended
    inside: tuple[LiveWord, ...] = ()  # committed words in the window
    before: tuple[int, ...] = ()  # tokens of those that have left it
    hypotheses: tuple[tuple[LiveWord, ...], ...] = ()  # less what was committed since; latest last
    language: str = ""  # of the open utterance, once something was committed in it
    spoken: str = ""  # of the utterance before
    guess: str = ""  # of the latest hypothesis
    fruitless: int = 0  # unsure steps in a row that heard nothing

    @property
    def open(self) -> bool:
        """Whether an utterance is open, or ending."""
        return self.ear.open or self.ending


class Session:
    """Holds one speaker's audio, as much of it as is still needed. For one thread at a time."""

    def __init__(
        self,
        engine: Engine,
        options: Options | None = None,
        *,
        pace: Pace = PACES["low"],
        rules: Rules | None = None,
        state: State | None = None,
        tail: Samples | None = None,
    ) -> None:
        """Begin a session, or go on with one.

        Args:
            engine: hears.
            options: language (None = heard for each utterance), prompt, hotwords.
            pace: how eagerly.
            rules: when utterances end.
            state: of the session that goes on.
            tail: its audio from `state.window` on.
        """
        self.engine = engine
        self.options = options or Options()
        self.pace = pace
        self.rules = rules or Rules()
        self.state = state or State()
        self._tape = Tape(self.state.window)
        self._coming = Tape(self.state.ear.at)  # not listened to yet
        if tail is not None:
            self._tape.add(tail[: self.state.ear.at - self.state.window])
            self._coming.add(tail[self.state.ear.at - self.state.window :])

    @property
    def heard_s(self) -> float:
        """Seconds of audio taken in."""
        return self._coming.stop / SAMPLE_RATE

    @property
    def pending_s(self) -> float:
        """Seconds of audio taken in that no step has dealt with: how far behind the session is."""
        done = self.state.decoded if self.state.open else self.state.ear.at
        return (self._coming.stop - max(done, self._tape.start)) / SAMPLE_RATE

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do before more audio comes."""
        return not self.due and self._coming.stop - self._coming.start < FRAME

    def tail(self) -> Samples:
        """Return the audio a session that goes on from `state` needs."""
        return np.concatenate(
            [
                self._tape.between(self.state.window, self._tape.stop),
                self._coming.between(0, self._coming.stop),
            ]
        )

    def feed(self, samples: Samples) -> list[Event]:
        """Take audio in and decode as often as the pace says; see the module."""
        self._coming.add(np.asarray(samples, np.float32))
        events: list[Event] = []
        while self.due or self._listen_once(events):
            if self.due:
                events += self.step()
        return events

    def take(self, samples: Samples) -> list[Event]:
        """Take audio in and listen for beginnings and endpoints, without decoding."""
        self._coming.add(np.asarray(samples, np.float32))
        events: list[Event] = []
        while not self.state.ending and self._window_s < LONGEST_S and self._listen_once(events):
            pass
        return events

    def finish(self) -> list[Event]:
        """End the open utterance here, decode what is left of it, and commit it."""
        events = self.feed(np.zeros(-(self._coming.stop - self._coming.start) % FRAME, np.float32))
        if self.state.ear.open:
            events += self._stop(endpoints.close(self.state.ear))
        return events + (self.step() if self.state.ending else [])

    def clear(self) -> None:
        """Forget what was not committed, as if it had not been said."""
        at = self._coming.stop
        ear = replace(endpoints.close(self.state.ear), at=at, ended=at, open=False)
        self._coming.forget(at)
        self._tape = Tape(at)
        self._coming = Tape(at)
        self.state = State(ear=ear, window=at, decoded=at, spoken=self.state.language or self.state.spoken)

    @property
    def due(self) -> bool:
        """Whether a step would do something worth its cost."""
        state = self.state
        if state.ending or not state.ear.open:
            return state.ending
        return (self._tape.stop - state.decoded) / SAMPLE_RATE >= self._step_s or self._window_s >= LONGEST_S

    @property
    def _step_s(self) -> float:
        if not self.state.ear.unsure:
            return self.pace.step_s
        return min(UNSURE_MOST_S, max(UNSURE_STEP_S, self.pace.step_s) * float(1 << self.state.fruitless))

    @property
    def _window_s(self) -> float:
        return (self._tape.stop - self.state.window) / SAMPLE_RATE if self.state.open else 0.0

    def _listen_once(self, events: list[Event]) -> bool:
        """Listen to one frame; return whether there was one."""
        start = self._coming.start
        if self._coming.stop - start < FRAME:
            return False
        frame = self._coming.between(start, start + FRAME)
        self._coming.forget(start + FRAME)
        self._tape.add(frame)
        ear, what = endpoints.hear(self.state.ear, frame, self.rules)
        if what == "stopped":
            events += self._stop(ear)
            return True
        self.state = replace(self.state, ear=ear)
        if what == "started":
            self._open()
            events.append(Started(ear.started / SAMPLE_RATE, ear.unsure))
        elif not ear.open and not self._joined:
            at = max(ear.ended, ear.at - round(IDLE_S * SAMPLE_RATE))
            self.state = replace(self.state, window=at, decoded=at, inside=(), before=())
            self._tape.forget(at)
        return True

    @property
    def _joined(self) -> bool:
        """Whether the words of the utterance before stay in the window of what is said next."""
        state = self.state
        pause_s = (state.ear.at - state.ear.ended) / SAMPLE_RATE
        known = state.spoken == self.options.language  # heard anew, it must not be heard from the last one
        return bool(state.inside) and known and pause_s <= JOINED_S

    def _open(self) -> None:
        """Begin the window of an utterance."""
        started = self.state.ear.started
        self.state = replace(self.state, decoded=started, fruitless=0)
        if self._joined and not self.state.ear.unsure:
            self._trim()
        else:
            self.state = replace(self.state, window=started, inside=(), before=())

    def _stop(self, ear: Ear) -> list[Event]:
        self.state = replace(
            self.state,
            ear=ear,
            ending=True,
            end=ear.ended,
            unsure=self.state.ear.unsure and self.state.ear.open,
        )
        return [Stopped(self.state.ear.spoke / SAMPLE_RATE)]

    def step(self) -> list[Event]:
        """Decode the window and commit what can be."""
        state = self.state
        if state.ending and self._all_heard():
            return self._end(state.hypotheses[-1], state.guess)
        window = self._window()
        heard = self.engine.listen(window, replace(self.options, language=self._language()))
        if sum(len(w.tokens) for w in heard.words) <= self._speech_after_words_s - MUTE_S:
            return self._begin_anew()
        doubted = not believed(heard, unsure=state.ear.unsure or (state.ending and state.unsure))
        if state.ending:
            last = state.hypotheses[-1] if state.hypotheses and heard.loops and not state.unsure else ()
            return self._end(last if doubted else heard.words, heard.language)
        at = window.start + window.duration
        self.state = replace(
            state,
            decoded=self._tape.stop,
            guess=heard.language,
            fruitless=0 if heard.words and not doubted else min(2, state.fruitless + 1),
        )
        if doubted:
            return self._overlong([]) if self._window_s >= LONGEST_S else []
        words, hypotheses = heard.words, self.state.hypotheses
        count = max(
            agreement.agreed(words, hypotheses, self.pace.depth),
            agreement.settled(words, at - self.pace.settled_s),
        )
        count = min(count, len(words) - self.pace.held, agreement.settled(words, at - self.pace.edge_s))
        count = max(0, count)
        rest = (*(h[count:] for h in hypotheses), words[count:])
        self.state = replace(self.state, hypotheses=rest[-max(1, self.pace.depth - 1) :])
        events = self._commit(words[:count], heard.language)
        if self._window_s >= LONGEST_S:
            events += self._overlong(words[count:])
        events.append(Tentative(_plain(self.state.hypotheses[-1])))
        self._trim()
        return events

    @property
    def _speech_after_words_s(self) -> float:
        """Seconds of speech the VAD hears after the committed words in the window; -inf: there are none."""
        state = self.state
        if not state.inside or state.ear.unsure or state.unsure:
            return -math.inf
        return state.ear.spoke / SAMPLE_RATE - self._words_end_s

    @property
    def _words_end_s(self) -> float:
        """Where the committed words in the window end: not before the utterance begins."""
        return max(self.state.inside[-1].end, self.state.ear.started / SAMPLE_RATE)

    def _begin_anew(self) -> list[Event]:
        """Begin the window after its committed words: told to go on from them, the decoder says little.

        Somebody speaks there, so the step is due again at once; it cannot come here twice in a row.
        """
        self.state = replace(self.state, hypotheses=())
        self._cut_at(math.ceil(self._words_end_s * SAMPLE_RATE))
        return []

    def _window(self) -> Window:
        state, stop = self.state, self.state.end if self.state.ending else self._tape.stop
        start = state.window / SAMPLE_RATE
        return Window(
            samples=self._tape.between(state.window, stop),
            start=start,
            prefix=tuple(t for w in state.inside for t in w.tokens),
            before=state.before,
            settled_s=self._words_end_s - start if state.inside else 0.0,
            final=state.ending,
        )

    def _language(self) -> str | None:
        """The language to decode in; None = hear it. Until words are committed it is heard anew."""
        known = self.options.language or self.state.language
        if known or not self.state.spoken:
            return known or None
        stop = self.state.end if self.state.ending else self._tape.stop
        brief = (stop - self.state.window) / SAMPLE_RATE < LISTEN_FROM_S
        return self.state.spoken if brief else None

    def _commit(self, words: Sequence[LiveWord], language: str) -> list[Event]:
        if not words:
            return []
        self.state = replace(self.state, inside=(*self.state.inside, *words), language=language)
        return [Committed(_plain(words), language)]

    def _overlong(self, words: Sequence[LiveWord]) -> list[Event]:
        """Make room in a window in which nothing could be agreed on: its older part is as it is.

        It always becomes shorter: one that stayed as it is would be due again at once, for ever.
        """
        middle = (self._tape.stop / SAMPLE_RATE) - UNSURE_KEPT_S
        old = words[: agreement.settled(words, middle)]
        language = self.state.language or self.state.spoken or self.options.language or ""
        events = self._commit(old, language)
        self.state = replace(self.state, hypotheses=(tuple(words[len(old) :]),))
        heard = max((w.end for w in self.state.inside if w.end <= middle), default=middle)
        given_up = heard < middle - LONGEST_S / 4  # so much that nobody understood is not tried again
        self._cut_at(math.ceil((middle if given_up else heard) * SAMPLE_RATE))
        return events

    def _trim(self) -> None:
        """Let committed words leave the window when they are many, at a pause if there is one."""
        inside, kept_s = self.state.inside, self.pace.kept_s
        trim_s = self.pace.trim_s
        if self.state.ear.unsure:
            kept_s, trim_s = UNSURE_KEPT_S, 2 * UNSURE_KEPT_S
        if not inside or self._words_end_s - self.state.window / SAMPLE_RATE < trim_s:
            return
        last = self._words_end_s
        leaving = [i for i in range(1, len(inside)) if last - inside[i].start >= kept_s]
        if not leaving:
            return
        best = max(leaving, key=lambda i: (min(0.3, inside[i].start - inside[i - 1].end), i))
        between = (inside[best - 1].end + inside[best].start) / 2
        self._cut_at(max(self.state.window, round(between * SAMPLE_RATE)))

    def _cut_at(self, sample: int) -> None:
        """Begin the window at `sample`; words that end before it become text before it."""
        at = sample / SAMPLE_RATE
        gone = [w for w in self.state.inside if w.end <= at]
        self.state = replace(
            self.state,
            window=sample,
            decoded=max(sample, self.state.decoded),
            inside=self.state.inside[len(gone) :],
            before=_last((*self.state.before, *(t for w in gone for t in w.tokens))),
        )
        self._tape.forget(sample)

    def _all_heard(self) -> bool:
        """Whether the last decode heard all of the utterance and something of the silence after it."""
        state = self.state
        beyond = state.decoded - state.ear.spoke
        return bool(state.hypotheses) and beyond >= HEARD_BEYOND_S * SAMPLE_RATE

    def _end(self, words: Sequence[LiveWord], language: str) -> list[Event]:
        """Commit what is left of an utterance, and begin to wait for the next."""
        state = self.state
        events = self._commit(words, language)
        language, inside = self.state.language, () if state.unsure else self.state.inside
        self.state = State(
            ear=state.ear,
            window=state.window if inside else state.end,
            decoded=state.end,
            inside=inside,
            before=state.before if inside else (),
            spoken=language or state.spoken,
        )
        self._tape.forget(self.state.window)
        return [
            *events,
            *([Tentative(())] if state.hypotheses else []),
            Ended(state.end / SAMPLE_RATE, language),
        ]


def _plain(words: Sequence[LiveWord]) -> tuple[Word, ...]:
    return tuple(w.word for w in words)


def _last(tokens: tuple[int, ...]) -> tuple[int, ...]:
    return tokens[-MOST_BEFORE:]


def pieces(samples: Samples, size: int) -> Iterator[Samples]:
    """Cut audio into packets of `size` samples, as clients send it."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
