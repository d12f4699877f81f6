"""API keys: who may ask for what. Keys live hashed in one small file; a running server sees it change.

A key is `wl_<id>_<secret>`, the secret 256 random bits. Its sha256 is enough at rest: slow hashes
(bcrypt, argon2) protect words people choose, and would cost every request a tenth of a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import math
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption, InvalidKey, KeyNotAllowed, MissingKey, StorageFull

SCOPES = ("transcribe", "jobs", "admin", "metrics")
LONGEST_S = 36_525 * 86_400.0  # a key may live: a date beyond cannot be shown everywhere
DEFAULT_SCOPES = ("transcribe", "jobs")

_SHAPE = re.compile(r"wl_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_ABSENT = hashlib.sha256(b"").hexdigest()  # compared with where no key has the id: the same work
_TENANT = re.compile(r"[A-Za-z0-9._@-]{1,128}")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is kept of one key: everything but the key."""

    id: str  # eight hexadecimal digits, part of the key's text: what logs and lists call it
    digest: str  # sha256 of the key's text, hexadecimal
    tenant: str  # whose key it is; several keys may share a tenant
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    created: float  # seconds since the epoch
    expires: float | None = None  # seconds since the epoch
    revoked: float | None = None  # seconds since the epoch
    concurrent: int | None = None  # most requests under way at once
    per_minute: int | None = None  # most requests in a minute
    audio_s_per_day: float | None = None  # most seconds of audio from midnight to midnight UTC

    def live(self, now: float) -> bool:
        """Tell whether the key opens anything at `now`, seconds since the epoch."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class KeyFile:
    """The keys of one file, read again whenever it changes. Safe to use from many threads.

    A file that turns unreadable closes the door: nobody is let in on what it once said.
    """

    def __init__(self, path: Path, given: str | None = None) -> None:
        """Name the file.

        Args:
            path: where it is; what keys have used of their limits is kept beside it.
            given: its content, which then never changes; no file is read.
        """
        self.path = path
        self._given = given
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._demanded = False

    @property
    def demanded(self) -> bool:
        """Whether a key is needed: from the moment there is a key file, until the server ends."""
        self._refresh()
        return self._demanded

    def listed(self) -> tuple[Key, ...]:
        """Return every key, revoked and expired ones too, oldest first.

        Raises:
            BadOption: the file is not one of ours.
        """
        return tuple(self._read().values())

    def check(self, text: str | None, scope: str, now: float) -> Key:
        """Return the key that `text` is, when it covers `scope`.

        Raises:
            MissingKey: there is no text.
            InvalidKey: no live key has this text.
            KeyNotAllowed: the key does not cover the scope.
        """
        if not text:
            raise MissingKey("send an API key: the header `Authorization: Bearer wl_...` or `X-API-Key`")
        self._refresh()
        shape = _SHAPE.fullmatch(text)
        key = self._keys.get(shape[1]) if shape else None
        given = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        if not hmac.compare_digest(given, key.digest if key else _ABSENT) or key is None:
            raise InvalidKey(
                "this API key is not known here; `whisper-lambda keys list` shows those that are"
            )
        if not key.live(now):
            raise InvalidKey(f"the API key {key.id} is revoked or expired; ask for a new one")
        return _covering(key, scope)

    def named(self, key_id: str, scope: str, now: float) -> Key:
        """Return the live key of this id: something sealed by this server vouches for who asks.

        Raises:
            InvalidKey: it is revoked, expired or gone.
            KeyNotAllowed: it does not cover the scope.
        """
        self._refresh()
        key = self._keys.get(key_id)
        if key is None or not key.live(now):
            raise InvalidKey(f"the API key {key_id} this was made with is revoked, expired or gone")
        return _covering(key, scope)

    def add(self, key: Key) -> None:
        """Keep one more key."""
        with self._changing() as keys:
            keys[key.id] = key

    def revoke(self, key_id: str, now: float) -> Key:
        """Close a key for ever; it stays in the list.

        Raises:
            BadOption: there is no such key.
        """
        with self._changing() as keys:
            if key_id not in keys:
                raise BadOption(
                    f"there is no key {key_id!r}; `whisper-lambda keys list` shows those there are"
                )
            if keys[key_id].revoked is None:
                keys[key_id] = replace(keys[key_id], revoked=now)
            return keys[key_id]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """Hold the file alone, and write it whole or not at all."""
        if self._given is not None:
            raise BadOption("the keys are given by WHISPER_LAMBDA_KEYS: change that")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
                keys = self._read()
                yield keys
                _write(self.path, keys.values())
            finally:
                os.close(lock)
        except OSError as cause:
            raise StorageFull(f"{self.path} cannot be written: {cause.strerror}") from cause

    def _read(self) -> dict[str, Key]:
        if self._given is not None:
            return _parsed(self._given, "WHISPER_LAMBDA_KEYS")
        try:
            return _parsed(self.path.read_text(encoding="utf-8"), str(self.path))
        except FileNotFoundError:
            return {}

    def _refresh(self) -> None:
        with self._lock:
            if self._given is not None:
                self._demanded = True
                self._keys = self._keys or self._read()
                return
            try:
                at = self.path.stat()
                seen = (at.st_ino, at.st_mtime_ns, at.st_size)
            except FileNotFoundError:
                self._keys, self._seen = {}, None
                return
            except OSError as cause:
                self._close_door(str(cause.strerror))
                return
            self._demanded = True
            if seen == self._seen:
                return
            try:
                self._keys = self._read()
                self._seen = seen
            except (BadOption, OSError) as cause:
                self._close_door(str(cause))

    def _close_door(self, reason: str) -> None:
        self._demanded, self._seen = True, None
        if self._keys:
            log.error("the key file cannot be read, nobody is let in: %s", reason)
        self._keys = {}


def _covering(key: Key, scope: str) -> Key:
    if scope not in key.scopes and "admin" not in key.scopes:
        raise KeyNotAllowed(
            f"the API key {key.id} may {', '.join(key.scopes)}; this needs the scope {scope!r}"
        )
    return key


def key_file(settings: Settings) -> KeyFile:
    """Return the key file these settings name, or the one they hold."""
    return KeyFile(settings.keys_file or settings.home / "keys.json", settings.keys)


def exported(keys: Iterable[Key]) -> str:
    """Return a key file's content in one line, for WHISPER_LAMBDA_KEYS: what is as usual is left out."""
    kept = [{k: v for k, v in asdict(key).items() if v != _USUAL.get(k, ...)} for key in keys]
    return json.dumps({"version": 1, "keys": kept}, separators=(",", ":"))


