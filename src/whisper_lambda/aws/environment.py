"""What one Lambda environment opens before its first event: the service, warm, and the application."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from whisper_lambda.aws.emf import EmfMeter
from whisper_lambda.aws.events import Jobs
from whisper_lambda.aws.jobs import StepJobs
from whisper_lambda.aws.opening import HEARING, ROLES, begin, on_lambda
from whisper_lambda.bootstrap import Service
from whisper_lambda.cloud import on_aws
from whisper_lambda.config import Platform, Settings
from whisper_lambda.errors import BadOption
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.health import Readiness
from whisper_lambda.http.keys import key_file
from whisper_lambda.staffing import open_desk, teller, workshop
from whisper_lambda.telemetry import Meter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment, ready for events. One event at a time comes to it."""

    id: str  # tells environments apart in answers to warm-ups and in the log
    settings: Settings
    platform: Platform
    service: Service
    app: ASGIApp
    meter: Meter
    readiness: Readiness
    jobs: Jobs | None = None  # None: no place to keep them is set
    invoke: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = (
        None  # this function, with another event
    )


def check_door(settings: Settings) -> None:
    """Refuse to start a function that anybody could use.

    A Function URL without a key is an open purse: 1,000 environments of 10 GB cost USD 600 an hour.

    Raises:
        BadOption: there is no live key and requests need not be signed either, or a setting makes no sense.
    """
    if settings.lambda_auth not in ("key", "iam"):
        raise BadOption(f"WHISPER_LAMBDA_LAMBDA_AUTH is key or iam, not {settings.lambda_auth!r}")
    if settings.lambda_invoke_mode not in ("stream", "buffered"):
        raise BadOption(
            f"WHISPER_LAMBDA_LAMBDA_INVOKE_MODE is stream or buffered, not {settings.lambda_invoke_mode!r}"
        )
    now = time.time()
    if settings.lambda_auth == "key" and not any(key.live(now) for key in key_file(settings).listed()):
        raise BadOption(
            "this function has no live API key, so anybody who finds its address could use it: put what "
            "`whisper-lambda keys export` prints into WHISPER_LAMBDA_KEYS; or set the URL's AuthType to "
            "AWS_IAM and WHISPER_LAMBDA_LAMBDA_AUTH to iam"
        )


def open_environment(
    settings: Settings,
    platform: Platform,
    role: str = "api",
    *,
    service: Service | None = None,
    begun: float | None = None,
) -> Environment:
    """Return an environment with everything open that its role needs.

    Args:
        settings: what the operator decided.
        platform: what Lambda says of this environment.
        role: what the function is for; one of ROLES.
        service: what `opening.begin` gave for the same settings and role; None = it is asked here.
        begun: when this process began, seconds since the epoch; None = now.

    Raises:
        BadOption: no such role, or the door would be open to everybody.
        WhisperLambdaError: the model cannot be had or does not load.
    """
    begun = time.time() if begun is None else begun
    if role not in ROLES:
        raise BadOption(f"the function's command is one of {', '.join(ROLES)}, not {role!r}")
    if role == "api":
        check_door(settings)
    settings = on_lambda(settings)
    service = service or begin(settings, role)
    meter = EmfMeter(platform.function)
    gates = Gates.of(service, settings, open_to_everyone=settings.lambda_auth == "iam", meter=meter)
    app = create_app(service, settings, gates=gates)  # while the weights are still being loaded
    readiness = Readiness(service, every_s=0.0)
    if role in HEARING:
        with service.router.engine():
            pass  # what does not load shall fail here, and not in somebody's request
        if platform.initialization != "on-demand":
            readiness.probe()  # before a snapshot, or ahead of need; on demand somebody waits for this
    birth: dict[str, Any] = {
        "init_type": platform.initialization,
        "cold_start_s": round(time.time() - begun, 3),
        "memory_mb": platform.memory_mb,
    }
    log.info("environment ready", extra={"facts": {"trigger": role, **birth}})
    meter.born(birth)
    return Environment(
        f"env_{secrets.token_hex(6)}",
        settings,
        platform,
        service,
        app,
        meter,
        readiness,
        step_jobs(service, settings) if on_aws(settings) else None,
    )


def step_jobs(service: Service, settings: Settings) -> StepJobs:
    """Return what events have done for jobs; no store is opened before the first."""
    desk = open_desk(settings)
    return StepJobs(desk, lambda: workshop(service, desk), teller(desk).tell)
