"""Connections out: a name is resolved once, and only to where a client may send us.

Nothing inside the operator's network can be reached through an address that a client gave: not by a
private address, nor by a second answer of the name server (rebinding), since the connection is made to
exactly the address that was checked.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult

from whisper_lambda.errors import FetchRefused

SILENCE_S = 10.0  # without a byte


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None and not _is_public(str(inner)):
            return False
        if inner is None and ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and ip not in _PROTOCOLS


# What IANA gives to networks. Beside it lie addresses that hold any IPv4 address, private ones too
# (64:ff9b::/96, 64:ff9b:1::/48, ::/96), and those of sites (fec0::/10); Python calls some of them global.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")  # nobody's; a cloud has its instances' secrets there


def _resolve(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Network:
    """How names become addresses, which addresses may be reached, and whose certificates count."""

    resolve: Callable[[str], list[str]] = _resolve
    allowed: Callable[[str], bool] = _is_public
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    plain: bool = False  # whether http will do


def anywhere() -> Network:
    """Return a network of http too and of private addresses, for operators who want their own reached."""
    return Network(allowed=lambda _: True, plain=True)


@contextmanager
def connected(url: SplitResult, network: Network, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """Open a connection, hung up on at `deadline` (of the monotonic clock) whatever it is doing.

    Raises:
        FetchRefused: the address is not https, or leads into a private network.
        OSError: it cannot be reached.
    """
    connection = _connection(url, network, deadline)
    # A header that drips in never lets the socket time out.
    over = threading.Timer(left(deadline), _hang_up, [connection.sock])
    over.start()
    try:
        yield connection
    finally:
        over.cancel()
        connection.close()


def target(url: SplitResult) -> str:
    """Return what is asked for in a request's first line."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _connection(url: SplitResult, network: Network, deadline: float) -> http.client.HTTPConnection:
    if url.scheme not in ({"https", "http"} if network.plain else {"https"}) or not url.hostname:
        raise refused("only https addresses are fetched")
    if url.username or url.password:
        raise refused("an address with a password in it is not fetched")
    try:
        found = network.resolve(url.hostname)
    except OSError:
        raise refused("the address's host has no address") from None
    if not found or not all(network.allowed(ip) for ip in found):
        raise refused("the address is not on the public internet")
    secure = url.scheme == "https"
    port = url.port or (http.client.HTTPS_PORT if secure else http.client.HTTP_PORT)
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(url.hostname, port)
    plain = _reached(found, port, deadline)
    try:
        connection.sock = network.tls.wrap_socket(plain, server_hostname=url.hostname) if secure else plain
    except BaseException:
        plain.close()
        raise
    return connection


def _reached(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    """Connect to the first address that answers: a host may have two, one of no use from here."""
    *others, last = addresses
    for untried, address in zip(range(len(addresses), 1, -1), others, strict=True):
        with contextlib.suppress(OSError):  # each has its share of the time
            return _dialled(address, port, min(left(deadline) / untried, SILENCE_S), deadline)
    return _dialled(last, port, min(left(deadline), SILENCE_S), deadline)


def _dialled(address: str, port: int, patience_s: float, deadline: float) -> socket.socket:
    reached = socket.create_connection((address, port), patience_s)
    reached.settimeout(min(left(deadline), SILENCE_S))
    return reached


def _hang_up(socket_: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket_.shutdown(socket.SHUT_RDWR)


def left(deadline: float) -> float:
    """Return the seconds left; raise FetchRefused when none are."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise refused("the address took too long to be fetched")
    return seconds


def refused(why: str) -> FetchRefused:
    """Return the refusal of an address."""
    refusal = FetchRefused(why)
    refusal.param = "url"
    return refusal
