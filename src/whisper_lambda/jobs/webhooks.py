"""The end of a job, told to an address its client gave: signed, retried, and sent nowhere private.

Signed as Standard Webhooks says, so that `client.webhooks.unwrap` of the OpenAI SDKs verifies it. The
message holds no words: who receives it asks for the result.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from whisper_lambda.errors import BadOption, FetchRefused
from whisper_lambda.job import Job
from whisper_lambda.network import Network, connected, target
from whisper_lambda.ports import JobStore

# Waits before each further call, seconds; after the last the webhook is given up. A day in all.
WAITS_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21_600.0, 54_000.0)
ANSWER_S = 15.0  # a receiver has this long
KEEP_SECRET_S = 86_400.0  # the old secret signs beside the new one for so long
LONGEST_ADDRESS = 2048  # characters

log = logging.getLogger(__name__)


def message(job: Job) -> bytes:
    """Return what the receiver is sent, the same in every try."""
    event = {
        "id": event_id(job),
        "object": "event",
        "type": f"job.{job.state}",
        "created_at": int(job.finished or 0),
        "data": {"id": job.id, "object": "job", "status": job.state},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def event_id(job: Job) -> str:
    """Return the event's id: a receiver that saw it already has been told."""
    return f"evt_{job.id.removeprefix('job_')}"


def signed(body: bytes, event: str, now: int, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a message: one signature for each secret.

    Args:
        body: the message.
        event: its id.
        now: seconds since the epoch; receivers refuse what is five minutes old.
        secrets: `whsec_` and base64, as shown to the tenant.
    """
    text = f"{event}.{now}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    signatures = [base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": event,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def checked(address: str, *, private: bool) -> str:
    """Return the address of a webhook if it can be one; where it leads is checked when it is called.

    Raises:
        BadOption: it is no https address, holds a password, or is too long.
    """
    try:
        url = urlsplit(address)
        good = url.scheme == "https" or (private and url.scheme == "http")
        good = good and bool(url.hostname) and not (url.username or url.password) and url.port != 0
    except ValueError:
        good = False
    if not good or len(address) > LONGEST_ADDRESS or not address.isprintable() or " " in address:
        raise BadOption("a webhook is an https address without a password in it")
    return address


@dataclass(frozen=True, slots=True)
class Teller:
    """Calls webhooks."""

    store: JobStore
    network: Network
    clock: Callable[[], float] = time.time

    def tell(self, job: Job, attempt: int) -> float | None:
        """Call a job's webhook for the how-many-th time.

        Returns:
            Seconds after which to call again; None when it was delivered or is given up.
        """
        if job.webhook is None or job.told:
            return None
        refusal = self._refusal(job)
        if not refusal:
            self.store.change(job.id, {job.state}, told="delivered")
            return None
        log.warning("%s: webhook, try %d: %s", job.id, attempt, refusal)
        if attempt <= len(WAITS_S):
            return WAITS_S[attempt - 1]
        self.store.change(job.id, {job.state}, told=f"given up after {attempt} calls: {refusal}")
        return None

    def _refusal(self, job: Job) -> str:
        """Return why the receiver did not take the message; "" when it did."""
        assert job.webhook is not None
        body = message(job)
        headers = signed(body, event_id(job), int(self.clock()), self.store.secrets(job.tenant))
        headers |= {"Content-Type": "application/json", "User-Agent": "whisper-lambda"}
        url = urlsplit(job.webhook)
        try:
            with connected(url, self.network, time.monotonic() + ANSWER_S) as connection:
                connection.request("POST", target(url), body, headers)
                status = connection.getresponse().status
        except FetchRefused as refused:
            return str(refused)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            return type(cause).__name__
        # A redirect is no delivery: following it would send the message where nobody asked for it.
        return "" if 200 <= status < 300 else f"status {status}"  # noqa: PLR2004
