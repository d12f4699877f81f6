"""create_app: the one application a server, a test and Lambda run."""

from __future__ import annotations

from starlette.applications import Starlette

from whisper_lambda.bootstrap import Service
from whisper_lambda.config import Settings
from whisper_lambda.economy.prices import price_book
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
) -> Starlette:
    """Return the application. It opens nothing and closes nothing: the service is its caller's.

    Args:
        service: hears.
        settings: bound what a request may cost.
        gates: what guards the routes; None = everybody may enter, a few at once.
        network: how addresses are fetched; None = the public internet.
        office: where jobs are handed in; None = they are kept, for workers elsewhere to do.

    Raises:
        BadOption: the settings name prices that are none, or no architecture: no receipt could be written.
    """
    price_book(settings).gb_s(settings.receipt_architecture)
    gates = gates or Gates.open(settings)
    app = tracing.traced() if settings.opentelemetry else Starlette()
    app.router.redirect_slashes = False
    envelope.install(app)
    house = House(
        service,
        settings,
        gates.admission,
        network or Network(),
        office or Office(service, settings),
        gates.seal,
    )
    tables = [
        founding.router(house),
        openai.router(house),
        asr.router(house),
        uploads.router(house),
        jobs.router(house),
        webhooksecret.router(house),
        peaks.router(house),
        page.router(house),
        realtime_routes.router(house, gates),
        steps.router(house, gates),
        *gates.tables,
    ]
    for table in (*tables, reference.describe(app, tables)):
        app.router.routes += table.routes()
    for layer in reversed((*envelope.OUTERMOST, *gates.middleware)):
        app.add_middleware(layer.cls, *layer.args, **layer.kwargs)
    if settings.opentelemetry:
        app.add_middleware(tracing.QueryBack)
    return app
