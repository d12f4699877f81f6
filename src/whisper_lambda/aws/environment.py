"""What one Lambda environment opens before its first event: the service, warm, and the application."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp

from whisper_lambda.audio import vad
from whisper_lambda.aws.emf import EmfMeter
from whisper_lambda.aws.events import Jobs
from whisper_lambda.aws.jobs import StepJobs
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.cloud import on_aws
from whisper_lambda.config import Platform, Settings
from whisper_lambda.errors import BadOption
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.health import Readiness
from whisper_lambda.http.keys import key_file
from whisper_lambda.staffing import open_desk, teller, workshop
from whisper_lambda.telemetry import Meter

# What a function is for is its image's command. Those that hear load the model before their first event.
ROLES = ("api", "events", "plan", "chunk", "merge")
HEARING = frozenset({"api", "chunk"})

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
    build: Callable[[Settings], Service] = build,
    begun: float | None = None,
) -> Environment:
    """Return an environment with everything open that its role needs.

    Args:
        settings: what the operator decided.
        platform: what Lambda says of this environment.
        role: what the function is for; one of ROLES.
        build: gives the service.
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
    settings = replace(
        settings,
        probe_every_s=0.0,  # a frozen process probes nothing; warm-ups do
        live_secret=settings.live_secret or settings.keys or "",  # what all environments have in common
    )
    service = build(settings)
    readiness = Readiness(service, every_s=0.0)
    if role in HEARING:
        _load(service)
        if platform.initialization != "on-demand":
            readiness.probe()  # before a snapshot, or ahead of need; on demand somebody waits for this
    birth: dict[str, Any] = {
        "init_type": platform.initialization,
        "cold_start_s": round(time.time() - begun, 3),
        "memory_mb": platform.memory_mb,
    }
    log.info("environment ready", extra={"facts": {"trigger": role, **birth}})
    meter = EmfMeter(platform.function, birth=birth)
    gates = Gates.of(service, settings, open_to_everyone=settings.lambda_auth == "iam", meter=meter)
    app = create_app(service, settings, gates=gates)
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


def _load(service: Service) -> None:
    """Load the model: what does not load shall fail here, and not in somebody's request.

    Meanwhile the decoding process starts and the voice detector loads: none of them waits for another.
    """
    service.decoders.warm()
    threading.Thread(target=vad.warm, name="warm-vad", daemon=True).start()
    with service.router.engine():
        pass
