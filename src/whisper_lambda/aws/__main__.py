"""`python -m whisper_lambda.aws api`: the entry point of the image on Lambda."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from whisper_lambda.bootstrap import Service
    from whisper_lambda.config import Settings

BEGUN = time.time()  # before anything that takes long is imported


def main() -> None:
    """Answer events until Lambda sends no more, then end at once."""
    import os
    import signal
    import sys

    from whisper_lambda.config import Platform

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # Lambda gives two seconds; nothing is half-written
    platform = Platform.from_env()
    if not platform.runtime_api:
        sys.exit("AWS_LAMBDA_RUNTIME_API is not set: this runs on Lambda; elsewhere: whisper-lambda serve")
    role = sys.argv[1] if len(sys.argv) > 1 else "api"
    begun = begin(role)  # the weights load while the application is imported

    import asyncio

    from whisper_lambda.aws.environment import Environment, open_environment
    from whisper_lambda.aws.runtime import run
    from whisper_lambda.aws.runtime_api import RuntimeApi
    from whisper_lambda.telemetry import configure_logging

    def opened() -> Environment:
        settings, service = begun.result()
        configure_logging(settings)
        environment = open_environment(settings, platform, role, service=service, begun=BEGUN)
        settle()
        return environment

    code = asyncio.run(run(RuntimeApi(platform.runtime_api), platform, opened))
    sys.stdout.flush()
    os._exit(code)  # CTranslate2 and ONNX Runtime can deadlock while the interpreter winds down


def begin(role: str) -> Future[tuple[Settings, Service]]:
    """Return the settings and the service, with its model on the way; or why there are none."""
    import gc
    from concurrent.futures import Future

    gc.disable()  # importing makes a million objects and no garbage: looking for some is a tenth of its time

    from whisper_lambda.aws import opening
    from whisper_lambda.config import Settings

    begun: Future[tuple[Settings, Service]] = Future()
    try:
        settings = Settings.from_env()
        begun.set_result((settings, opening.begin(settings, role)))
    except Exception as failure:  # noqa: BLE001 - Lambda is told of it, once there is something to tell it with
        begun.set_exception(failure)
    return begun


def settle() -> None:
    """Count what was opened as there for ever, and look for garbage again."""
    import gc

    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    main()
