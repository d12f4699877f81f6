"""When the time to answer in ends first: what was heard by then, and a token to go on from there.

The token says which recording, from which second on, and in which language; it is sealed and of no
use to another tenant. Whoever sends the recording again with it gets the rest, on the recording's timeline.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from whisper_lambda import pipeline
from whisper_lambda.audio.identity import identity
from whisper_lambda.bootstrap import Source
from whisper_lambda.errors import BadResume, OutOfTime
from whisper_lambda.http.listening import Wish
from whisper_lambda.live.seals import Seal
from whisper_lambda.transcript import documents
from whisper_lambda.types import ChunkResult, ModelChoice, Plan

PURPOSE = "resume"
LIVES_S = 86_400.0


@dataclass(slots=True)
class SoFar:
    """What is heard of a recording while it is being heard. One thread adds, another may look."""

    plan: Plan | None = None
    choice: ModelChoice | None = None
    results: list[ChunkResult] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, plan: Plan, choice: ModelChoice) -> None:
        """Note what is to be heard."""
        with self.lock:
            self.plan, self.choice = plan, choice

    def add(self, result: ChunkResult) -> None:
        """Note one chunk more, in recording order."""
        with self.lock:
            self.results.append(result)


def out_of_time(
    so_far: SoFar, source: Source, wish: Wish, seal: Seal, tenant: str, now: float
) -> tuple[OutOfTime, float]:
    """Return the refusal that holds what was heard, and the token to go on with.

    Args:
        so_far: what was heard.
        source: the recording.
        wish: what was asked for.
        seal: seals the token.
        tenant: whose it is.
        now: seconds since the epoch.

    Returns:
        It, and the seconds of the recording that were not heard; infinite where nothing was.
    """
    with so_far.lock:
        plan, choice, results = so_far.plan, so_far.choice, list(so_far.results)
    known = identity(source)
    if plan is None or not results or known is None or wish.by_channel:
        nothing = "the time to answer in was over before anything was heard: send it as a job, or in parts"
        return OutOfTime(nothing), math.inf
    heard_s = plan.starts[len(results)] if len(results) < plan.count else plan.duration
    heard = pipeline.finish(plan, results, choice=choice)
    late = OutOfTime(
        f"the time to answer in was over at {heard_s:.1f} of {plan.duration:.1f} s: `partial` is what was "
        "heard; send the recording again with the field `resume` to hear the rest, or send it as a job"
    )
    token = seal.sealed(
        PURPOSE,
        {
            "recording": known.digest.hex(),
            "from_s": heard_s,
            "language": plan.options.language,
            "tenant": hashlib.sha256(tenant.encode()).hexdigest(),
            "exp": round(now + LIVES_S),
        },
    )
    said = documents.to_verbose_json(heard)
    late.details = {
        "partial": {
            "text": heard.text,
            "language": heard.language,
            "heard_s": round(heard_s, 3),
            "duration": round(plan.duration, 3),
            "segments": said["segments"],
        },
        "resume": token,
    }
    return late, plan.duration - heard_s


def resumed(text: str, source: Source, wish: Wish, seal: Seal, tenant: str, now: float) -> Wish:
    """Return the wish for the rest of a recording.

    Args:
        text: the token.
        source: the recording, sent again.
        wish: what is asked for this time.
        seal: sealed the token.
        tenant: who sends it.
        now: seconds since the epoch.

    Raises:
        BadResume: it was not sealed here, has expired, or is of another recording or tenant.
    """
    said = seal.opened(PURPOSE, text)
    if said is None:
        raise BadResume("this resume token was not made here")
    if now >= said["exp"]:
        raise BadResume("this resume token has expired: send the recording without it")
    known = identity(source)
    whose = hashlib.sha256(tenant.encode()).hexdigest()
    if known is None or known.digest.hex() != said["recording"] or whose != said["tenant"]:
        raise BadResume("this resume token is of another recording: send the same file, byte for byte")
    options = wish.options
    if said["language"] and not options.multilingual:
        options = replace(options, language=said["language"])
    return replace(wish, options=options, from_s=float(said["from_s"]))


def repetition(named: str, source: Source, wish: Wish) -> Callable[[], str]:
    """Return what names a request and every other try of it, so that a key's day pays for one of them.

    The recording and the wish are part of the name: what a try is spared, the one before it heard.

    Args:
        named: the client's idempotency key; "" = it has none, and each try counts.
        source: the recording; it is read when the name is asked for.
        wish: what is to be heard; where nothing of it is remembered each try counts, too.
    """

    def name() -> str:
        known = identity(source)
        return hashlib.sha256(f"{named} {wish!r} ".encode() + known.digest).hexdigest() if known else ""

    return name if named and wish.tenant is not None else str
