"""The loop of a Lambda environment: next event in, answer out, one at a time, for as long as it lives.

Ours instead of the one AWS ships for Python, because that cannot stream (docs/decisions/0007).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from whisper_lambda import telemetry
from whisper_lambda.aws import events
from whisper_lambda.aws.asgi import Sink, Streamed, Whole, answer
from whisper_lambda.aws.deadline import Budget
from whisper_lambda.aws.doing import done
from whisper_lambda.aws.environment import Environment
from whisper_lambda.aws.http_event import BadEvent, to_request
from whisper_lambda.aws.runtime_api import ApiGone, Failure, Invocation, RuntimeApi
from whisper_lambda.config import Platform
from whisper_lambda.economy.receipt import invocation_bill
from whisper_lambda.errors import ClientError, KeyNotAllowed, OutOfTime, WhisperLambdaError

log = logging.getLogger(__name__)


async def run(api: RuntimeApi, platform: Platform, opened: Callable[[], Environment]) -> int:
    """Open the environment and answer events until there are no more; return the exit code.

    Args:
        api: where events come from.
        platform: what Lambda says of this environment.
        opened: opens everything; what it raises is told Lambda as a failed initialisation.
    """
    try:
        environment = opened()
    except Exception as failure:
        log.exception("this environment could not be opened")
        await api.fail_init(failure_of(failure))
        return 1
    if platform.initialization == "snap-start":
        await restored(api)
    while True:
        try:
            invocation = await api.next()
        except ApiGone as gone:
            log.info("no more events: %s", gone)
            return 0
        await serve(api, environment, invocation)


async def restored(api: RuntimeApi) -> None:
    """Let Lambda take its snapshot here, and go on in one of many copies of it.

    What must differ between copies is made anew: nothing random was drawn before but from the kernel,
    which knows that it was copied, and from Python's own generator.
    """
    await api.restored()
    random.seed()


async def serve(api: RuntimeApi, environment: Environment, invocation: Invocation) -> None:
    """Answer one invocation: with its answer or with a failure, but always."""
    budget = Budget(invocation.deadline)
    kind, began = "", time.perf_counter()
    try:
        event = events.parsed(invocation.event)
        kind = events.kind_of(event)
        if kind == "http":
            await _http(api, environment, invocation, event, budget)
            return
        with budget.spent():
            work = asyncio.create_task(asyncio.to_thread(done, kind, event, environment))
            finished, _ = await asyncio.wait({work}, timeout=budget.guard_s)
        if not finished:
            late = OutOfTime(f"the function's time was over before the {kind} event was done")
            await _failed(api, invocation, late)
            return
        await api.respond(invocation.id, json.dumps(work.result()).encode())
    except ApiGone as gone:
        log.warning("an answer found no taker: %s", gone)
    except Exception as failure:
        log.exception("an event failed")
        await _failed(api, invocation, failure)
    finally:
        if kind != "http":
            took_s = time.perf_counter() - began
            bill = invocation_bill(environment.settings, took_s)
            environment.meter.count({"trigger": kind or "unknown", "duration_s": took_s, **bill})


async def _http(
    api: RuntimeApi, environment: Environment, invocation: Invocation, event: events.Event, budget: Budget
) -> None:
    request = to_request(event, invocation.id)
    sink: Sink
    if environment.settings.lambda_invoke_mode == "stream":
        sink = Streamed(partial(api.stream, invocation.id))
    else:
        sink = Whole(partial(api.respond, invocation.id))
    app = environment.app
    if environment.settings.lambda_auth == "iam":
        request.scope["state"]["facts"] = {"tenant": f"aws.{request.identity}"}
        if not request.identity:
            app = _refusing(KeyNotAllowed("this function answers signed requests only (AuthType AWS_IAM)"))
    try:
        with budget.spent():
            await answer(app, request, sink, within_s=budget.guard_s)
    except OutOfTime as late:
        await answer(_refusing(late), request, sink, within_s=budget.remaining_s)


def _refusing(error: WhisperLambdaError) -> Any:  # noqa: ANN401 - an ASGI application
    async def app(*_: object) -> None:
        raise error

    return app


async def _failed(api: RuntimeApi, invocation: Invocation, failure: Exception) -> None:
    try:
        await api.fail(invocation.id, failure_of(failure))
    except ApiGone as gone:
        log.warning("a failure found no taker: %s", gone)


def failure_of(failure: Exception) -> Failure:
    """Return what Lambda and Step Functions are told: whose fault it was, and no value of the event.

    The state machine tries again what is a ServerError, and gives up what is a ClientError.
    """
    if isinstance(failure, BadEvent | ClientError):
        return Failure("ClientError", str(failure))
    if isinstance(failure, WhisperLambdaError):
        return Failure("ServerError", f"{failure} ({failure.code})", telemetry.where(failure))
    return Failure("ServerError", f"unexpected {type(failure).__name__}", telemetry.where(failure))
