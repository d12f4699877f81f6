"""Our Lambda function, from its entry point to the answer of one event. argv: role, file with the event."""

from __future__ import annotations

from whisper_lambda.aws.bench.phases import Phases

PHASES = Phases()
PHASES.done("interpreter")

import sys

from whisper_lambda.aws.__main__ import begin, settle

begun = begin(sys.argv[1])

import asyncio
import json
import time
from pathlib import Path

from whisper_lambda.aws import runtime
from whisper_lambda.aws.environment import open_environment
from whisper_lambda.aws.runtime_api import Invocation
from whisper_lambda.config import Platform

PHASES.done("import")


class Taken:
    """Keeps an answer."""

    body = b""

    async def respond(self, _: str, body: bytes) -> None:
        """Take it."""
        self.body = body


settings, service = begun.result()
environment = open_environment(settings, Platform(), sys.argv[1], service=service)
settle()
PHASES.done("weights")
taken = Taken()
event = Path(sys.argv[2]).read_bytes()
asyncio.run(runtime.serve(taken, environment, Invocation("one", event, time.time() + 900)))  # type: ignore[arg-type]
PHASES.done("answer")
PHASES.tell(json.loads(json.loads(taken.body)["body"])["text"])
service.close()
