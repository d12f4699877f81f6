"""A session's events in, the Realtime API's server events out. Pure: no socket, no clock.

Items are utterances where the server ends turns, and what was said between two commits where the
client does. A delta only ever adds committed words; an item's transcript is its deltas, joined.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from whisper_lambda.http.realtime.configuration import LOGPROBS, TENTATIVE, WORDS
from whisper_lambda.live import session as live
from whisper_lambda.types import Word

Sent = dict[str, Any]  # one server event

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


def new_id(kind: str) -> str:
    """Return an id nobody can guess, e.g. `item_…`."""
    return f"{kind}_{secrets.token_hex(12)}"


def event(kind: str, **members: Any) -> Sent:  # noqa: ANN401 - whatever JSON holds
    """Return a server event."""
    return {"type": kind, "event_id": new_id("event"), **members}


class Conversation:
    """Keeps which item is open and what was said in it."""

    def __init__(
        self, *, commits: bool, include: Iterable[str] = (), name: Callable[[], str] | None = None
    ) -> None:
        """Begin.

        Args:
            commits: the client ends turns.
            include: what is to be sent beside the usual.
            name: names items.
        """
        self.commits = commits
        self.include = frozenset(include)
        self._name = name or (lambda: new_id("item"))
        self._item: str | None = None
        self._previous: str | None = None
        self._text = ""
        self._words: list[Word] = []
        self._began_s = 0.0  # where the open item's audio begins
        self._language = ""
        self._committed = False  # the open item's audio
        self._unannounced: float | None = None  # an unsure utterance that has said nothing yet began here

    @property
    def item(self) -> str | None:
        """The open item's id."""
        return self._item

    def told(self, happened: Iterable[live.Event]) -> list[Sent]:
        """Return what a client is to be told of what happened."""
        sent: list[Sent] = []
        for one in happened:
            if isinstance(one, live.Started):
                sent += self._started(one)
            elif isinstance(one, live.Committed):
                sent += self._said(one)
            elif isinstance(one, live.Tentative):
                sent += self._tentative(one)
            elif isinstance(one, live.Stopped):
                sent += self._stopped(one)
            elif not self.commits:
                sent += self._ended(one.at)
        return sent

    def begin(self, at: float) -> None:
        """Open an item whose audio begins at `at` seconds: the client has sent some."""
        if self._item is None:
            self._item, self._began_s, self._text, self._words = self._name(), at, "", []
            self._committed = False

    def commit(self, at: float) -> list[Sent]:
        """Return what follows a client's commit, before what is left of the item is decoded."""
        self.begin(at)
        return self._commit()

    def finished(self, at: float) -> list[Sent]:
        """Return what ends the open item, if there is one: all its words are told."""
        return self._ended(at)

    def failed(self, error: Sent, at: float) -> list[Sent]:
        """Return what ends the open item when no more of it can be heard."""
        if self._item is None:
            return []
        sent = [
            *self._commit(),
            event(f"{_TRANSCRIPTION}.failed", item_id=self._item, content_index=0, error=error),
        ]
        self._close()
        return sent

    def _started(self, one: live.Started) -> list[Sent]:
        if self.commits:
            return []
        if one.unsure:
            self._unannounced = one.at
            return []
        return self._announce(one.at)

    def _announce(self, at: float) -> list[Sent]:
        self.begin(at)
        self._unannounced = None
        began_ms = round(at * 1000)
        return [event("input_audio_buffer.speech_started", audio_start_ms=began_ms, item_id=self._item)]

    def _said(self, one: live.Committed) -> list[Sent]:
        sent = self._announce(self._unannounced) if self._unannounced is not None else []
        self.begin(one.words[0].start)
        delta = "".join(w.text for w in one.words)
        if not self._text:
            delta = delta.lstrip()
        self._text += delta
        self._words += one.words if WORDS in self.include or LOGPROBS in self.include else ()
        self._language = one.language or self._language
        if delta:
            members = self._logprobs(one.words)
            sent.append(
                event(f"{_TRANSCRIPTION}.delta", item_id=self._item, content_index=0, delta=delta, **members)
            )
        if WORDS in self.include:
            sent.append(event(WORDS, item_id=self._item, content_index=0, words=_to_wire(one.words)))
        return sent

    def _tentative(self, one: live.Tentative) -> list[Sent]:
        if TENTATIVE not in self.include or (self._item is None and not one.words):
            return []
        text = "".join(w.text for w in one.words)
        return [
            event(
                TENTATIVE,
                item_id=self._item,
                content_index=0,
                text=text if self._text else text.lstrip(),
                words=_to_wire(one.words),
            )
        ]

    def _stopped(self, one: live.Stopped) -> list[Sent]:
        if self.commits or self._item is None:
            return []
        ended_ms = round(one.at * 1000)
        stopped = event("input_audio_buffer.speech_stopped", audio_end_ms=ended_ms, item_id=self._item)
        return [stopped, *self._commit()]

    def _commit(self) -> list[Sent]:
        if self._committed:
            return []
        self._committed = True
        item = {
            "id": self._item,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        before = self._previous
        return [
            event("input_audio_buffer.committed", item_id=self._item, previous_item_id=before),
            event("conversation.item.added", previous_item_id=before, item=item),
            event("conversation.item.done", previous_item_id=before, item=item),
        ]

    def _ended(self, at: float) -> list[Sent]:
        self._unannounced = None
        if self._item is None:
            return []
        sent = self._commit()
        members = self._logprobs(self._words)
        if self._language:
            members["languages"] = [{"code": self._language}]
        seconds = round(max(0.0, at - self._began_s), 3)
        sent.append(
            event(
                f"{_TRANSCRIPTION}.completed",
                item_id=self._item,
                content_index=0,
                transcript=self._text,
                usage={"type": "duration", "seconds": seconds},
                **members,
            )
        )
        self._close()
        return sent

    def _close(self) -> None:
        self._previous, self._item, self._text, self._words = self._item, None, "", []
        self._committed, self._language = False, ""

    def _logprobs(self, words: Sequence[Word]) -> dict[str, Any]:
        if LOGPROBS not in self.include:
            return {}
        return {
            "logprobs": [
                {
                    "token": w.text,
                    "bytes": list(w.text.encode()),
                    "logprob": round(math.log(max(w.probability, 1e-10)), 4),
                }
                for w in words
            ]
        }


def _to_wire(words: Sequence[Word]) -> list[dict[str, Any]]:
    return [{"word": w.text, "start": w.start, "end": w.end, "probability": w.probability} for w in words]
