"""Recordings sent ahead of the request that needs them: their ids, where they are, and their end."""

from __future__ import annotations

import io
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from whisper_lambda import tenants
from whisper_lambda.errors import NoSuchUpload, ObjectMissing
from whisper_lambda.ports import ObjectStore

_ID = re.compile(r"upl_[0-9a-f]{8}[0-9a-f]{24}")


def new_id(now: float) -> str:
    """Return an id nobody guesses; when it was made can be read from it, so the old ones are found."""
    return f"upl_{int(now):08x}{secrets.token_hex(12)}"


def key(tenant: str, upload_id: str) -> str:
    """Return the key of an upload's object; another tenant's is another.

    Raises:
        NoSuchUpload: it is no id of ours.
    """
    if not _ID.fullmatch(upload_id):
        raise NoSuchUpload("there is no such upload; POST /v1/uploads makes one")
    return f"{prefix(tenant)}{upload_id}"


def prefix(tenant: str) -> str:
    """Return what the keys of a tenant's uploads start with."""
    return f"uploads/{tenants.folder(tenant)}/"


def complete(store: ObjectStore, tenant: str, upload_id: str) -> str:
    """Return the key of an upload that has come whole.

    Raises:
        NoSuchUpload: the tenant has none of that id, or it is not complete.
    """
    where = key(tenant, upload_id)
    try:
        store.size(where)
    except ObjectMissing as cause:
        raise NoSuchUpload("there is no such upload, it is not complete yet, or its time is over") from cause
    return where


@contextmanager
def opened(store: ObjectStore, key: str, scratch: Path | None) -> Iterator[io.FileIO]:
    """Give an object as a file the decoder can read: the store's own, or a nameless copy of it.

    Raises:
        ObjectMissing: there is none.
        StorageFailed: the store does not work.
    """
    with store.open(key) as stream:
        if isinstance(stream, io.FileIO):
            yield stream
            return
        with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
            shutil.copyfileobj(stream, file, 1 << 20)
            assert isinstance(file, io.FileIO)
            yield file


def overdue(keys: Iterable[str], before: float) -> list[str]:
    """Return the keys of uploads begun before a time, seconds since the epoch."""
    named = ((k, k.rpartition("/")[2]) for k in keys)
    return [k for k, name in named if _ID.fullmatch(name) and int(name[4:12], 16) < before]
