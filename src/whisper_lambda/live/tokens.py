"""A session's state as a sealed text and back: what lets any machine do the next step.

A token is bound to its tenant and session, counts its step and expires. It holds the words of its
own client and no audio: the client keeps that, and sends it again from where the token says.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from whisper_lambda.audio.vad import CONTEXT, Memory
from whisper_lambda.errors import LiveTokenExpired, LiveTokenRefused
from whisper_lambda.live.endpoints import Ear
from whisper_lambda.live.seals import Seal
from whisper_lambda.live.session import State
from whisper_lambda.plain import from_plain, to_plain
from whisper_lambda.types import LiveWord, Samples

PURPOSE = "live"
VALID_S = 120.0  # a step comes within this after the one before
KEPT_S = 3_600.0  # for so long it is known which step was the last
_STATE_SHAPE = (2, 1, 128)
_KEPT_WORDS = 400  # of one hypothesis: far more than a window holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a session that lives in a token has come."""

    tenant: str
    session: str
    step: int
    state: State
    language: str  # as asked for at the start; "" = heard for each utterance
    prompt: str
    model: str  # as asked for; "" = the default
    delay: str
    heard_s: float = 0.0  # audio so far


def written(progress: Progress, seal: Seal, now: float) -> str:
    """Return the token of a step that was done."""
    said = {f.name: getattr(progress, f.name) for f in fields(Progress) if f.name != "state"}
    return seal.sealed(PURPOSE, {**said, "exp": now + VALID_S, "state": _plain(progress.state)})


def read(text: str, seal: Seal, now: float, *, tenant: str, session: str) -> Progress:
    """Return what a token says.

    Raises:
        LiveTokenRefused: it was not made here, or for another tenant or session.
        LiveTokenExpired: the step comes too late.
    """
    said = seal.opened(PURPOSE, text)
    if said is None:
        raise LiveTokenRefused("this token was not made here; begin the session again without one")
    if said["tenant"] != tenant or said["session"] != session:
        raise LiveTokenRefused("this token is another session's; send the one the last step answered with")
    if now >= said["exp"]:
        raise LiveTokenExpired(f"the last step was more than {VALID_S:.0f} s ago; begin a new session")
    values = {f.name: said[f.name] for f in fields(Progress) if f.name != "state"}
    return Progress(**values, state=_state(said["state"]))


def fits(state: State, tail: Samples) -> bool:
    """Tell whether a tail reaches at least as far as the state has listened."""
    return len(tail) >= state.ear.at - state.window


def _plain(state: State) -> dict[str, Any]:
    ear = state.ear
    plain = {f.name: to_plain(getattr(state, f.name)) for f in fields(State) if f.name != "ear"}
    heard = {f.name: getattr(ear, f.name) for f in fields(Ear) if f.name != "memory"}
    memory = np.concatenate([ear.memory.state.ravel(), ear.memory.context]).astype("<f2")
    return {**plain, "ear": heard, "memory": base64.b64encode(memory.tobytes()).decode()}


def _state(plain: dict[str, Any]) -> State:
    flat = np.frombuffer(base64.b64decode(plain["memory"]), "<f2").astype(np.float32)
    memory = Memory(flat[:-CONTEXT].reshape(_STATE_SHAPE), flat[-CONTEXT:])
    rest = {f.name: plain[f.name] for f in fields(State) if f.name not in {"ear", "hypotheses", "inside"}}
    rest["before"] = tuple(rest["before"])
    hypotheses = tuple(_words(line) for line in plain["hypotheses"])
    ear = Ear(**plain["ear"], memory=memory)
    return State(ear=ear, inside=_words(plain["inside"]), hypotheses=hypotheses, **rest)


def _words(plain: list[Any]) -> tuple[LiveWord, ...]:
    return tuple(from_plain(LiveWord, word) for word in plain[:_KEPT_WORDS])
