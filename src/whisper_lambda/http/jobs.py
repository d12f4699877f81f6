"""Jobs over HTTP: /v1/jobs. A recording is accepted at once, and heard when there is room."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.errors import BadOption
from whisper_lambda.http import jobevents, jobviews, parameters
from whisper_lambda.http.asking import facts
from whisper_lambda.http.counting import counted
from whisper_lambda.http.fields import Field, Kind, Values, blamed, boolean, choice, schema, text, whole
from whisper_lambda.http.house import House, may_remember
from whisper_lambda.http.house import whose as house_whose
from whisper_lambda.http.openai import body
from whisper_lambda.http.streaming import EventStream
from whisper_lambda.http.table import Table
from whisper_lambda.http.upload import Upload
from whisper_lambda.job import Job, Order
from whisper_lambda.jobs import webhooks
from whisper_lambda.jobs.desk import LEAST_PRIORITY, MOST_PRIORITY, Desk, Handed

T = TypeVar("T")

MOST_LISTED = 100
LONGEST_KEY = 255  # characters of an idempotency key
_STATES = ("queued", "running", "completed", "failed", "cancelled")
_ANSWER = (
    "response_format",
    "timestamp_granularities",
    "include",
    "max_line_width",
    "max_line_count",
    "max_words_per_line",
    "highlight_words",
)


def router(house: House) -> Table:
    """Return the routes below /v1/jobs."""
    routes = Table(prefix="/v1/jobs", tags=["Jobs"])
    _hand_in(routes, house)
    _look(routes, house)
    _follow(routes, house)
    return routes


def _hand_in(routes: Table, house: House) -> None:
    handing = _handing(house)
    # On AWS the store tells of what arrives: a job may be handed in before its recording is there.
    told_of_arrivals = house.settings.state_machine is not None

    @routes.answer("POST", "", status_code=202, openapi_extra=body(handing))
    async def hand_in(request: Request) -> Response:
        """Hand in a recording; it is kept before this answers, and heard whatever dies from then on."""
        async with house.received(request, handing, open_upload=not told_of_arrivals) as upload:
            order, handed = to_order(request, upload.values), to_handed(request, upload)
            recording = upload.recording

            def accept(desk: Desk) -> Job:
                if recording is None:
                    return desk.accept_upload(order, upload.values["upload"], handed)
                return desk.accept(order, recording, handed)

            async with counted(house, request, recording, handed) as fresh:
                job = await at_desk(house, accept)
                fresh(job)
            facts(request.scope)["job"] = job.id
            return JSONResponse(jobviews.to_wire(job, time.time()), 202, {"Location": f"/v1/jobs/{job.id}"})

    @routes.answer("DELETE", "/{job_id}", openapi_extra=described([USER]))
    async def cancel(request: Request, job_id: str) -> Response:
        """Cancel a job; one that has ended stays as it is."""
        tenant = whose(query(request, [USER]))
        ended = await at_desk(house, lambda desk: desk.cancel(job_id, tenant))
        return JSONResponse(jobviews.to_wire(ended, time.time()))


def _look(routes: Table, house: House) -> None:
    listing, asking, reading = _listing(), _asking(), _reading()

    @routes.answer("GET", "", openapi_extra=described(listing))
    async def jobs(request: Request) -> Response:
        """List jobs, newest first, a page at a time."""
        values = query(request, listing)
        limit, tenant = values.get("limit", 20), whose(values)
        after, state = values.get("after"), values.get("status")
        found = await at_desk(
            house, lambda desk: desk.listed(tenant, limit=limit + 1, after=after, state=state)
        )
        now, shown = time.time(), found[:limit]
        return JSONResponse(
            {
                "object": "list",
                "data": [jobviews.to_wire(job, now) for job in shown],
                "has_more": len(found) > limit,
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
            }
        )

    @routes.answer("GET", "/{job_id}", openapi_extra=described(asking))
    async def job(request: Request, job_id: str) -> Response:
        """Tell how far a job is; `segments=true` adds what was heard so far."""
        values = query(request, asking)
        tenant = whose(values)

        def read(desk: Desk) -> dict[str, Any]:
            found = desk.job(job_id, tenant)
            wire = jobviews.to_wire(found, time.time())
            if values.get("segments"):
                wire["segments"] = jobviews.segments(found, desk.store.chunks(job_id))
            return wire

        return JSONResponse(await at_desk(house, read))

    @routes.answer("GET", "/{job_id}/result", openapi_extra=described(reading))
    async def result(request: Request, job_id: str) -> Response:
        """Give the transcript, in any format of the transcription routes."""
        values = query(request, reading)
        tenant = whose(values)

        def read(desk: Desk) -> Response:
            found = desk.job(job_id, tenant)
            transcript = desk.transcript(found, partial=values.get("partial", False))
            answer = jobviews.result(found, transcript, values, house.settings)
            answer.headers["X-Job-Status"] = found.state
            return answer

        return await at_desk(house, read)


def _follow(routes: Table, house: House) -> None:
    @routes.answer("GET", "/{job_id}/events", openapi_extra=described([USER]))
    async def events(request: Request, job_id: str) -> Response:
        """Follow a job: its progress, its segments in order, its end. `Last-Event-ID` goes on from there."""
        tenant = whose(query(request, [USER]))
        place = jobevents.place(request.headers.get("last-event-id", ""))

        def found(desk: Desk) -> Desk:
            desk.job(job_id, tenant)  # a refusal is an answer, not an event
            return desk

        desk = await at_desk(house, found)
        return EventStream(partial(jobevents.follow, request, desk, job_id, tenant, place))


async def at_desk(house: House, call: Callable[[Desk], T]) -> T:
    """Call with the desk, in a thread: it opens with the first call."""
    return await anyio.to_thread.run_sync(lambda: call(house.office.desk()), limiter=house.threads)


def _handing(house: House) -> list[Field]:
    private = house.settings.webhooks_private

    def address(given: str) -> str:
        return webhooks.checked(given, private=private)

    return [
        *(f for f in parameters.transcriptions(house.service) if f.name != "stream"),
        Field("task", choice(("transcribe", "translate")), "translate = into English"),
        Field("webhook", Kind(address, {"type": "string", "format": "uri"}), "https address told of the end"),
        Field("idempotency_key", text(LONGEST_KEY), "the same key and request: the same job"),
        Field("priority", whole(LEAST_PRIORITY, MOST_PRIORITY), "before your own jobs of a lower one"),
    ]


USER = Field("user_id", text(parameters.LONGEST_USER), "whose jobs, where no key says so")


def _listing() -> list[Field]:
    return [
        Field("limit", whole(1, MOST_LISTED), "most jobs a page; 20 if absent"),
        Field("after", text(64), "id of the last job of the page before"),
        Field("status", choice(_STATES), "only jobs that are so"),
        USER,
    ]


def _asking() -> list[Field]:
    return [Field("segments", boolean(), "add what was heard so far"), USER]


def _reading() -> list[Field]:
    formats = parameters.response_format()
    return [
        Field("format", formats, "what is answered; if absent, what the job was handed in with"),
        Field("response_format", formats, "the same, as the API spells it"),
        Field("partial", boolean(), "what there is of a job that runs, failed or was cancelled"),
        Field("timestamp_granularities", choice(("word", "segment")), "times in verbose_json", many=True),
        Field("include", choice(("logprobs",)), "logprobs (json)", many=True),
        Field("max_line_width", whole(1, 1000), "characters a subtitle line"),
        Field("max_line_count", whole(1, 100), "lines a subtitle"),
        Field("max_words_per_line", whole(1, 100), "words a subtitle line"),
        Field("highlight_words", boolean(), "underline each word as it is said (srt, vtt)"),
        USER,
    ]


def to_order(request: Request, values: Mapping[str, Any]) -> Order:
    """Return what is asked for. Words' times cost nothing more, and let any format be asked for later."""
    wanted = values.get("response_format", "json")
    task = {"task": values["task"]} if "task" in values else {}
    wish = parameters.wish(values, "word", wanted, **task)
    return Order(
        options=wish.options,
        model=wish.model,
        by_channel=wish.by_channel,
        speakers=wish.speakers,
        answer={name: values[name] for name in _ANSWER if name in values},
        remembered=may_remember(request),
    )


