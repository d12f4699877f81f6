"""ObjectStore on a directory; also the receiver its tickets lead to.

    objects/<key>           whole objects
    coming/<key>            the beginning of an object a client is sending
    secret                  what tickets are signed with, 0600

An object appears by a rename, so nobody sees half of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlencode

from whisper_lambda.errors import (
    AudioTooLarge,
    ObjectMissing,
    StorageFailed,
    StorageFull,
    TicketRefused,
    UploadConflict,
    UploadMismatch,
)
from whisper_lambda.ports import Pieces
from whisper_lambda.types import Announced, Stored, Ticket

PIECE_BYTES = 1 << 20
_KEY = re.compile(r"[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*")


class DirectoryObjects:
    """Objects as files below one private directory."""

    def __init__(
        self, root: Path, *, address: Callable[[str], str] = str, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the store; nothing is made before it is needed.

        Args:
            root: made, with mode 0700, if it does not exist.
            address: the path of our own server where the object of a key is to be sent.
            clock: seconds since the epoch.
        """
        self._objects = root / "objects"
        self._coming = root / "coming"
        self._root = root
        self._address = address
        self._clock = clock

    def put(self, key: str, content: bytes | Pieces, *, max_bytes: int | None = None) -> Stored:
        """Keep an object; see the port."""
        target = self._path(self._objects, key)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        digest, size = hashlib.sha256(), 0
        with _disk_errors(key), self._unfinished() as (file, path):
            while piece := stream.read(PIECE_BYTES):
                size += len(piece)
                if max_bytes is not None and size > max_bytes:
                    raise AudioTooLarge(f"more than the {max_bytes} bytes that are accepted")
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            self._place(path, target)
        return Stored(size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """Return an object's stream: a real file; see the port."""
        with _disk_errors(key):
            return io.FileIO(self._path(self._objects, key))

    def size(self, key: str) -> int:
        """Return an object's size; see the port."""
        with _disk_errors(key):
            return self._path(self._objects, key).stat().st_size

    def delete(self, key: str) -> None:
        """Remove an object and what has come of one; see the port."""
        for side in (self._objects, self._coming):
            path = self._path(side, key)
            with _disk_errors(key):
                path.unlink(missing_ok=True)
            with _disk_errors(key), self._folders(removing=True), contextlib.suppress(OSError):
                for folder in path.parents[: len(path.relative_to(side).parents) - 1]:
                    folder.rmdir()  # until one is not empty; it would tell whose data was here

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield keys in order; see the port."""
        with _disk_errors(prefix):
            yield from sorted(k for k in _files(self._objects, prefix) if k.startswith(prefix))

    def coming(self, prefix: str) -> Iterator[str]:
        """Yield the keys of objects that have begun to come, in order."""
        with _disk_errors(prefix):
            yield from sorted(k for k in _files(self._coming, prefix) if k.startswith(prefix))

    def ticket(
        self, key: str, *, size_bytes: int, content_type: str, expires_s: float, sha256: str
    ) -> Ticket:
        """Return a path of our own server, signed; see the port."""
        self._path(self._objects, key)
        expires = int(self._clock() + expires_s)
        said = {"expires": str(expires), "size": str(size_bytes), "type": content_type, "sha256": sha256}
        query = urlencode({**said, "signature": self._signature(key, said)})
        headers = (("Content-Type", content_type),) if content_type else ()
        return Ticket(f"{self._address(key)}?{query}", headers=headers, expires_at=float(expires))

    def check(self, key: str, query: str) -> Announced:
        """Return what a ticket of ours announced; see the port."""
        given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        said = {name: given.get(name, "") for name in ("expires", "size", "type", "sha256")}
        signature = given.get("signature", "").encode("utf-8", "replace")
        if not hmac.compare_digest(signature, self._signature(key, said).encode()):
            raise TicketRefused("this address was not given out by us, or was altered; ask for a new one")
        if self._clock() > int(said["expires"]):
            raise TicketRefused("this address has expired; ask for a new one")
        return Announced(int(said["size"]), said["type"], said["sha256"])

    def received(self, key: str) -> int:
        """Return how much has come; see the port."""
        try:
            return self.size(key)
        except ObjectMissing:
            with _disk_errors(key), contextlib.suppress(FileNotFoundError):
                return self._path(self._coming, key).stat().st_size
            return 0

    def receive(self, key: str, announced: Announced, offset: int, content: Pieces) -> int:
        """Take more of an object; see the port."""
        path, target = self._path(self._coming, key), self._path(self._objects, key)
        with _disk_errors(key), self._alone(path, target) as file:
            have = file.seek(0, os.SEEK_END)
            if offset != have:
                raise UploadConflict(f"{have} bytes have come: go on from there, not from {offset}")
            try:
                have = _appended(file, have, announced.size_bytes, content)
                if have == announced.size_bytes:
                    _check_digest(file, announced)
                    os.fsync(file.fileno())
                    self._place(path, target)
            except UploadMismatch:
                path.unlink(missing_ok=True)
                raise
            return have

    @contextmanager
    def _alone(self, path: Path, target: Path) -> Iterator[io.BufferedRandom]:
        """Hold what has come of an object, against every other process."""
        with self._folders():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
            except BlockingIOError:
                raise UploadConflict("this upload is being sent by another request") from None
            if target.exists():
                path.unlink(missing_ok=True)  # made by the opening above
                raise UploadConflict("this upload is complete; ask for a new one to send another")
            if not os.fstat(file.fileno()).st_nlink:  # its sender, who held it, was refused
                raise UploadConflict("this upload was begun anew; ask how much of it has come")
            yield file

    def _path(self, side: Path, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of an object")
        return side / key

    @contextmanager
    def _unfinished(self) -> Iterator[tuple[BinaryIO, Path]]:
        self._coming.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._coming / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def _place(self, path: Path, target: Path) -> None:
        with self._folders():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.replace(target)
            folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name too is to survive a power cut
        finally:
            os.close(folder)

    @contextmanager
    def _folders(self, *, removing: bool = False) -> Iterator[None]:
        """Keep empty folders from being removed while others put something into them."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(self._root / "lock", os.O_CREAT | os.O_RDWR, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if removing else fcntl.LOCK_SH)  # until it is closed
            yield

    def _signature(self, key: str, said: dict[str, str]) -> str:
        text = "\n".join((key, *(f"{name}={said[name]}" for name in sorted(said))))
        return hmac.new(self._secret(), text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        path = self._root / "secret"
        with _disk_errors("secret"):
            if not path.exists():
                with self._unfinished() as (file, made):
                    file.write(secrets.token_bytes(32))
                    file.flush()
                    os.fsync(file.fileno())
                    with contextlib.suppress(FileExistsError):
                        os.link(made, path)  # unlike a rename, the first of several wins
            return path.read_bytes()


def _files(side: Path, prefix: str) -> Iterator[str]:
    start = side / prefix.rpartition("/")[0]
    for folder, _, names in os.walk(start):
        for name in names:
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(side).as_posix()


def _appended(file: io.BufferedRandom, have: int, size_bytes: int, content: Pieces) -> int:
    while piece := content.read(PIECE_BYTES):
        if have + len(piece) > size_bytes:
            raise UploadMismatch(f"more came than the {size_bytes} bytes announced")
        file.write(piece)
        have += len(piece)
    file.flush()
    return have


def _check_digest(file: io.BufferedRandom, announced: Announced) -> None:
    if not announced.sha256:
        return
    file.seek(0)
    if hashlib.file_digest(file, "sha256").hexdigest() != announced.sha256:
        raise UploadMismatch("the sha256 of what came is not the one announced; send it again")


@contextmanager
def _disk_errors(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as cause:
        raise ObjectMissing(f"there is no object {key}") from cause
    except OSError as cause:
        full = cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        raise (StorageFull if full else StorageFailed)(f"the object store: {cause.strerror}") from cause
