"""Warm-up: an answer that comes after a real decode only, and holds its environment while others start.

Lambda sends an event to a free environment before it starts another one. So that n warm-ups find n
environments, each keeps its own busy until the others must have begun.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from whisper_lambda.adapters.boto import failures
from whisper_lambda.aws.environment import Environment
from whisper_lambda.aws.http_event import BadEvent

MOST = 100  # environments one warm-up asks for
HOLD_S = 2.0  # each is kept busy for: all n are begun by then

Invoke = Callable[[Mapping[str, Any]], Mapping[str, Any]]  # the function itself, with another event


def warmed(event: Mapping[str, Any], environment: Environment, invoke: Invoke | None) -> dict[str, Any]:
    """Decode for real, and have n - 1 other environments do so at the same time.

    Args:
        event: {"warm": n, "hold_s": s}, or a schedule's event, which is one.
        environment: this one.
        invoke: calls this function again, and waits; None = it may not.

    Returns:
        What was decoded, and the ids of the distinct environments that were warm at the same time.

    Raises:
        BadEvent: n is no number of environments, or more than one is wanted and this function may not
            call itself.
    """
    count = event.get("warm", 1)
    hold_s = event.get("hold_s", HOLD_S if count != 1 else 0.0)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise BadEvent(f"warm is a number of environments, 1 to {MOST}, not {count!r}")
    if isinstance(hold_s, bool) or not isinstance(hold_s, int | float) or not 0 <= hold_s <= 60:  # noqa: PLR2004
        raise BadEvent("hold_s is seconds, 0 to 60")
    if count > 1 and invoke is None:
        raise BadEvent(
            "this function may not call itself: `whisper-lambda deploy warm` calls it n times instead"
        )
    with ThreadPoolExecutor(max(1, count - 1), thread_name_prefix="warm") as threads:
        ask = {"warm": 1, "hold_s": hold_s}
        others = [threads.submit(invoke, ask) for _ in range(count - 1)] if invoke else []
        own = _own(environment, hold_s)
        answers = [own, *(other.result() for other in others)]
    ids = sorted({e for a in answers for e in a.get("environments", ())})
    return {**own, "warm": count, "environments": ids, "decoded": all(a.get("decoded") for a in answers)}


def _own(environment: Environment, hold_s: float) -> dict[str, Any]:
    began = time.perf_counter()
    environment.readiness.probe()
    took_s = time.perf_counter() - began
    state = environment.readiness.state()
    time.sleep(max(0.0, hold_s - took_s))
    return {
        "warm": 1,
        "decoded": state.ready,
        "reason": state.reason,
        "took_s": round(took_s, 3),
        "environment": environment.id,
        "environments": [environment.id],
        "init_type": environment.platform.initialization,
    }


def itself(function: str, client: Callable[[], Any]) -> Invoke:
    """Return a way for a function to call itself, through boto3, loaded when it is first used.

    Args:
        function: its name, with the version after a colon: an alias's environments are its version's.
        client: gives boto3's client.
    """

    def invoke(event: Mapping[str, Any]) -> Mapping[str, Any]:
        with failures("a warm-up that calls its own function"):
            answer = client().invoke(FunctionName=function, Payload=json.dumps(event).encode())
            told = json.loads(answer["Payload"].read())
        return told if isinstance(told, dict) and "FunctionError" not in answer else {}

    return invoke
