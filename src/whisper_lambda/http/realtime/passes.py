"""What a page may hold instead of a key: client secrets, which expire, signed and kept nowhere.

A secret says whose key made it and until when, and carries the session it was made for. The key
itself is looked up again when it is used: revoking it closes the secrets made with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whisper_lambda.errors import InvalidKey
from whisper_lambda.http.keys import Key, KeyFile
from whisper_lambda.live.seals import Seal

PREFIX = "ek_"
SHORTEST_S, LONGEST_S, USUAL_S = 10, 7_200, 600


@dataclass(frozen=True, slots=True)
class Pass:
    """A client secret that was checked."""

    key: Key | None  # None: the server asks nobody for a key
    session: dict[str, Any]


def made(seal: Seal, key: Key | None, session: dict[str, Any], expires: int) -> str:
    """Return a client secret."""
    return PREFIX + seal.sealed("secret", {"key": key.id if key else "", "exp": expires, "session": session})


def checked(seal: Seal, text: str, keys: KeyFile, now: float) -> Pass:
    """Return what a client secret stands for.

    Raises:
        InvalidKey: it is not ours, has expired, or its key opens nothing any more.
    """
    said = seal.opened("secret", text.removeprefix(PREFIX))
    if said is None:
        raise InvalidKey("this client secret is not known here; ask the page's server for a new one")
    if now >= said["exp"]:
        raise InvalidKey("this client secret has expired; ask the page's server for a new one")
    if not said["key"]:
        if keys.demanded:
            raise InvalidKey("this client secret was made before this server asked for keys; make a new one")
        return Pass(None, said["session"])
    return Pass(keys.named(said["key"], "transcribe", now), said["session"])