def to_handed(request: Request, upload: Upload) -> Handed:
    """Return whose job it is and how it is handed in."""
    values = upload.values
    named, header = values.get("idempotency_key"), request.headers.get("idempotency-key")
    if named and header and named != header:
        raise blamed(BadOption("idempotency_key and the header Idempotency-Key differ"), "idempotency_key")
    if header and len(header) > LONGEST_KEY:
        raise blamed(BadOption(f"at most {LONGEST_KEY} characters are read"), "idempotency_key")
    return Handed(
        tenant=whose(values),
        priority=values.get("priority", LEAST_PRIORITY),
        idempotency_key=named or header or None,
        webhook=values.get("webhook"),
    )


def whose(values: Mapping[str, Any]) -> str:
    """Return whose jobs are spoken of; KeyNotAllowed where nobody can tell."""
    return house_whose(values.get("user_id", ""))


def query(request: Request, table: list[Field]) -> dict[str, Any]:
    """Return the checked fields of a request's query."""
    values = Values(table)
    for name, value in request.query_params.multi_items():
        values.add(name, value)
    return values.finished()


def described(table: list[Field]) -> dict[str, Any]:
    """Return what OpenAPI says of a query."""
    properties = schema(table, None)["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "description": kind.pop("description"), "schema": kind}
            for name, kind in properties.items()
        ]
    }
