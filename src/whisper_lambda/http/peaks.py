"""POST /v1/audio/peaks: a recording in, how loud it is along its length out.

A browser that drew three hours by decoding them itself would need gigabytes; here they pass by in
blocks, and only the peaks are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.audio.decode import decode_blocks
from whisper_lambda.bootstrap import limits
from whisper_lambda.http import parameters
from whisper_lambda.http.asking import Ask, facts, path_of
from whisper_lambda.http.fields import Field, text, whole
from whisper_lambda.http.house import House
from whisper_lambda.http.listening import Tell, while_waited_for
from whisper_lambda.http.openai import body
from whisper_lambda.http.table import Table
from whisper_lambda.http.upload import Upload
from whisper_lambda.types import SAMPLE_RATE, Samples

FINEST_PER_S = 100
USUAL_PER_S = 32  # halved as often as it takes to draw a recording in MOST_PEAKS
MOST_PEAKS = 8_192  # a few for each pixel of a wide screen
FIELDS = [
    Field("per_second", whole(1, FINEST_PER_S), "peaks a second; absent = as many as a screen can show"),
    Field("url", text(2048), "https address of the recording, where this server fetches them"),
    Field("user_id", text(parameters.LONGEST_USER), "whose request it is, where no key says so"),
]


@dataclass(slots=True)
class Outline:
    """The loudest sample of every stretch, growing with the recording.

    Without a `fixed` number a second, stretches become twice as long when there are too many:
    memory is bounded whatever the recording's length.
    """

    per_second: float = USUAL_PER_S
    fixed: bool = False
    samples: int = 0
    _peaks: list[NDArray[np.float32]] = field(default_factory=list)
    _count: int = 0
    _rest: Samples = field(default_factory=lambda: np.empty(0, np.float32))
    _taken: int = 0  # samples that are in peaks already

    def add(self, block: Samples) -> None:
        """Take in the next samples."""
        self.samples += len(block)
        self._rest = np.concatenate((self._rest, np.abs(block)))
        self._pack(last=False)
        if not self.fixed and self._count > MOST_PEAKS:
            self._halve()

    def finished(self) -> list[float]:
        """Return the peaks, each 0..1, in order."""
        self._pack(last=True)
        return [round(float(p), 3) for p in self._all()]

    def _pack(self, *, last: bool) -> None:
        """Turn whole stretches into peaks; stretch n ends at the sample nearest to (n + 1) / per_second."""
        step = SAMPLE_RATE / self.per_second
        whole_ones = int((self._taken + len(self._rest)) / step) - self._count
        edges = np.rint((self._count + np.arange(whole_ones + 1)) * step).astype(int) - self._taken
        if whole_ones > 0:
            packed = np.maximum.reduceat(self._rest[: edges[-1]], edges[:-1])
            self._keep(packed, edges[-1])
        if last and len(self._rest):
            self._keep(self._rest.max(keepdims=True), len(self._rest))

    def _keep(self, packed: NDArray[np.float32], taken: int) -> None:
        self._peaks.append(packed)
        self._count += len(packed)
        self._rest = self._rest[taken:]
        self._taken += taken

    def _all(self) -> NDArray[np.float32]:
        return np.concatenate(self._peaks) if self._peaks else np.empty(0, np.float32)

    def _halve(self) -> None:
        """Make one peak of every two. An odd last one would shift the next: it is put off by one stretch."""
        peaks = self._all()
        even = len(peaks) // 2 * 2
        odd = peaks[even:]
        self.per_second /= 2
        self._peaks = [peaks[:even].reshape(-1, 2).max(axis=1)]
        self._count = even // 2
        if len(odd):  # give the odd stretch back as samples of its loudness
            step = SAMPLE_RATE / self.per_second
            begin = round(self._count * step)
            back = np.full(self._taken - begin, odd[0], np.float32)
            self._rest = np.concatenate((back, self._rest))
            self._taken = begin


def router(house: House) -> Table:
    """Return the route."""
    routes = Table(prefix="/v1", tags=["Our own"])

    @routes.answer("POST", "/audio/peaks", openapi_extra=body(FIELDS))
    async def peaks(request: Request) -> Response:
        """Say how loud a recording is along its length, for drawing it."""
        async with house.received(request, FIELDS) as upload:
            outline, duration_s = await _outlined(house, request, upload)
            values = await anyio.to_thread.run_sync(outline.finished)
            return JSONResponse(
                {"duration": round(duration_s, 3), "per_second": outline.per_second, "peaks": values}
            )

    return routes


async def _outlined(house: House, request: Request, upload: Upload) -> tuple[Outline, float]:
    asked = upload.values.get("per_second")
    ask = Ask(
        tenant=facts(request.scope).get("tenant") or upload.values.get("user_id", ""),
        route=path_of(request.scope),
        model=None,
        size_bytes=upload.size_bytes,
    )

    async def work(tell: Tell) -> Outline:
        async with house.admission.admit(ask):
            return await anyio.to_thread.run_sync(
                partial(outlined, house, upload, asked), limiter=house.threads
            )

    outline = await while_waited_for(request, work)
    return outline, outline.samples / SAMPLE_RATE


def outlined(house: House, upload: Upload, per_second: int | None) -> Outline:
    """Return the outline of what was uploaded; refuses what `decode_blocks` refuses."""
    assert upload.recording is not None
    outline = Outline() if per_second is None else Outline(float(per_second), fixed=True)
    service = house.service
    for block in decode_blocks(upload.recording, limits(service.settings), service.decoders):
        outline.add(block)
    return outline
