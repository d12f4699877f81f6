"""Events as AWS sends them: recorded ones from tests/events/, with a request's own parts put in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).parents[1] / "events"


def recorded(name: str) -> dict[str, Any]:
    return json.loads((EVENTS / f"{name}.json").read_text())


def http_event(
    method: str = "GET",
    path: str = "/health/live",
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    query: str = "",
    cookies: tuple[str, ...] = (),
) -> dict[str, Any]:
    event = recorded("function-url-post-multipart")
    event |= {"rawPath": path, "rawQueryString": query}
    event["requestContext"]["http"] |= {"method": method, "path": path}
    event["headers"] = {k.lower(): v for k, v in (headers or {}).items()}
    event.pop("body", None)
    event["isBase64Encoded"] = body is not None
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
        event["headers"].setdefault("content-length", str(len(body)))
    if cookies:
        event["cookies"] = list(cookies)
    else:
        event.pop("cookies", None)
    return event


def multipart(fields: dict[str, str], file: bytes, name: str = "a.wav") -> tuple[bytes, str]:
    """A form as curl sends it: its bytes and its content type."""
    line = "------------------------d74496d66958873e"
    parts = [
        f'--{line}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
        for k, v in fields.items()
    ]
    head = (
        f'--{line}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body = b"".join([*parts, head, file, f"\r\n--{line}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={line}"
