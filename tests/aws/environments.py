"""Environments for the runtime's loop: any ASGI application, or the real one with a FakeEngine."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fake_runtime_api import FakeRuntimeApi

from fakes import FakeEngine, fake_service
from whisper_lambda.aws.emf import EmfMeter
from whisper_lambda.aws.environment import Environment
from whisper_lambda.aws.runtime import run
from whisper_lambda.aws.runtime_api import RuntimeApi
from whisper_lambda.config import Platform, Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.health import Readiness

READY_TEXT = " Please check the number and try again."
ON_LAMBDA = Platform(function="api", memory_mb=3008)


@contextmanager
def environment(
    app: Any = None,
    *,
    settings: Settings | None = None,
    engine: FakeEngine | None = None,
    jobs: Any = None,
    invoke: Any = None,
) -> Iterator[Environment]:
    """Yield an environment; its metrics' lines are in `environment.lines`."""
    settings = replace(settings or Settings(), probe_every_s=0.0)
    lines = io.StringIO()
    with fake_service(engine or FakeEngine(text=READY_TEXT), settings) as service:
        meter = EmfMeter("api", out=lines)
        gates = Gates.of(service, settings, open_to_everyone=settings.keys is None, meter=meter)
        readiness = Readiness(service, every_s=0.0)
        yield Environment(
            "env_test",
            settings,
            ON_LAMBDA,
            service,
            app or create_app(service, settings, gates=gates),
            meter,
            readiness,
            jobs,
            invoke,
        )


@contextmanager
def running(
    api: FakeRuntimeApi, env: Environment, platform: Platform = ON_LAMBDA
) -> Iterator[threading.Thread]:
    """Run the loop in a thread for as long as the block does."""
    thread = threading.Thread(
        target=lambda: asyncio.run(run(RuntimeApi(api.address), platform, lambda: env)), daemon=True
    )
    thread.start()
    try:
        yield thread
    finally:
        api.stop()
        thread.join(60)
        assert not thread.is_alive(), "the loop did not end"
