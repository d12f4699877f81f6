"""Live sessions played on a clock of their own: audio comes in real time, steps take what they cost.

The clock advances with the audio, and by the processor seconds each decode really took. So figures
are those of a machine that does nothing else, even where this one does; a step of one session holds
one core, and sessions share as many cores as are said.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from whisper_lambda.live.pace import Pace
from whisper_lambda.live.session import Committed, Event, Session, Tentative
from whisper_lambda.ports import Engine
from whisper_lambda.types import SAMPLE_RATE, LiveWord, Options, Samples, Window, Word

PACKET_S = 0.1
WINDOW_S = 30.0
TRIM_S = 15.0  # the peer's window is cut when it is longer, as ufal/whisper_streaming does
OVERLAP_WORDS = 5  # and so many words are looked for that were committed already


@dataclass
class Played:
    """What one session showed, and when; seconds of the clock, which is the audio's."""

    audio_s: float
    cpu_s: float = 0.0
    words: list[Word] = field(default_factory=list)
    committed_at: list[float] = field(default_factory=list)  # of each word
    shown_at: list[float] = field(default_factory=list)  # of each word, tentative or not
    _showing: dict[tuple[int, str], float] = field(default_factory=dict)

    def show(self, events: Sequence[Event], now: float) -> None:
        """Note what a client sees at `now`."""
        for event in events:
            if isinstance(event, Committed):
                for word in event.words:
                    first = self._showing.get((len(self.words), _bare(word.text)), now)
                    self.shown_at.append(first)
                    self.committed_at.append(now)
                    self.words.append(word)
            elif isinstance(event, Tentative):
                for i, word in enumerate(event.words):
                    self._showing.setdefault((len(self.words) + i, _bare(word.text)), now)

    @property
    def text(self) -> str:
        """Everything that was committed."""
        return "".join(w.text for w in self.words).strip()


def play(sessions: Sequence[tuple[Session, Samples]], *, cores: int) -> list[Played]:
    """Play recordings into sessions at once, all of them in real time, on so many cores.

    Every session has at most one step waiting; a free core takes the one that has waited longest.
    """
    played = [Played(len(samples) / SAMPLE_RATE) for _, samples in sessions]
    fed = [0] * len(sessions)
    # (time, order, session): when a session looks at its audio next
    agenda = [(PACKET_S * (1 + i / len(sessions)), i, i) for i in range(len(sessions))]
    heapq.heapify(agenda)
    free_at = [0.0] * cores
    order = len(sessions)
    while agenda:
        now, _, i = heapq.heappop(agenda)
        session, samples = sessions[i]
        upto = min(len(samples), round(now * SAMPLE_RATE))
        over = upto == len(samples)
        began = time.process_time()
        events = session.take(samples[fed[i] : upto])
        played[i].cpu_s += time.process_time() - began
        played[i].show(events, now)
        fed[i] = upto
        if session.due or (over and session.state.open):
            core = min(range(cores), key=lambda c: free_at[c])
            start = max(now, free_at[core])
            began = time.process_time()
            events = session.step() if session.due else session.finish()
            cost = time.process_time() - began
            played[i].cpu_s += cost
            now = free_at[core] = start + cost
            played[i].show(events, now)
        elif over:
            continue
        else:
            now += PACKET_S
        order += 1
        heapq.heappush(agenda, (now, order, i))
    return played


def session_of(engine: Engine, language: str, pace: Pace) -> Session:
    """Return a session that knows its language."""
    return Session(engine, Options(language=language), pace=pace)


def play_peer(engine: Engine, samples: Samples, language: str, *, step_s: float = 1.0) -> Played:
    """Play a recording into LocalAgreement-2 as ufal/whisper_streaming does it: 30 s windows, no VAD.

    Each second the whole buffer is decoded again from its start; what two decodes agree on is
    committed; committed words leave when the buffer is longer than 15 s. Its own code is not used:
    this is its algorithm on our engine, so that only the algorithm differs.
    """
    played = Played(len(samples) / SAMPLE_RATE)
    start, last, now = 0.0, 0.0, 0.0
    before: tuple[int, ...] = ()
    inside: list[LiveWord] = []
    hypothesis: list[LiveWord] = []
    while last < played.audio_s:
        now = max(now, min(last + step_s, played.audio_s))
        last = min(now, played.audio_s)
        heard = samples[round(start * SAMPLE_RATE) : round(last * SAMPLE_RATE)]
        window = np.zeros(round(WINDOW_S * SAMPLE_RATE), np.float32)
        window[: len(heard)] = heard[-len(window) :]
        began = time.process_time()
        told = engine.listen(Window(window, start, before=before), Options(language=language))
        cost = time.process_time() - began
        played.cpu_s += cost
        now += cost
        fresh = _after(told.words, inside, start + len(heard) / SAMPLE_RATE)
        agreed = 0
        while agreed < min(len(fresh), len(hypothesis)) and _bare(fresh[agreed].text) == _bare(
            hypothesis[agreed].text
        ):
            agreed += 1
        if last >= played.audio_s:
            agreed = len(fresh)
        played.show([Committed(tuple(w.word for w in fresh[:agreed]), language)], now)
        hypothesis = fresh[agreed:]
        played.show([Tentative(tuple(w.word for w in hypothesis))], now)
        inside += fresh[:agreed]
        if last - start > TRIM_S and inside:
            start = inside[-1].end
            before = tuple(t for w in inside for t in w.tokens)[-48:]
            inside = []
        elif last - start > WINDOW_S - step_s:
            start = last - TRIM_S
    return played


def _after(words: Sequence[LiveWord], inside: Sequence[LiveWord], stop: float) -> list[LiveWord]:
    """Return the words that come after those committed: by time, then by what they repeat."""
    at = inside[-1].end if inside else 0.0
    fresh = [w for w in words if w.end > at - 0.1 and w.start < stop]
    for n in range(min(OVERLAP_WORDS, len(inside), len(fresh)), 0, -1):
        if [_bare(w.text) for w in fresh[:n]] == [_bare(w.text) for w in inside[-n:]]:
            return fresh[n:]
    return fresh


def idle_cpu(make: Callable[[], Session], seconds: int = 60) -> dict[str, float]:
    """Return the share of a core a session takes while nobody speaks: in silence, and in a quiet room."""
    found = {}
    room = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32) * 0.0006  # -64 dBFS
    for name, second in (("silence", np.zeros(SAMPLE_RATE, np.float32)), ("quiet room", room)):
        session = make()
        session.feed(second)
        began = time.process_time()
        for _ in range(seconds):
            for at in range(0, SAMPLE_RATE, 1600):
                session.feed(second[at : at + 1600])
        found[name] = (time.process_time() - began) / seconds
    return found


def _bare(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
