"""GET / and the files below /page: open to everyone who may reach the server, and of no use without it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import whisper_lambda
from whisper_lambda.errors import NoSuchRoute
from whisper_lambda.http.house import House
from whisper_lambda.http.page.files import PageFile, page_files
from whisper_lambda.http.table import Table
from whisper_lambda.models import catalogue

# What the page may do in a browser. No script and no style but the files here, nothing from and to
# other sites, in nobody's frame; strings never become markup (require-trusted-types-for).
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'none'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()",
    }
)
LAMBDA_REQUEST_MB = 4.5  # an event has 6 MB, of which base64 leaves three quarters
FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"


def router(house: House) -> Table:
    """Return the page's routes. They hear nothing and hold nothing: the page uses the API like anybody."""
    routes = Table(in_document=False)

    @routes.answer(("GET", "HEAD"), "/")
    async def index(request: Request) -> Response:
        files = page_files()
        return _sent(request, files.index, files.version, ASK_EACH_TIME)

    @routes.answer("GET", "/page/facts")
    async def facts_of_this_server(request: Request) -> Response:
        known = _facts(house, request.app.state.paths)
        return JSONResponse(known, headers={**HEADERS, "Cache-Control": "no-store"})

    @routes.answer(("GET", "HEAD"), "/page/{version}/{name}")
    async def file(request: Request, version: str, name: str) -> Response:
        files = page_files()
        if version != files.version or name not in files.named:
            raise NoSuchRoute("this is no file of the page as it is now: load it again")
        return _sent(request, files.named[name], version, FOR_EVER)

    return routes


def _sent(request: Request, file: PageFile, version: str, keep: str) -> Response:
    tag = f'"{version}"'
    headers = {**HEADERS, "Cache-Control": keep, "ETag": tag, "Vary": "Accept-Encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = file.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = file.zipped, "gzip"
    return Response(body, media_type=file.media_type, headers=headers)


def _facts(house: House, paths: frozenset[str]) -> dict[str, object]:
    """Say what this server can do and how much it takes: what /docs says too, and nothing of its users."""
    settings = house.settings
    return {
        "version": whisper_lambda.__version__,
        "model": settings.model,
        "models": [tier.name for tier in catalogue.TIERS],
        "max_upload_mb": min(settings.max_upload_mb, LAMBDA_REQUEST_MB)
        if settings.lambda_memory_mb
        else settings.max_upload_mb,
        "max_audio_s": settings.max_audio_s,
        "jobs": "/v1/jobs" in paths,
        "uploads": "/v1/uploads" in paths,
        # Lambda holds no sockets open
        "realtime": "/v1/realtime/client_secrets" in paths and not settings.lambda_memory_mb,
        "live": any(path.startswith("/v1/live") for path in paths),
    }
