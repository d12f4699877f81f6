"""What a function is sent, in one table: how an event is recognised, and what is done for it.

    http     a Function URL or API Gateway (2.0)      the application
    warm     {"warm": n}, an EventBridge schedule     a real decode; n environments at once
    queue    SQS, its messages S3's or {"job": id}    jobs begun; what failed is delivered again
    objects  S3, without a queue                      the same, whole or not at all
    step     {"step": "plan", "job": id, ...}         a part of a job, for Step Functions

Everything but HTTP answers with JSON. Recorded events are in tests/events/.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_plus

from whisper_lambda.aws.http_event import BadEvent, is_http

Event = Mapping[str, Any]
STEPS = ("plan", "chunk", "merge", "fail", "tell")
_CREATED = re.compile(r"(aws:)?s3:ObjectCreated:|ObjectCreated:")

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """What events have done for jobs. Every call may come again, and again at the same time."""

    def arrived(self, key: str, size_bytes: int) -> None:
        """An object is in the store: begin whatever waits for it; nothing may."""

    def begin(self, job_id: str) -> None:
        """Begin a job that was accepted."""

    def step(self, event: Event) -> Any:  # noqa: ANN401 - JSON, as Step Functions passes it on
        """Do one part of a job."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event."""

    name: str
    matches: Callable[[Event], bool]


def _from(source: str) -> Callable[[Event], bool]:
    def matches(event: Event) -> bool:
        records = event.get("Records")
        return isinstance(records, Sequence) and any(
            isinstance(r, Mapping) and r.get("eventSource") == source for r in records
        )

    return matches


TABLE = (
    Kind("http", is_http),
    Kind("warm", lambda event: "warm" in event or event.get("source") == "aws.events"),
    Kind("queue", _from("aws:sqs")),
    Kind("objects", lambda event: _from("aws:s3")(event) or _is_test(event)),
    Kind("step", lambda event: event.get("step") in STEPS),
)


def kind_of(event: object) -> str:
    """Return the name of an event's kind.

    Raises:
        BadEvent: it is none of the table's.
    """
    if isinstance(event, Mapping):
        for kind in TABLE:
            if kind.matches(event):
                return kind.name
    known = ", ".join(kind.name for kind in TABLE)
    raise BadEvent(f"this event is none of those the function knows: {known} (docs/aws-lambda.md)")


def parsed(raw: bytes) -> Event:
    """Return an event.

    Raises:
        BadEvent: it is no JSON object. An event beyond 6 MB comes cut short from some emulators.
    """
    try:
        event = json.loads(raw)
    except ValueError as cause:
        raise BadEvent(f"the event of {len(raw)} bytes is no JSON") from cause
    if not isinstance(event, dict):
        raise BadEvent("the event is no JSON object")
    return event


def queue(event: Event, jobs: Jobs) -> dict[str, Any]:
    """Do what a queue's messages say; return which are to be delivered again, and no other."""
    failed = []
    for record in event["Records"]:
        try:
            _message(record, jobs)
        except Exception as failure:
            log.warning("a message failed: %s", type(failure).__name__, exc_info=True)
            failed.append({"itemIdentifier": record.get("messageId", "")})
    return {"batchItemFailures": failed}


def objects(event: Event, jobs: Jobs) -> dict[str, Any]:
    """Do what an S3 notification says; a failure goes to S3's own retries."""
    done = 0
    for key, size_bytes in arrivals(event):
        jobs.arrived(key, size_bytes)
        done += 1
    return {"arrived": done}


def _message(record: Mapping[str, Any], jobs: Jobs) -> None:
    try:
        told = json.loads(record["body"])
    except (KeyError, TypeError, ValueError) as cause:
        raise BadEvent("the message is no JSON") from cause
    if not isinstance(told, Mapping):
        raise BadEvent("the message is no JSON object")
    if isinstance(told.get("job"), str):
        jobs.begin(told["job"])
    elif "Records" in told or _is_test(told):
        objects(told, jobs)
    else:
        raise BadEvent("the message names neither a job nor an object")


def arrivals(event: Event) -> Iterator[tuple[str, int]]:
    """Yield key and size of every object an S3 notification tells of.

    S3 says hello with a test event when a queue is connected; some stores tell of every part of a
    multipart upload, without a size or under a key nobody waits for: those are passed on like any other,
    because whoever waits for an object looks at the object itself.
    """
    if _is_test(event):
        return
    for record in event.get("Records", ()):
        if not _CREATED.match(str(record.get("eventName", ""))):
            continue
        try:
            told = record["s3"]["object"]
            yield unquote_plus(str(told["key"])), int(told.get("size") or 0)
        except (KeyError, TypeError, ValueError) as cause:
            raise BadEvent("the S3 notification names no object") from cause


def _is_test(event: Event) -> bool:
    return event.get("Event") == "s3:TestEvent"
