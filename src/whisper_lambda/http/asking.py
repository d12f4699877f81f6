"""What is known of a request beside its body: its facts for the log, and what it asks of admission."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from whisper_lambda.http.limits import Tab


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What admission may know of a request before it is heard."""

    tenant: str  # who pays: the key's tenant, else the form's user_id, else ""
    route: str  # "/v1/audio/transcriptions"
    model: str | None  # as asked for; None = the default
    size_bytes: int  # of the recording as it came
    audio_s: float | None = None  # known only where the recording is samples already
    streamed: bool = False
    once: Callable[[], str] = str  # names the request and all its tries; "" = it has no name
    from_s: float = 0.0  # what of the recording is before this second was heard, and paid for, already
    tab: Tab = field(default_factory=Tab)  # takes note of what is taken off its key's day


def path_of(scope: Scope) -> str:
    """Return the path as the application's routes know it: without the stage a gateway has put before it.

    Whatever decides by the path must decide by this one, which is what Starlette finds the route by.
    """
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def facts(scope: Scope) -> MutableMapping[str, Any]:
    """Return the request's facts: flat names and numbers for its log line; never words, never file names."""
    state: MutableMapping[str, Any] = scope.setdefault("state", {})
    known: MutableMapping[str, Any] = state.setdefault("facts", {})
    return known
