"""Health that tells the truth: ready means a real recording was transcribed lately, with the right words."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.bootstrap import Service
from whisper_lambda.http.admission import Admission
from whisper_lambda.http.table import Table
from whisper_lambda.telemetry import Meter
from whisper_lambda.types import Options

PATIENCE_S = 10.0  # a probe that takes longer than this is a failed one, on a busy machine too
EXPECTED = frozenset({"please", "check", "the", "number", "and", "try", "again"})  # ready.flac says them
ENOUGH = 0.5  # of the expected words; a small model, or one of another language, mishears some
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What the probes have found."""

    ready: bool
    reason: str  # "" when ready


class Readiness:
    """Transcribes a short recording now and then, in a thread of its own, and remembers how it went.

    Asking for the state never waits. While a probe hangs no other is begun: a frozen engine costs
    one thread.
    """

    def __init__(
        self,
        service: Service,
        *,
        every_s: float,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._every_s = every_s
        self._patience_s = patience_s
        self._clock = clock
        self._begun: float | None = None  # when the probe under way was begun
        self._good: float | None = None  # when the last good probe ended
        self._failure = "the first probe is not done yet"
        self._took_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readiness", daemon=True)

    def start(self) -> None:
        """Begin probing; the first probe loads the default model."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more probes."""
        self._ended.set()

    def state(self) -> State:
        """Return whether the last probe went well and the next is not overdue."""
        now, begun, good = self._clock(), self._begun, self._good
        if self._failure:
            return State(ready=False, reason=self._failure)
        if begun is not None and now - begun > self._patience_s:
            return State(ready=False, reason=f"the probe recording is not done after {now - begun:.0f} s")
        if good is None or now - good > 2 * self._every_s + self._patience_s:
            return State(ready=False, reason="no probe was good lately")
        return State(ready=True, reason="")

    @property
    def took_s(self) -> float:
        """How long the last good probe took."""
        return self._took_s

    def probe(self) -> None:
        """Transcribe the recording once and note how it went; returns only when that is done."""
        self._begun = began = self._clock()
        try:
            text = self._service.transcribe(
                files("whisper_lambda.http").joinpath("ready.flac").read_bytes(),
                Options(language="en", times="none"),
                tenant=None,  # what was heard yesterday proves nothing
            ).text
        except Exception as failure:
            self._failure = f"the probe failed: {type(failure).__name__}"
            log.warning("%s", self._failure, exc_info=True)
            return
        finally:
            self._begun = None
        said = set(re.findall(r"[a-z]+", text.lower()))
        if len(said & EXPECTED) < ENOUGH * len(EXPECTED):
            self._failure = "the probe recording gave other words than it holds"
            log.warning("%s", self._failure)
            return
        self._took_s, self._good, self._failure = self._clock() - began, self._clock(), ""

    def _run(self) -> None:
        while not self._ended.is_set():
            self.probe()
            self._ended.wait(self._every_s)


def router(readiness: Readiness | None, admission: Admission, meter: Meter) -> Table:
    """Return the routes operators and load balancers ask.

    Args:
        readiness: None = nothing is probed, and readiness says only that nothing is being stopped.
        admission: says what waits and whether the server is being stopped.
        meter: holds the metrics.
    """
    routes = Table(tags=["operation"])

    def state() -> State:
        if admission.draining:
            return State(ready=False, reason="the server is being stopped")
        return readiness.state() if readiness else State(ready=True, reason="")

    @routes.answer("GET", "/health/live", response_model=dict[str, str])
    async def live(request: Request) -> Response:
        """Say that the process answers; says nothing about the model."""
        del request
        return JSONResponse({"status": "live"})

    @routes.answer("GET", "/health/ready", responses={503: {"description": "Not ready; `reason` says why."}})
    async def ready(request: Request) -> JSONResponse:
        """Say whether a real recording was transcribed lately, with the right words."""
        del request
        now = state()
        if now.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": now.reason}, 503, {"Retry-After": "5"})

    @routes.answer("GET", "/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        del request
        meter.put("waiting", admission.waiting)
        meter.put("under_way", admission.under_way)
        meter.put("ready", float(state().ready))
        meter.put("probe_seconds", readiness.took_s if readiness else 0.0)
        return Response(meter.text(), media_type=PROMETHEUS)

    return routes
