"""`python -m whisper_lambda.aws api`: the entry point of the image on Lambda."""

from __future__ import annotations

import time

BEGUN = time.time()  # before anything that takes long is imported


def main() -> None:
    """Answer events until Lambda sends no more, then end at once."""
    import asyncio
    import os
    import signal
    import sys

    from whisper_lambda.aws.environment import Environment, open_environment
    from whisper_lambda.aws.runtime import run
    from whisper_lambda.aws.runtime_api import RuntimeApi
    from whisper_lambda.config import Platform, Settings
    from whisper_lambda.telemetry import configure_logging

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # Lambda gives two seconds; nothing is half-written
    platform = Platform.from_env()
    if not platform.runtime_api:
        sys.exit("AWS_LAMBDA_RUNTIME_API is not set: this runs on Lambda; elsewhere: whisper-lambda serve")
    role = sys.argv[1] if len(sys.argv) > 1 else "api"

    def opened() -> Environment:
        settings = Settings.from_env()
        configure_logging(settings)
        return open_environment(settings, platform, role, begun=BEGUN)

    code = asyncio.run(run(RuntimeApi(platform.runtime_api), platform, opened))
    sys.stdout.flush()
    os._exit(code)  # CTranslate2 and ONNX Runtime can deadlock while the interpreter winds down


if __name__ == "__main__":
    main()
