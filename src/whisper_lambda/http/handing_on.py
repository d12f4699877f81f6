"""A request whose time is too short becomes a job, where its client said that will do.

The client says so with `Prefer: respond-async` (RFC 7240); it is answered 202 and the job's address, as
by `POST /v1/jobs`. Only where somebody ends the work at some time, on Lambda, and where jobs are kept.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda import deadline
from whisper_lambda.cloud import on_aws
from whisper_lambda.economy.receipt import Receipt
from whisper_lambda.errors import CannotFinishInTime, OutOfTime
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.asking import facts
from whisper_lambda.http.house import House
from whisper_lambda.http.limits import Tab
from whisper_lambda.http.listening import Heard, Wish
from whisper_lambda.http.upload import Recording, Upload
from whisper_lambda.job import Order
from whisper_lambda.jobs.desk import Handed

SPARE_S = 3.0  # the cut comes so much sooner: keeping 6 MB and a row takes time, too


async def heard(
    house: House, request: Request, upload: Upload, wish: Wish, job: Mapping[str, Any]
) -> tuple[Heard, Receipt] | Response:
    """Return what was heard, or the answer that names the job which hears it.

    Args:
        house: hears, and takes jobs.
        request: says whether it may become one.
        upload: what was sent.
        wish: what is to be heard.
        job: the same, as the fields of `POST /v1/jobs`.

    Raises:
        OutOfTime, CannotFinishInTime: the time is too short, and it may not.
    """
    if not _may(house, request, upload):
        return await house.heard(request, upload, wish)
    from whisper_lambda.http import jobs  # imports the routes that import us

    order, handed = jobs.to_order(request, job), jobs.to_handed(request, upload)  # refuse before it is heard
    tab = Tab()  # what the request paid, its job does not pay again
    try:
        with deadline.until(time.monotonic() + deadline.remaining_s() - SPARE_S):
            return await house.heard(request, upload, wish, tab=tab)
    except (OutOfTime, CannotFinishInTime):
        return await _handed_on(house, request, upload.recording, order, handed, tab)


def _may(house: House, request: Request, upload: Upload) -> bool:
    wishes = {w.split(";")[0].strip().lower() for w in ",".join(request.headers.getlist("prefer")).split(",")}
    visit = VISIT.get()
    return (
        "respond-async" in wishes
        and deadline.remaining_s() < math.inf
        and on_aws(house.settings)
        and upload.recording is not None
        and not visit.stranger  # nobody could say whose job it is
        and (visit.key is None or not {"jobs", "admin"}.isdisjoint(visit.key.scopes))
    )


async def _handed_on(
    house: House, request: Request, kept: Recording | None, order: Order, handed: Handed, tab: Tab
) -> Response:
    from whisper_lambda.http import jobs, jobviews  # they import the routes that import us
    from whisper_lambda.http.counting import counted

    paid = await anyio.to_thread.run_sync(tab.close)
    with _unread(kept) as recording:
        async with counted(house, request, recording, handed, paid) as fresh:
            job = await jobs.at_desk(house, lambda desk: desk.accept(order, recording, handed))
            fresh(job)
    known = facts(request.scope)
    known["job"], known["out_of_time"] = job.id, "handed on"
    headers = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
    return JSONResponse(jobviews.to_wire(job, time.time()), 202, headers)


@contextmanager
def _unread(recording: Recording | None) -> Iterator[Recording]:
    """Yield the recording with a place of its own to read from: whoever was cut short may still read."""
    assert recording is not None
    if isinstance(recording, bytes):
        yield recording
        return
    with io.FileIO(f"/proc/self/fd/{recording.fileno()}") as again:
        yield again
