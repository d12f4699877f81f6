"""Values that leave the house and must come back unchanged: JSON under an HMAC, readable, not forgeable."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Any

from whisper_lambda.errors import StorageFull

SECRET_BYTES = 32
_MAC_BYTES = 32


class Seal:
    """Seals and opens. What was sealed for one purpose does not open for another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sealed(self, purpose: str, said: dict[str, Any]) -> str:
        """Return what was said as text of A-Z a-z 0-9 - _ and one dot."""
        body = json.dumps(said, separators=(",", ":")).encode()
        return f"{_to_text(body)}.{_to_text(self._mac(purpose, body))}"

    def opened(self, purpose: str, text: str) -> dict[str, Any] | None:
        """Return what was said, or None where it was not sealed here for this purpose."""
        body_text, _, mac_text = text.partition(".")
        try:
            body, mac = _from_text(body_text), _from_text(mac_text)
        except ValueError:
            return None
        if not hmac.compare_digest(mac, self._mac(purpose, body)):
            return None
        said: dict[str, Any] = json.loads(body)
        return said

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, purpose.encode() + b"\0" + body, hashlib.sha256)


def seal(path: Path, secret: str = "") -> Seal:
    """Return the seal of this installation.

    Args:
        path: file of the secret; made at first use, for its owner alone.
        secret: where machines share one (on Lambda), in place of the file.

    Raises:
        StorageFull: the file cannot be made or read.
    """
    if secret:
        return Seal(hashlib.sha256(secret.encode()).digest())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        if not path.exists():
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            try:
                os.link(draft, path)  # whoever comes second reads the first one's
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return Seal(path.read_bytes())
    except OSError as cause:
        raise StorageFull(f"{path} cannot be made: {cause.strerror}") from cause


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii", "strict") + b"=" * (-len(text) % 4), b"-_", validate=True)