_USUAL: dict[str, Any] = {f.name: f.default for f in fields(Key) if f.default is not MISSING}


def new_key(
    tenant: str,
    now: float,
    *,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    expires: float | None = None,
    concurrent: int | None = None,
    per_minute: int | None = None,
    audio_s_per_day: float | None = None,
) -> tuple[str, Key]:
    """Return a new key's text, which is kept nowhere, and what is kept of it.

    Raises:
        BadOption: an unknown scope, a tenant of odd characters, a limit that is not positive, or an odd end.
    """
    if not _TENANT.fullmatch(tenant):
        raise BadOption(f"a tenant is 1 to 128 of A-Z a-z 0-9 . _ @ -, not {tenant!r}")
    unknown = [s for s in scopes if s not in SCOPES]
    if unknown or not scopes:
        raise BadOption(f"scopes are some of {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")
    limits = (concurrent, per_minute, audio_s_per_day)
    if any(limit is not None and not 0 < limit < math.inf for limit in limits):
        raise BadOption("limits are numbers above 0; leave one out for no limit")
    if expires is not None and not now < expires < now + LONGEST_S:
        raise BadOption("a key expires after it is made and within a century; leave it out for never")
    name = secrets.token_hex(4)
    text = f"wl_{name}_{secrets.token_urlsafe(32)}"
    return text, Key(
        id=name,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        tenant=tenant,
        scopes=tuple(dict.fromkeys(scopes)),
        created=now,
        expires=expires,
        concurrent=concurrent,
        per_minute=per_minute,
        audio_s_per_day=audio_s_per_day,
    )


def _parsed(text: str, name: str) -> dict[str, Key]:
    try:
        kept: list[dict[str, Any]] = json.loads(text)["keys"]
        keys = [Key(**{**k, "scopes": tuple(k.get("scopes", DEFAULT_SCOPES))}) for k in kept]
    except (ValueError, KeyError, TypeError) as cause:
        raise BadOption(f"{name} is not a key file; restore it, or move it away and make new keys") from cause
    return {key.id: key for key in sorted(keys, key=lambda k: k.created)}


def _write(path: Path, keys: Iterable[Key]) -> None:
    text = json.dumps({"version": 1, "keys": [asdict(k) for k in keys]}, indent=1)
    with tempfile.NamedTemporaryFile(  # mode 0600
        "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
