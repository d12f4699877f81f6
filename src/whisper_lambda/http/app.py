"""create_app: the one application a server, a test and Lambda run."""

from __future__ import annotations

from fastapi import FastAPI

import whisper_lambda
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.http import (
    asr,
    envelope,
    founding,
    jobs,
    openai,
    peaks,
    reference,
    tracing,
    uploads,
    webhooksecret,
)
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.house import House
from whisper_lambda.http.page import routes as page
from whisper_lambda.http.realtime import routes as realtime_routes
from whisper_lambda.http.realtime import steps
from whisper_lambda.network import Network
from whisper_lambda.staffing import Office


def create_app(
    service: Service,
    settings: Settings,
    *,
    gates: Gates | None = None,
    network: Network | None = None,
    office: Office | None = None,
) -> FastAPI:
    """Return the application. It opens nothing and closes nothing: the service is its caller's.

    Args:
        service: hears.
        settings: bound what a request may cost.
        gates: what guards the routes; None = everybody may enter, a few at once.
        network: how addresses are fetched; None = the public internet.
        office: where jobs are handed in; None = they are kept, for workers elsewhere to do.
    """
    gates = gates or Gates.open(settings)
    app = FastAPI(
        title="whisper-lambda",
        version=whisper_lambda.__version__,
        summary="Whisper transcription that costs nothing while nobody speaks.",
        docs_url=None,  # the framework's pages load their code from another site
        redoc_url=None,
        redirect_slashes=False,
        telemetry=tracing.telemetry(settings),
    )
    envelope.install(app)
    house = House(
        service,
        settings,
        gates.admission,
        network or Network(),
        office or Office(service, settings),
        gates.seal,
    )
    app.include_router(founding.router(house))
    app.include_router(openai.router(house))
    app.include_router(asr.router(house))
    app.include_router(uploads.router(house))
    app.include_router(jobs.router(house))
    app.include_router(webhooksecret.router(house))
    app.include_router(peaks.router(house))
    app.include_router(page.router(house))
    app.include_router(realtime_routes.router(house, gates))
    app.include_router(steps.router(house, gates))
    for router in gates.routers:
        app.include_router(router)
    reference.describe(app)
    for layer in reversed((*envelope.OUTERMOST, *gates.middleware)):
        app.add_middleware(layer.cls, *layer.args, **layer.kwargs)
    if settings.opentelemetry:
        app.add_middleware(tracing.QueryBack)
    return app
