"""The ObjectStore port. An adapter joins by its name in ADAPTERS and a fixture of that name."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from clouds import CLOUDS, NAMES, bucket
from whisper_lambda.adapters.directory_objects import DirectoryObjects
from whisper_lambda.adapters.s3 import S3Objects
from whisper_lambda.errors import AudioTooLarge, ObjectMissing
from whisper_lambda.ports import ObjectStore


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects(tmp_path / "objects", address=lambda key: f"/v1/uploads/{key}")


ADAPTERS = ["directory", *NAMES]


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param in CLOUDS:
        with CLOUDS[request.param]():
            store = S3Objects(bucket())
            yield store
            store.close()
    else:
        yield request.getfixturevalue(request.param)


class Endless(io.RawIOBase):
    """Gives a piece again and again, and remembers how much was asked for at once."""

    def __init__(self, pieces: int, broken_after: int | None = None) -> None:
        self.left, self.broken_after, self.largest = pieces, broken_after, 0

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size if size >= 0 else 1 << 60)
        if self.broken_after == 0:
            raise OSError(5, "the other side is gone")
        if self.broken_after:
            self.broken_after -= 1
        self.left -= 1
        return b"0123456789abcdef" * 4096 if self.left >= 0 else b""


def whole(stream: BinaryIO) -> bytes:
    with stream:
        return stream.read()


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one", "1.3 MB"])
@pytest.mark.parametrize("wrap", [bytes, io.BytesIO])
def test_what_was_put_can_be_read(
    store: ObjectStore, content: bytes, wrap: Callable[[bytes], bytes | BinaryIO]
) -> None:
    stored = store.put("jobs/0a/job_1/chunk-0007", wrap(content))

    assert (stored.size_bytes, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert whole(store.open("jobs/0a/job_1/chunk-0007")) == content
    assert store.size("jobs/0a/job_1/chunk-0007") == len(content)


def test_a_stream_can_be_read_from_anywhere(store: ObjectStore) -> None:
    store.put("a", b"0123456789")
    with store.open("a") as stream:
        assert stream.seekable()
        assert (stream.seek(7), stream.read(2)) == (7, b"78")
        assert (stream.seek(-3, io.SEEK_END), stream.read()) == (7, b"789")
        assert (stream.seek(0), stream.read()) == (0, b"0123456789")


def test_the_last_writer_wins(store: ObjectStore) -> None:
    store.put("a", b"first, and longer")
    store.put("a", b"second")

    assert whole(store.open("a")) == b"second"


def test_what_is_not_there_is_said_to_be_missing(store: ObjectStore) -> None:
    for ask in (store.open, store.size):
        with pytest.raises(ObjectMissing):
            ask("nothing/here")
    store.delete("nothing/here")

    assert list(store.keys("")) == []


def test_deleted_is_gone(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.put("a/c", b"2")
    with store.open("a/b") as still_open:
        store.delete("a/b")

        assert still_open.read() == b"1"
    assert list(store.keys("")) == ["a/c"]
    with pytest.raises(ObjectMissing):
        store.open("a/b")


def test_keys_are_listed_by_prefix_and_in_order(store: ObjectStore) -> None:
    names = ["jobs/1/b", "jobs/1/a", "jobs/10/a", "uploads/1", "jobs/1.json"]
    for name in names:
        store.put(name, b"")

    assert list(store.keys("")) == sorted(names)
    assert list(store.keys("jobs/1/")) == ["jobs/1/a", "jobs/1/b"]
    assert list(store.keys("jobs/1")) == ["jobs/1.json", "jobs/1/a", "jobs/1/b", "jobs/10/a"]
    assert list(store.keys("other/")) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "../a", "a/../b", ".hidden", "a/.b", "A", "a b", "a//b", "é", "a\0", "a\n"]
)
def test_no_key_leads_elsewhere(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        store.put(key, b"x")
    with pytest.raises(ValueError, match="key"):
        store.ticket(key, size_bytes=1, content_type="", expires_s=1, sha256="")


def test_too_much_is_refused_as_soon_as_it_is_too_much(store: ObjectStore) -> None:
    store.put("a", b"before")
    endless = Endless(1_000_000)
    with pytest.raises(AudioTooLarge):
        store.put("a", endless, max_bytes=1_000_000)

    assert endless.left > 990_000
    assert whole(store.open("a")) == b"before"
    assert store.put("a", b"x" * 10, max_bytes=10).size_bytes == 10


def test_content_is_read_in_pieces(store: ObjectStore) -> None:
    stream = Endless(200)
    store.put("a", stream)

    assert stream.largest <= 16 << 20
    assert store.size("a") == 200 * 65536


def test_a_failure_leaves_what_was_there(store: ObjectStore) -> None:
    store.put("a", b"before")
    with pytest.raises(Exception, match="gone"):
        store.put("a", Endless(100, broken_after=50))
    with pytest.raises(Exception, match="gone"):
        store.put("b", Endless(100, broken_after=50))

    assert whole(store.open("a")) == b"before"
    assert list(store.keys("")) == ["a"]


def test_many_threads_write_and_read_one_object(store: ObjectStore) -> None:
    """Nobody sees half of one, or two mixed."""
    bodies = [bytes([n]) * 300_000 for n in range(8)]
    store.put("a", bodies[0])

    def work(number: int) -> bytes:
        store.put("a", bodies[number % 8])
        return whole(store.open("a"))

    with ThreadPoolExecutor(8) as threads:
        assert {len(set(body)) for body in threads.map(work, range(64))} == {1}
    assert list(store.keys("")) == ["a"]


def test_objects_come_and_go_in_one_folder_at_once(store: ObjectStore) -> None:
    def work(number: int) -> None:
        store.put(f"folder/{number}", b"x")
        store.delete(f"folder/{number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(200)))

    assert list(store.keys("")) == []


def test_a_ticket_says_where_to_put_what_and_until_when(store: ObjectStore) -> None:
    ticket = store.ticket("up/1", size_bytes=5, content_type="audio/wav", expires_s=60, sha256="")

    assert ticket.method == "PUT"
    assert "up/1" in ticket.url
    assert ticket.expires_at > 1e9
    assert dict(ticket.headers).get("Content-Type") == "audio/wav"
