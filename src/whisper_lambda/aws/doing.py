"""What is done for an event that is no HTTP request."""

from __future__ import annotations

from whisper_lambda.adapters.boto import Client
from whisper_lambda.aws import events, warm
from whisper_lambda.aws.environment import Environment
from whisper_lambda.aws.http_event import BadEvent
from whisper_lambda.config import Platform


def done(kind: str, event: events.Event, environment: Environment) -> object:
    """Do what an event says; return the JSON it is answered with.

    Raises:
        BadEvent: the event asks for something this function cannot do.
        WhisperLambdaError: it was tried, and failed.
    """
    if kind == "warm":
        return warm.warmed(event, environment, environment.invoke or _itself(environment.platform))
    if environment.jobs is None:
        raise BadEvent("this function was given no place to keep jobs: WHISPER_LAMBDA_BUCKET and ..._TABLE")
    if kind == "queue":
        return events.queue(event, environment.jobs)
    if kind == "objects":
        return events.objects(event, environment.jobs)
    return environment.jobs.step(event)


def _itself(platform: Platform) -> warm.Invoke | None:
    """Return a way for the function to call itself, the same version; boto3 is loaded when it does."""
    if not platform.function:
        return None
    name = f"{platform.function}:{platform.version}" if platform.version else platform.function
    return warm.itself(name, Client("lambda", once=True))
