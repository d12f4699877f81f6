"""What a presigned PUT or POST signs. Emulators take any signature, so it is read from what was made."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx2
import pytest

from clouds import ministack, moto
from whisper_lambda.adapters.s3 import LONGEST_TICKET_S, S3Objects
from whisper_lambda.types import Ticket

NOW = 1_900_000_000.0
DIGEST = hashlib.sha256(b"hola").hexdigest()


@pytest.fixture
def store() -> Iterator[S3Objects]:
    with moto():
        yield S3Objects("a-bucket", clock=lambda: NOW)


def signed(ticket: Ticket) -> tuple[dict[str, str], set[str]]:
    """Return the query of a ticket's address, and the headers its signature covers."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(ticket.url).query).items()}
    return query, set(query["X-Amz-SignedHeaders"].split(";"))


def ticket(store: S3Objects, **changed: object) -> Ticket:
    asked = {"size_bytes": 4, "content_type": "audio/wav", "expires_s": 900.0, "sha256": DIGEST}
    return store.ticket("uploads/x/upl_1", **{**asked, **changed})


def test_size_type_and_digest_are_signed(store: S3Objects) -> None:
    given = ticket(store)
    _, headers = signed(given)

    assert given.method == "PUT"
    assert headers == {"content-length", "content-type", "host", "x-amz-checksum-sha256"}
    assert dict(given.headers) == {
        "Content-Type": "audio/wav",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"hola").digest()).decode(),
    }


def policy(given: Ticket) -> dict[str, Any]:
    """Return the policy of a presigned form, which S3 holds the form against."""
    return json.loads(base64.b64decode(dict(given.fields)["policy"]))


def test_the_policy_of_a_form_bounds_size_type_digest_and_place(store: S3Objects) -> None:
    given = store.form(
        "uploads/x/upl_1", size_bytes=4, content_type="audio/wav", expires_s=900.0, sha256=DIGEST
    )
    fields, conditions = dict(given.fields), policy(given)["conditions"]
    digest = base64.b64encode(hashlib.sha256(b"hola").digest()).decode()

    assert given.method == "POST"
    assert urlsplit(given.url).scheme == "https"
    assert ["content-length-range", 4, 4] in conditions
    assert {"Content-Type": "audio/wav"} in conditions
    assert {"x-amz-checksum-sha256": digest} in conditions
    assert {"bucket": "a-bucket"} in conditions
    assert {"key": "uploads/x/upl_1"} in conditions
    assert (fields["key"], fields["Content-Type"]) == ("uploads/x/upl_1", "audio/wav")
    assert {"x-amz-signature", "x-amz-credential", "policy"} <= set(fields)
    assert given.expires_at == NOW + 900


def test_a_form_ends_when_it_says(store: S3Objects) -> None:
    began = datetime.now(UTC)
    given = store.form("uploads/x/upl_1", size_bytes=4, content_type="", expires_s=900.0, sha256="")
    ends = datetime.fromisoformat(policy(given)["expiration"])

    assert began + timedelta(seconds=899) <= ends <= datetime.now(UTC) + timedelta(seconds=900)


@pytest.mark.aws
@pytest.mark.parametrize(("body", "taken"), [(b"hola", True), (b"hola!", False), (b"hol", False)])
def test_a_form_of_another_size_is_refused(body: bytes, taken: bool) -> None:
    with ministack():
        boto3.client("s3").create_bucket(Bucket="forms")
        store = S3Objects("forms")
        given = store.form("uploads/x/upl_1", size_bytes=4, content_type="", expires_s=60, sha256="")
        answer = httpx2.post(given.url, data=dict(given.fields), files={"file": ("a.wav", body)}, timeout=60)

    assert answer.is_success == taken, answer.text


def test_what_is_not_known_beforehand_is_not_signed(store: S3Objects) -> None:
    _, headers = signed(ticket(store, content_type="", sha256=""))

    assert headers == {"content-length", "host"}


@pytest.mark.parametrize("changed", [{"size_bytes": 5}, {"content_type": "audio/mpeg"}, {"sha256": "0" * 64}])
def test_another_size_type_or_digest_has_another_signature(
    store: S3Objects, changed: dict[str, object]
) -> None:
    one, other = {"X-Amz-Date": ""}, signed(ticket(store, **changed))[0]
    while (
        one["X-Amz-Date"] != other["X-Amz-Date"]
    ):  # of the same second: else the time alone makes it another
        one, other = (signed(ticket(store, **c))[0] for c in ({}, changed))

    assert one["X-Amz-Signature"] != other["X-Amz-Signature"]


def test_it_names_one_object_and_ends_when_it_says(store: S3Objects) -> None:
    given = ticket(store)
    query, _ = signed(given)

    assert urlsplit(given.url).scheme == "https"
    assert urlsplit(given.url).netloc.startswith("a-bucket.s3.")
    assert urlsplit(given.url).path == "/uploads/x/upl_1"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "900"
    assert given.expires_at == NOW + 900


def test_no_ticket_outlasts_what_s3_allows(store: S3Objects) -> None:
    given = ticket(store, expires_s=1e9)

    assert signed(given)[0]["X-Amz-Expires"] == str(int(LONGEST_TICKET_S))
    assert given.expires_at == NOW + LONGEST_TICKET_S
