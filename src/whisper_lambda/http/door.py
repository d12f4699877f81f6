"""The door: a request's key, or its right to come without one, checked before its body is read."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_lambda import deadline
from whisper_lambda.errors import ClientError, CrossSite, MissingKey, WhisperLambdaError
from whisper_lambda.http.admission import VISIT, Visit
from whisper_lambda.http.asking import facts, path_of
from whisper_lambda.http.envelope import refusal
from whisper_lambda.http.keys import Key, KeyFile
from whisper_lambda.http.limits import Usage
from whisper_lambda.http.realtime import passes
from whisper_lambda.live.seals import Seal

READ_TIMEOUT = b"x-stainless-read-timeout"  # the OpenAI SDKs say how long they wait for an answer

# What needs no key, and what needs another scope than "transcribe". Prefixes of paths.
OPEN = ("/health/live", "/health/ready")
PAGE = "/page/"  # files that are the same for everybody; what the page then asks for needs a key
SCOPES = {
    "/metrics": "metrics",
    "/jobs": "jobs",
    "/v1/jobs": "jobs",
    "/v1/webhook_secret": "jobs",
    "/v1/data": "jobs",  # it removes jobs and their results: not for a key that may only have audio heard
    "/admin": "admin",
}

FOR_PASSES = ("/v1/realtime",)  # what a client secret opens; nothing else
KEY_PROTOCOL = "openai-insecure-api-key."  # as OpenAI's pages spell it


class KeyGate:
    """Lets in who has a key that covers the route and has not used up what it may."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyFile,
        usage: Usage,
        seal: Callable[[], Seal],
        answer_within_s: float = math.inf,
        open_to_everyone: bool = False,
        origins: Sequence[str] = (),
    ) -> None:
        self.app = app
        self._keys = keys
        self._usage = usage
        self._seal = seal
        self._answer_within_s = answer_within_s
        self._open_to_everyone = open_to_everyone
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        open_to_all = scope.get("method") in {"GET", "HEAD"} and _open(path_of(scope))
        if scope["type"] not in {"http", "websocket"} or open_to_all:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        started = False

        async def noted_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            key = self._admitted(scope, headers)
            with ExitStack() as held:
                if key:
                    facts(scope).update(tenant=key.tenant, key=key.id)
                    held.enter_context(self._usage.request(key))
                stranger = key is None and self._open_to_everyone and not _brings_ticket(scope)
                before = VISIT.set(Visit(key, self._patience_s(headers), stranger))
                try:
                    await self.app(scope, receive, noted_send)
                finally:
                    VISIT.reset(before)
        except WhisperLambdaError as error:
            if started:
                raise
            facts(scope)["code"] = error.code
            await refusal(error)(scope, receive, send)

    def _admitted(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Key | None:
        """Return the request's key, or None where none is needed.

        Raises:
            ClientError: a key is needed and none, or none that will do, is there.
        """
        text, needed = _key_text(headers) or _key_of_socket(scope), _scope_of(path_of(scope))
        if text and text.startswith(passes.PREFIX) and path_of(scope) in FOR_PASSES:
            held = passes.checked(self._seal(), text, self._keys, time.time())
            scope.setdefault("state", {})["live_session"] = held.session
            return held.key
        if needed == "metrics" and _from_this_machine(scope, headers):
            return None
        if not text and _brings_ticket(scope):
            return None  # its signature was given to a key; the route checks it
        if not self._open_to_everyone and self._keys.demanded:
            return self._keys.check(text, needed, time.time())
        if needed == "metrics":
            raise MissingKey("metrics are for this machine, or for a key with the scope `metrics`")
        self._same_site(headers)
        try:
            return self._keys.check(text, needed, time.time())
        except ClientError:  # SDKs send some key always; where none is needed it may be any
            return None

    def _same_site(self, headers: Mapping[bytes, bytes]) -> None:
        """Keep pages of other sites from using a server that asks its user for no key.

        Browsers send their forms anywhere without asking, and say so in a header. A site whose
        name was made to lead to this machine passes for its own; then the Host is that name.
        """
        if not self._open_to_everyone and not _names_this_machine(
            headers.get(b"host", b"").decode("latin-1")
        ):
            raise CrossSite(
                "a server without keys answers to localhost and to addresses, not to this name: "
                "make a key, or start it with --open-to-everyone"
            )
        site = headers.get(b"sec-fetch-site")
        foreign = site in {b"cross-site", b"same-site"}
        # No browser asks before it opens a socket anywhere; old ones, and all of them where there is no TLS
        # (http://192.168.1.5:8000), do not say whose page sends a form, but where it comes from.
        if site is None or b"sec-websocket-version" in headers:
            foreign = foreign or not _of_host(headers.get(b"origin", b""), headers.get(b"host", b""))
        if foreign and not self._origins & {headers.get(b"origin", b"").decode("latin-1"), "*"}:
            raise CrossSite("pages of other sites may not use this server; see WHISPER_LAMBDA_CORS_ORIGINS")

    def _patience_s(self, headers: Mapping[bytes, bytes]) -> float:
        try:
            told_s = float(headers.get(READ_TIMEOUT, b"inf"))
        except ValueError:
            told_s = math.inf
        allowed_s = min(self._answer_within_s, deadline.remaining_s())
        return min(allowed_s, told_s) if told_s > 0 else allowed_s


def _key_text(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip() or None


def _open(path: str) -> bool:
    return path == "/" or path in OPEN or path.startswith(PAGE)


def _key_of_socket(scope: Scope) -> str | None:
    """Return the key a page offers as a subprotocol: it can set no header on a socket."""
    offered = (p for p in scope.get("subprotocols", ()) if p.startswith(KEY_PROTOCOL))
    return next((p.removeprefix(KEY_PROTOCOL) for p in offered), None)


def _of_host(origin: bytes, host: bytes) -> bool:
    """Tell whether a page of this host sent the request, or no page at all."""
    return not origin or origin.partition(b"://")[2].lower() == host.lower()


def _scope_of(path: str) -> str:
    return next(
        (s for prefix, s in SCOPES.items() if path == prefix or path.startswith(prefix + "/")), "transcribe"
    )


def _brings_ticket(scope: Scope) -> bool:
    sends = scope.get("method") in {"PUT", "HEAD"} and path_of(scope).startswith("/v1/uploads/")
    return sends and b"signature=" in scope["query_string"]


def _names_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _from_this_machine(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether the request was made here, not passed on by a proxy, nor by a page of a borrowed name.

    A site whose name was made to lead to this machine could read what its visitor's browser is answered.
    """
    if {b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip"}.intersection(headers):
        return False
    if not _names_this_machine(headers.get(b"host", b"").decode("latin-1")):
        return False
    try:
        return ipaddress.ip_address((scope.get("client") or ("",))[0]).is_loopback
    except ValueError:
        return False
