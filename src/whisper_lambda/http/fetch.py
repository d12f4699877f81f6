"""An https address in, its bytes in a spool; nothing inside the operator's network can be reached.

A name is resolved once and the connection made to exactly the address that was checked, so that a
second answer of the name server (rebinding) has no effect. Every redirect is checked like the first.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from whisper_lambda.config import Settings
from whisper_lambda.errors import FetchRefused
from whisper_lambda.http.fields import blamed
from whisper_lambda.http.upload import Spool

MOST_REDIRECTS = 3
_PIECE = 256 * 1024  # bytes read at once
_SILENCE_S = 10.0  # without a byte
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None and not _is_public(str(inner)):
            return False
        if ip in _NAT64:
            return False
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # holds any IPv4 address, private ones too


def _resolve(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Network:
    """How names become addresses, which addresses may be reached, and whose certificates count."""

    resolve: Callable[[str], list[str]] = _resolve
    allowed: Callable[[str], bool] = _is_public
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)


def fetch(address: str, spool: Spool, settings: Settings, network: Network) -> None:
    """Fetch a recording.

    Raises:
        FetchRefused: the address is not https, leads into a private network, or answers no recording.
        AudioTooLarge: it is larger than an upload may be.
    """
    deadline = time.monotonic() + settings.fetch_timeout_s
    try:
        _follow(address, spool, network, deadline)
    except (OSError, http.client.HTTPException, ValueError) as cause:
        raise _refused(f"the address could not be fetched: {type(cause).__name__}") from cause


def _follow(address: str, spool: Spool, network: Network, deadline: float) -> None:
    for _ in range(MOST_REDIRECTS + 1):
        url = urlsplit(address)
        connection = _connected(url, network, deadline)
        # A header that drips in never lets the socket time out.
        over = threading.Timer(_left(deadline), _hang_up, [connection.sock])
        over.start()
        try:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("GET", path, headers={"Accept": "*/*", "User-Agent": "whisper-lambda"})
            answer = connection.getresponse()
            if answer.status in _REDIRECTS:
                address = urljoin(address, answer.getheader("Location") or "")
                continue
            if answer.status != http.client.OK:
                raise _refused(f"the address answers with status {answer.status}")
            _take(answer, spool, deadline)
            return
        finally:
            over.cancel()
            connection.close()
    raise _refused(f"the address redirects more than {MOST_REDIRECTS} times")


def _connected(url: SplitResult, network: Network, deadline: float) -> http.client.HTTPSConnection:
    if url.scheme != "https" or not url.hostname:
        raise _refused("only https addresses are fetched")
    if url.username or url.password:
        raise _refused("an address with a password in it is not fetched")
    try:
        found = network.resolve(url.hostname)
    except OSError:
        raise _refused("the address's host has no address") from None
    if not found or not all(network.allowed(ip) for ip in found):
        raise _refused("the address is not on the public internet")
    port = url.port or http.client.HTTPS_PORT
    connection = http.client.HTTPSConnection(url.hostname, port)
    plain = socket.create_connection((found[0], port), timeout=min(_left(deadline), _SILENCE_S))
    try:
        connection.sock = network.tls.wrap_socket(plain, server_hostname=url.hostname)
    except BaseException:
        plain.close()
        raise
    return connection


def _hang_up(socket_: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket_.shutdown(socket.SHUT_RDWR)


def _take(answer: http.client.HTTPResponse, spool: Spool, deadline: float) -> None:
    while piece := answer.read1(_PIECE):
        spool.take(piece)
        _left(deadline)
    _left(deadline)  # hung up on for its slowness, it looks like a file that ends
    if answer.length:
        raise _refused("the address broke off before the recording's end")


def _left(deadline: float) -> float:
    """Return the seconds left; raise when none are."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise _refused("the address took too long to be fetched")
    return seconds


def _refused(why: str) -> FetchRefused:
    refused = FetchRefused(why)
    blamed(refused, "url")
    return refused
