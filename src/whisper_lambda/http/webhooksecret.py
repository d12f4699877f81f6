"""The secret that signs a tenant's webhooks, given to the tenant and changed when he asks."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.http.house import House
from whisper_lambda.http.jobs import USER, at_desk, described, query, whose
from whisper_lambda.http.table import Table
from whisper_lambda.jobs.webhooks import KEEP_SECRET_S


def router(house: House) -> Table:
    """Return the routes below /v1/webhook_secret."""
    routes = Table(prefix="/v1/webhook_secret", tags=["Jobs"])

    @routes.answer("GET", "", openapi_extra=described([USER]))
    async def secret(request: Request) -> Response:
        """Give the secret that signs this tenant's webhooks; the SDKs' `webhook_secret`."""
        tenant = whose(query(request, [USER]))
        known = await at_desk(house, lambda desk: desk.store.secrets(tenant))
        return JSONResponse({"object": "webhook_secret", "secret": known[0]})

    @routes.answer("POST", "/rotate", openapi_extra=described([USER]))
    async def rotate(request: Request) -> Response:
        """Make a new secret; for a day the old one signs beside it."""
        tenant, now = whose(query(request, [USER])), time.time()
        made = await at_desk(house, lambda desk: desk.store.rotate_secret(tenant, now, KEEP_SECRET_S))
        until = int(now + KEEP_SECRET_S)
        return JSONResponse({"object": "webhook_secret", "secret": made, "previous_until": until})

    return routes
