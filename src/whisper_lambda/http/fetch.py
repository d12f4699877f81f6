"""An https address in, its bytes in a spool; every redirect is checked like the first address."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urljoin, urlsplit

from whisper_lambda.config import Settings
from whisper_lambda.http.upload import Spool
from whisper_lambda.network import Network, connected, left, refused, target

MOST_REDIRECTS = 3
_PIECE = 256 * 1024  # bytes read at once
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
        raise refused(f"the address could not be fetched: {type(cause).__name__}") from cause


def _follow(address: str, spool: Spool, network: Network, deadline: float) -> None:
    for _ in range(MOST_REDIRECTS + 1):
        url = urlsplit(address)
        with connected(url, network, deadline) as connection:
            connection.request("GET", target(url), headers={"Accept": "*/*", "User-Agent": "whisper-lambda"})
            answer = connection.getresponse()
            if answer.status in _REDIRECTS:
                address = urljoin(address, answer.getheader("Location") or "")
                continue
            if answer.status != http.client.OK:
                raise refused(f"the address answers with status {answer.status}")
            _take(answer, spool, deadline)
            return
    raise refused(f"the address redirects more than {MOST_REDIRECTS} times")


def _take(answer: http.client.HTTPResponse, spool: Spool, deadline: float) -> None:
    while piece := answer.read1(_PIECE):
        spool.take(piece)
        left(deadline)
    left(deadline)  # hung up on for its slowness, it looks like a file that ends
    if answer.length:
        raise refused("the address broke off before the recording's end")
