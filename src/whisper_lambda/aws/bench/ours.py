"""Our Lambda function, from its entry point to the answer of one event. argv: role, file with the event."""

from __future__ import annotations

from whisper_lambda.aws.bench.phases import Phases

PHASES = Phases()
PHASES.done("interpreter")

import asyncio
import json
import sys
import time
from pathlib import Path

from whisper_lambda.aws import runtime
from whisper_lambda.aws.environment import open_environment
from whisper_lambda.aws.runtime_api import Invocation
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Platform, Settings

PHASES.done("import")


def loaded(settings: Settings) -> Service:
    """Return the service with its model loaded."""
    service = build(settings)
    with service.router.engine():
        PHASES.done("weights")
    return service


class Taken:
    """Keeps an answer."""

    body = b""

    async def respond(self, _: str, body: bytes) -> None:
        """Take it."""
        self.body = body


environment = open_environment(Settings.from_env(), Platform(), sys.argv[1], build=loaded)
PHASES.done("first decode")
taken = Taken()
event = Path(sys.argv[2]).read_bytes()
asyncio.run(runtime.serve(taken, environment, Invocation("one", event, time.time() + 120)))  # type: ignore[arg-type]
PHASES.done("answer")
PHASES.tell(json.loads(json.loads(taken.body)["body"])["text"])
environment.service.close()
