"""The same function under AWS's own runtime client and Mangum: answers leave whole, never streamed.

For whoever must run on AWS's client: the function's handler is `whisper_lambda.aws.handler.handler`.
Importing this module opens everything, the model too: Lambda counts that as the initialisation.
"""

# ruff: noqa: E402 - the weights load while the rest is imported
from __future__ import annotations

import json
import time
from typing import Any

from whisper_lambda.aws.opening import begin
from whisper_lambda.config import Platform, Settings

_BEGUN = time.time()
_SETTINGS = Settings.from_env()
_SERVICE = begin(_SETTINGS, "api")  # the weights load while the application is imported

# isort: split
from mangum import Mangum

from whisper_lambda.aws import events
from whisper_lambda.aws.asgi import refused
from whisper_lambda.aws.deadline import Budget
from whisper_lambda.aws.doing import done
from whisper_lambda.aws.environment import open_environment
from whisper_lambda.aws.http_event import is_signed, stage_of, to_answer
from whisper_lambda.errors import KeyNotAllowed, OutOfTime
from whisper_lambda.telemetry import configure_logging

configure_logging(_SETTINGS)
_ENVIRONMENT = open_environment(_SETTINGS, Platform.from_env(), service=_SERVICE, begun=_BEGUN)


async def _staged(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - Mangum's own types
    """Run the application, telling it of the stage in the path: Mangum does not."""
    await _ENVIRONMENT.app({**scope, "root_path": stage_of(scope["aws.event"])}, receive, send)


_HTTP = Mangum(_staged, lifespan="off")


def handler(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401 - Lambda's own types
    """Answer one event.

    Raises:
        BadEvent: it is none of those the table knows.
        OutOfTime: there is no time left for it, and it is no HTTP request.
    """
    http = events.kind_of(event) == "http"
    try:
        return _answered(event, context)
    except (KeyNotAllowed, OutOfTime) as refusal:
        if not http:
            raise
        return json.loads(to_answer(*refused(refusal)))


def _answered(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401
    ends = time.time() + context.get_remaining_time_in_millis() / 1000
    kind = events.kind_of(event)
    with Budget(ends).spent():
        if kind != "http":
            return done(kind, event, _ENVIRONMENT)
        if _SETTINGS.lambda_auth == "iam" and not is_signed(event):
            raise KeyNotAllowed("this function answers signed requests only (AuthType AWS_IAM)")
        return _HTTP(event, context)
