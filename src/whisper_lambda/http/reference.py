"""The API's own description: /openapi.json, and /docs as one page that needs no other site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

import whisper_lambda
from whisper_lambda.http.table import Table

Json = dict[str, Any]

ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the field at fault"},
                "code": {"type": "string", "description": "stable; docs/errors.md lists them all"},
            },
        }
    },
}
_REFUSED: Json = {
    "description": "refused or failed; the code says why",
    "headers": {"x-request-id": {"schema": {"type": "string"}}},
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1b1b1b;background:#fff}
h2{margin-top:2.5rem;font:600 1.1rem ui-monospace,monospace}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;vertical-align:top}
code,pre{font:14px ui-monospace,monospace}pre{background:#f3f3f3;padding:.7rem;overflow:auto}
.method{color:#0b5c2d}@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}
pre{background:#242424}td,th{border-color:#444}.method{color:#6fcf97}a{color:#8ab4f8}}
"""


def describe(app: Starlette, tables: Sequence[Table]) -> Table:
    """Return the routes /openapi.json and /docs, by which the app describes itself.

    `app.state.paths` holds the patterns of all paths described, `app.state.document` returns the document.
    """
    app.state.paths = frozenset[str]().union(*(table.paths() for table in tables))
    document = app.state.document = cache(lambda: openapi(tables))
    routes = Table(in_document=False)

    @routes.answer(("GET", "HEAD"), "/openapi.json")
    async def as_data(request: Request) -> Response:
        del request
        return JSONResponse(await anyio.to_thread.run_sync(document))  # once; it takes a moment

    @routes.answer(("GET", "HEAD"), "/docs")
    async def docs(request: Request) -> Response:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(page(await anyio.to_thread.run_sync(document), address))

    return routes


def openapi(tables: Sequence[Table]) -> Json:
    """Return the OpenAPI document, with our shape of failure in place of the framework's."""
    from fastapi import FastAPI

    described = FastAPI(
        title="whisper-lambda",
        version=whisper_lambda.__version__,
        summary="Whisper transcription that costs nothing while nobody speaks.",
    )
    for table in tables:
        described.include_router(table.described())
    document = described.openapi()
    for _, _, operation in _operations(document):
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = _REFUSED
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for framework in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework, None)
    schemas["Error"] = ERROR
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    return document


def page(document: Json, address: str) -> str:
    """Return /docs: every route with its fields and a command to try it."""
    routes = "".join(_route(method, path, o, address) for method, path, o in _operations(document))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(document['info']['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>"
        f"<p>{escape(document['info'].get('summary', ''))} "
        'The same as data: <a href="openapi.json">openapi.json</a>.</p>'
        f"{routes}</body></html>"
    )


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _route(method: str, path: str, operation: Json, address: str) -> str:
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema")
    queried = {q["name"]: {**q["schema"], "description": q["description"]} for q in _query(operation)}
    fields = {**(form["properties"] if form else {}), **queried}
    rows = "".join(_field(name, one) for name, one in fields.items())
    table = f"<table><tr><th>field</th><th>values</th><th>meaning</th></tr>{rows}</table>" if rows else ""
    said = escape(operation.get("description") or operation.get("summary") or "")
    return (
        f'<h2><span class="method">{method}</span> {escape(path)}</h2><p>{said}</p>'
        f"<pre>{escape(_command(method, path, form, address))}</pre>{table}"
    )


def _query(operation: Json) -> list[Json]:
    return [q for q in operation.get("parameters", ()) if q["in"] == "query"]


def _field(name: str, one: Mapping[str, Any]) -> str:
    kind = one.get("items", one)
    values = ", ".join(map(str, kind.get("enum", ()))) or _range(kind)
    many = ", any number of times" if "items" in one else ""
    return (
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(values + many)}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
    )


def _range(kind: Mapping[str, Any]) -> str:
    if "minimum" in kind:
        return f"{kind['type']} {kind['minimum']:g} to {kind['maximum']:g}"
    return str(kind.get("format") or kind["type"])


def _command(method: str, path: str, form: Json | None, address: str) -> str:
    if not form:
        return f"curl {'' if method == 'GET' else f'-X {method} '}{address}{path}"
    recording = next((n for n, one in form["properties"].items() if one.get("format") == "binary"), "file")
    return f"curl {address}{path} -F {recording}=@talk.mp3"
