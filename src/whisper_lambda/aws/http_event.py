"""A Function URL's or API Gateway's event (payload format 2.0) in, an ASGI scope and a body out; and back.

Source: AWS documentation, "Invoking Lambda function URLs", "Working with AWS Lambda proxy integrations
for HTTP APIs"; recorded events are in tests/events/.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from whisper_lambda.aws.runtime_api import SEPARATOR

MOST_BYTES = 6 * 1024 * 1024  # of an event, and of an answer that does not stream
_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding", "date", "server"}


class BadEvent(ValueError):
    """The event is not one of those this function knows; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request as ASGI has it."""

    scope: dict[str, Any]
    body: bytes
    identity: str = ""  # the AWS account that signed it, where the URL asks for signatures


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer, as they go before a body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()

    def to_prelude(self) -> bytes:
        """Return what goes before a streamed body."""
        told = {"statusCode": self.status, "headers": dict(self.headers), "cookies": list(self.cookies)}
        return json.dumps(told).encode() + SEPARATOR


def is_http(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is an HTTP request."""
    context = event.get("requestContext")
    return isinstance(context, Mapping) and ("http" in context or "httpMethod" in event)


def is_signed(event: Mapping[str, Any]) -> bool:
    """Tell whether AWS says that an HTTP request was signed."""
    return bool(_identity(event.get("requestContext") or {}))


def stage_of(event: Mapping[str, Any]) -> str:
    """Return what API Gateway has put before the path, "/prod", or "" where there is nothing.

    Events of payload format 1.0 have it in their path only where a domain's mapping is called so.
    """
    stage = str(event["requestContext"].get("stage", "$default"))
    staged = event.get("version") == "2.0" and str(event["rawPath"]).startswith(f"/{stage}/")
    return f"/{stage}" if staged and stage != "$default" else ""


def to_request(event: Mapping[str, Any], request_id: str) -> HttpRequest:
    """Return the request in an event.

    Args:
        event: of payload format 2.0.
        request_id: names the request where its client did not.

    Raises:
        BadEvent: a field is missing or not what it should be.
    """
    if event.get("version") != "2.0":
        raise BadEvent("HTTP events are understood in payload format 2.0: set it in the API's integration")
    try:
        context = event["requestContext"]
        asked, raw_path = context["http"], str(event["rawPath"])
        headers = _headers(event, request_id)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": str(asked["method"]).upper(),
            "scheme": "https",
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "root_path": stage_of(event),
            "query_string": str(event.get("rawQueryString") or "").encode("latin-1", "replace"),
            "headers": headers,
            "client": (str(asked.get("sourceIp", "")), 0),
            "server": (str(context.get("domainName", "")), 443),
            "state": {},
        }
        return HttpRequest(scope, _body(event), _identity(context))
    except (KeyError, TypeError, AttributeError) as cause:
        raise BadEvent(f"the HTTP event lacks {cause}") from cause
    except UnicodeEncodeError as cause:
        raise BadEvent("the HTTP event holds halves of characters") from cause


def _headers(event: Mapping[str, Any], request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers; those that came twice are joined by commas in the event already."""
    named = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    if cookies := event.get("cookies"):
        named["cookie"] = "; ".join(map(str, cookies))
    named.setdefault("x-request-id", request_id)
    return [(n.encode("latin-1", "replace"), v.encode("utf-8", "replace")) for n, v in named.items()]


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise BadEvent("the HTTP event's body is no text")
    if not event.get("isBase64Encoded"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise BadEvent("the HTTP event's body is no base64") from cause


def _identity(context: Mapping[str, Any]) -> str:
    """Return who signed the request, where the URL is one of AuthType AWS_IAM."""
    authorizer = context.get("authorizer")
    signed = authorizer.get("iam") if isinstance(authorizer, Mapping) else None
    return str(signed.get("accountId") or "") if isinstance(signed, Mapping) else ""


def to_head(status: int, raw_headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Return an ASGI answer's start as events have it: a header that comes twice is joined, cookies apart.

    Lengths and connections are the gateway's business: what it sends is in chunks of its own.
    """
    headers: dict[str, str] = {}
    cookies = []
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(value)
        elif name not in _HOP:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(status, headers, tuple(cookies))


def to_answer(head: Head, body: bytes) -> bytes:
    """Return a whole answer as JSON: text as text, anything else in base64."""
    told: dict[str, Any] = {
        "statusCode": head.status,
        "headers": dict(head.headers),
        "cookies": list(head.cookies),
    }
    kind = head.headers.get("content-type", "")
    encoded = "content-encoding" in head.headers
    textual = kind.startswith("text/") or "json" in kind or "xml" in kind or "javascript" in kind
    text = None if encoded or not textual else _text(body)
    if text is None:
        told |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    else:
        told |= {"body": text, "isBase64Encoded": False}
    return json.dumps(told, ensure_ascii=False).encode()


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeError:
        return None
