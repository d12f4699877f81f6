"""What each path answers, as a table: Starlette serves it, FastAPI describes it and is loaded for that alone.

Our routes read their fields themselves (`fields.py`), so nothing of FastAPI's or pydantic's works on a
request. Importing both takes a third of all that a cold start imports (docs/log.md, 2026-11-29).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from fastapi import APIRouter

Endpoint = Callable[..., Awaitable[Response]]  # takes the request, and by name what the path holds
Listener = Callable[[WebSocket], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Row:
    path: str
    methods: Sequence[str]
    endpoint: Endpoint
    said: dict[str, Any]  # what the document says of it beside name, docstring and parameters of the path


class Table:
    """Routes below one prefix."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = (), in_document: bool = True) -> None:
        """Begin an empty one.

        Args:
            prefix: of all paths.
            tags: what the document sorts the routes under.
            in_document: whether it tells of them at all.
        """
        self._prefix = prefix
        self._tags = list(tags)
        self._in_document = in_document
        self._rows: list[_Row] = []
        self._listeners: list[tuple[str, Listener]] = []

    def answer(self, method: str | Sequence[str], path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:  # noqa: ANN401 - as OpenAPI has it
        """Have the decorated function answer a path; `said` is what FastAPI's decorators take."""

        def taken(endpoint: Endpoint) -> Endpoint:
            methods = [method] if isinstance(method, str) else list(method)
            self._rows.append(_Row(self._prefix + path, methods, endpoint, said))
            return endpoint

        return taken

    def listen(self, path: str) -> Callable[[Listener], Listener]:
        """Have the decorated function hold the WebSockets of a path."""

        def taken(listener: Listener) -> Listener:
            self._listeners.append((self._prefix + path, listener))
            return listener

        return taken

    def routes(self) -> list[BaseRoute]:
        """Return what serves them."""
        served: list[BaseRoute] = [_route(row) for row in self._rows]
        return served + [WebSocketRoute(path, listener) for path, listener in self._listeners]

    def paths(self) -> frozenset[str]:
        """Return the patterns of the paths the document tells of."""
        return frozenset(row.path for row in self._rows) if self._in_document else frozenset()

    def described(self) -> APIRouter:
        """Return them as FastAPI describes them."""
        from fastapi import APIRouter

        router = APIRouter(tags=list(self._tags), include_in_schema=self._in_document)
        for row in self._rows:
            router.api_route(row.path, methods=list(row.methods), **row.said)(row.endpoint)
        return router


def _route(row: _Row) -> Route:
    async def answered(request: Request) -> Response:
        return await row.endpoint(request, **request.path_params)

    route = Route(row.path, answered, methods=row.methods, name=row.endpoint.__name__)
    route.methods = set(row.methods)  # Starlette adds HEAD to each GET: none of ours is meant for it unsaid
    return route
