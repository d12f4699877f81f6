"""OpenTelemetry, where the operator wants it: FastAPI's own spans and metrics, without the words of queries.

FastAPI puts a request's query into its span, and a query of ours may hold a prompt or a user's name. So
the query steps aside while the span is opened and comes back before the routes see the request.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

_ASIDE = "whisper_lambda.query_string"


def traced() -> Starlette:
    """Return an application without routes whose spans and metrics are sent where OTEL_* variables say.

    FastAPI's log records hold the messages of exceptions, which may hold words: they stay off. Its own
    pages stay away, too: they load their code from another site.
    """
    from fastapi import FastAPI

    telemetry: Any = dict.fromkeys(("tracing", "metrics", "auto_configure"), True)
    telemetry |= dict.fromkeys(("logs", "operation_spans"), False)
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry=telemetry)


class QueryAside:
    """Outside the application: hides the query from its span."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with an empty query."""
        if scope["type"] in {"http", "websocket"}:
            scope = {**scope, _ASIDE: scope["query_string"], "query_string": b""}
        await self._app(scope, receive, send)


class QueryBack:
    """The application's outermost layer: puts back the query that was hidden."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the next layer with the request's own query."""
        query: Any = scope.get(_ASIDE)
        if query is not None:
            scope = {**scope, "query_string": query}
        await self._app(scope, receive, send)
