"""A call in, its reply out: tried again where that is of use, and expected to be what it should be."""

from __future__ import annotations

import random
from typing import Any

from whisper_lambda.client.replies import failure, parsed, wait_s
from whisper_lambda.client.steps import Call, Conversation, Reply, Wait
from whisper_lambda.client.wanted import Wanted
from whisper_lambda.errors import RemoteFailed


def pause_s(reply: Reply, attempt: int) -> float | None:
    """Return the wait before the next attempt, a little different for every client."""
    return wait_s(reply, attempt, random.random())


def retried(wanted: Wanted, call: Call, *, undo: Call | None = None) -> Conversation[Reply]:
    """Make a call until it comes through, or trying again is no use; the last reply is returned.

    Args:
        wanted: says how often it is tried.
        call: to make.
        undo: sent when the caller gives up between two tries.

    Raises:
        ServerUnreachable: nobody answered, however often it was tried.
    """
    attempt = 1
    while True:
        reply: Reply = yield call
        pause = wait_s(reply, attempt, random.random())
        if pause is None or attempt >= wanted.attempts:
            if reply.status == 0:
                raise failure(reply)
            return reply
        yield Wait(pause, undo)
        attempt += 1


def expected(reply: Reply, *members: str) -> dict[str, Any]:
    """Return the object a successful reply carries.

    Raises:
        WhisperLambdaError: what the server said instead; RemoteFailed where it lacks one of these members.
    """
    if not 200 <= reply.status < 300:  # noqa: PLR2004
        raise failure(reply)
    told = parsed(reply)
    for name in members:
        if not isinstance(told.get(name), str):
            raise RemoteFailed(f"the server's answer has no {name}; is it a transcription server of ours?")
    return told
