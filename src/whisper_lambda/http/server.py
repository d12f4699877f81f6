"""uvicorn, bounded: a deadline for a request's head, our shape of refusal, and a stop that drains."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from whisper_lambda.config import Settings
from whisper_lambda.errors import BodyTooSlow, BrokenRequest, WhisperLambdaError
from whisper_lambda.http.envelope import to_wire
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.tracing import QueryAside

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

HEAD_S = 8.0  # a request's first line and headers come within this, or the connection is closed
LINGER_S = 2.0  # what a client still sends after its answer is thrown away for so long
MOST_HEAD_BYTES = 32_768
BACKLOG = 512
MOST_MESSAGE_BYTES = 16 * 1024 * 1024  # of a socket: an append of 15 MiB of base64, and what is around it
PING_S = 20.0  # a socket is pinged so often, and is gone when it does not answer for as long


class Connection(H11Protocol):
    """uvicorn's connection, which by itself waits for ever for a head that comes a byte at a time."""

    head_s = HEAD_S
    _timer: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head."""
        super().connection_made(transport)
        prompt(transport)
        self._arm(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that has begun must end in time."""
        super().data_received(data)
        if self._upgraded:
            return
        answered = self.cycle is not None and self.cycle.response_complete
        if self.conn.their_state is not h11.IDLE and not answered:
            self._disarm()
        elif self._timer is None:
            self._arm(self.head_s)

    def on_response_complete(self) -> None:
        """After an answer that came before the body's end, read on for a moment and no longer."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._arm(LINGER_S)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; a socket may say nothing for as long as it answers pings."""
        self._upgraded = True
        self._disarm()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in our shape."""
        self._refuse(BrokenRequest(msg))

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        begun = bool(self.conn.trailing_data[0])
        if self.conn.their_state is h11.IDLE and begun:
            self._refuse(BodyTooSlow("the request's head came too slowly"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, error: WhisperLambdaError) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:  # else an answer is on its way already
            body = json.dumps(to_wire(error)).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", f"req_{secrets.token_hex(12)}".encode()),
                (b"connection", b"close"),
            ]
            answer = h11.Response(status_code=error.status, headers=headers)
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Socket(WebSocketsSansIOProtocol):
    """uvicorn's socket, which logs an error for each one the application refuses with an answer."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send one event; the last of a refusal ends the handshake, as a plain close does."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True


def prompt(transport: asyncio.BaseTransport) -> None:
    """Have an answer's body sent with its head, not 40 ms later, when the client has acknowledged that.

    asyncio sees to it only where a socket names its protocol; one that was accepted from a socket of
    `socket.create_server` does not.
    """
    line = transport.get_extra_info("socket")
    if line is not None and line.family in {socket.AF_INET, socket.AF_INET6}:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Server(uvicorn.Server):
    """A server that says when it listens, and on SIGTERM or Ctrl-C finishes what it has begun."""

    def __init__(self, config: uvicorn.Config, gates: Gates, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._gates = gates
        self._listening = listening
        self._drain_s = max(1, round(config.timeout_graceful_shutdown or 0))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, say so, and begin to probe."""
        await super().startup(sockets)
        if self.started:
            self._listening()
            if self._gates.readiness:
                self._gates.readiness.start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Turn readiness red at once; a second Ctrl-C waits for nobody."""
        self._gates.admission.draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send those who wait away and finish what is under way, for as long as the settings say."""
        self._gates.admission.drain()
        await self._gates.floor.drain(self._drain_s)
        if self._gates.readiness:
            self._gates.readiness.stop()
        await super().shutdown(sockets)


def server(
    app: ASGIApp,
    settings: Settings,
    gates: Gates,
    listening: Callable[[], None] = lambda: None,
    connection: type[Connection] = Connection,
) -> Server:
    """Return a server of `app`; `listening` is called when it has begun to listen."""
    config = uvicorn.Config(
        QueryAside(app) if settings.opentelemetry else app,
        http=connection,
        ws=Socket,
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # base64 of speech shrinks little, and costs time
        loop="asyncio",
        lifespan="on" if settings.opentelemetry else "off",  # FastAPI sets its exporters up there
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    return Server(config, gates, listening)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host` and `port`; 0 = any free port.

    Raises:
        OSError: the name is unknown, or the port is taken or not ours to take.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


def only_this_machine(host: str) -> bool:
    """Tell whether nobody beyond this machine can reach what listens at `host`."""
    found: list[Any] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(address[0].split("%")[0]).is_loopback for *_, address in found)
