"""What stands between the socket and the routes, put together from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from starlette.middleware import Middleware

from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.http import admission, health, keys, middleware
from whisper_lambda.http.admission import Admission
from whisper_lambda.http.health import Readiness
from whisper_lambda.http.limits import Usage
from whisper_lambda.http.realtime.floor import Floor
from whisper_lambda.http.table import Table
from whisper_lambda.live.seals import Seal, seal
from whisper_lambda.telemetry import Meter


@dataclass(frozen=True, slots=True)
class Gates:
    """What `create_app` puts around the routes, and the routes operators need."""

    admission: Admission
    floor: Floor
    seal: Callable[[], Seal]  # of client secrets and live tokens; made at first use
    middleware: Sequence[Middleware] = field(default=())  # pure ASGI, outermost first
    tables: Sequence[Table] = field(default=())
    readiness: Readiness | None = None

    @classmethod
    def open(cls, settings: Settings) -> Gates:
        """Return gates that let everybody in and probe nothing."""
        return _gates(settings, None, Meter(), open_to_everyone=True, clock=time.time)

    @classmethod
    def of(
        cls,
        service: Service,
        settings: Settings,
        *,
        open_to_everyone: bool = False,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Gates:
        """Return the gates of a server: keys are checked where there are any, readiness is real.

        Args:
            service: transcribes what readiness is tried with, once `readiness.start` is called.
            settings: name the key file and the bounds.
            open_to_everyone: ask nobody for a key, whatever the key file holds.
            meter: counts; None = one of its own.
            clock: seconds since the epoch, by which keys' minutes and days are counted.
        """
        probe = Readiness(service, every_s=settings.probe_every_s) if settings.probe_every_s > 0 else None
        return _gates(settings, probe, meter or Meter(), open_to_everyone=open_to_everyone, clock=clock)


def _gates(
    settings: Settings,
    readiness: Readiness | None,
    meter: Meter,
    *,
    open_to_everyone: bool,
    clock: Callable[[], float],
) -> Gates:
    key_file = keys.key_file(settings)
    usage = Usage(key_file.path.with_name("usage.sqlite3"), clock)
    admitted = admission.admission(settings, usage)
    sealing = cache(lambda: seal(settings.home / "live.secret", settings.live_secret))
    return Gates(
        admission=admitted,
        floor=Floor(settings),
        seal=sealing,
        middleware=middleware.guards(
            settings, key_file, usage, meter, sealing, open_to_everyone=open_to_everyone
        ),
        tables=(health.router(readiness, admitted, meter),),
        readiness=readiness,
    )
