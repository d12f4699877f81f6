"""The long way: a ticket, the bytes under it, a job, and its end awaited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote, urljoin, urlsplit

from whisper_lambda.client.replies import failure, is_ours, job_failure
from whisper_lambda.client.steps import Call, Content, Conversation, Progress, Reply, Wait
from whisper_lambda.client.trying import expected, pause_s, retried
from whisper_lambda.client.wanted import Wanted, Written

POLL_S, SLOWEST_POLL_S = 0.5, 5.0


def by_job(wanted: Wanted, content: Content, key: str) -> Conversation[Written | None]:
    """Upload under a ticket, submit a job and watch it; None where the server has no uploads."""
    asked = {
        "size_bytes": content.size_bytes,
        "content_type": content.media_type,
        "filename": content.filename,
    }
    ticket = yield from retried(wanted, Call(method="POST", url=f"{wanted.url}/v1/uploads", json=asked))
    if ticket.status in (404, 405) or (400 <= ticket.status < 500 and not is_ours(ticket)):  # noqa: PLR2004
        return None  # OpenAI's own uploads are something else, and refuse ours
    upload = expected(ticket, "id", "url")
    yield from _uploaded(wanted, content, upload)
    task = "translate" if wanted.route == "translations" else "transcribe"
    wish: dict[str, Any] = {"upload": upload["id"], **_as_json(wanted.fields)}
    if task == "translate":
        wish["task"] = task
    submitted = yield from retried(
        wanted,
        Call(
            method="POST",
            url=f"{wanted.url}/v1/jobs",
            headers={"Idempotency-Key": key},
            json=wish,
        ),
    )
    return (yield from of_job(wanted, submitted, content))


def of_job(wanted: Wanted, submitted: Reply, content: Content) -> Conversation[Written]:
    """Watch the job a reply names, and return what was written of it.

    Raises:
        WhisperLambdaError: there is none, it failed, or somebody cancelled it.
    """
    job = yield from _watched(wanted, expected(submitted, "id", "status"))
    bodies: dict[str, Reply] = {}
    for wished in wanted.formats:
        result = f"{wanted.url}/v1/jobs/{job['id']}/result?format={quote(wished)}"
        bodies[wished] = yield from retried(wanted, Call(method="GET", url=result))
        if bodies[wished].status != 200:  # noqa: PLR2004
            raise failure(bodies[wished])
    return Written(bodies, "job", content.size_bytes)


def _as_json(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a form's fields as JSON members: `name[]` becomes a list."""
    members: dict[str, Any] = {}
    for name, value in fields:
        if name.endswith("[]"):
            members.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            members[name] = value
    return members


def _uploaded(wanted: Wanted, content: Content, upload: Mapping[str, Any]) -> Conversation[None]:
    """Send the bytes to where the ticket says, going on from where a broken attempt ended."""
    url = urljoin(f"{wanted.url}/", str(upload["url"]))
    ours = urlsplit(url).netloc == urlsplit(wanted.url).netloc
    for attempt in range(1, wanted.attempts + 1):
        offset = yield from _arrived(url, upload) if ours and attempt > 1 else _nothing()
        if offset >= content.size_bytes:  # all had come, and only the answer was lost
            return
        headers = dict(upload.get("headers") or {})
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{content.size_bytes - 1}/{content.size_bytes}"
        part = replace(content, offset=offset)
        reply = yield Call(
            method=str(upload.get("method") or "PUT"), url=url, headers=headers, content=part, key=ours
        )
        if reply.status in (200, 201, 204):
            return
        pause = pause_s(reply, attempt)
        if pause is None or attempt == wanted.attempts:
            raise failure(reply)
        yield Wait(pause)


def _nothing() -> Conversation[int]:
    yield from ()
    return 0


def _arrived(url: str, upload: Mapping[str, Any]) -> Conversation[int]:
    """Return how many bytes of the upload are there."""
    head = yield Call(method="HEAD", url=url, headers=dict(upload.get("headers") or {}))
    found = head.headers.get("upload-offset", "0")
    return int(found) if found.isdecimal() else 0


def _watched(wanted: Wanted, job: dict[str, Any]) -> Conversation[dict[str, Any]]:
    """Wait for the job's end; whoever gives up meanwhile cancels it.

    Raises:
        WhisperLambdaError: the job failed, or somebody cancelled it.
    """
    address = f"{wanted.url}/v1/jobs/{job['id']}"
    undo, pause = Call(method="DELETE", url=address), POLL_S
    while job["status"] in ("queued", "running"):
        told = job.get("progress")
        done = told if isinstance(told, dict) else {}
        stage: Literal["waiting", "hearing"] = "hearing" if job["status"] == "running" else "waiting"
        wanted.tell(Progress(stage, float(done.get("done_s") or 0.0), float(done.get("audio_s") or 0.0)))
        yield Wait(pause, undo)
        pause = min(SLOWEST_POLL_S, pause * 1.3)
        look = yield from retried(wanted, Call(method="GET", url=address), undo=undo)
        job = expected(look, "id", "status")
    if job["status"] != "completed":
        raise job_failure(job)
    return job
