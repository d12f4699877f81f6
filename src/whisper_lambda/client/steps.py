"""What a client does next, as values: one conversation, carried on by a blocking client or an async one.

A conversation is a generator: it yields a step, is sent what came of it, and returns its result. So
all decisions (where to send, when to try again) are written once and know no library of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")

Stage = Literal["encoding", "sending", "waiting", "hearing"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording has come. `total` is 0 where it is not known."""

    stage: Stage
    done: float  # bytes while sending, else seconds of audio
    total: float


Tell: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to send: a file or what is in memory, from an offset on."""

    source: Path | bytes
    size_bytes: int
    media_type: str = "application/octet-stream"
    filename: str = "recording"
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. At most one of json, content and form is set."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    content: Content | None = None  # the body itself
    form: Sequence[tuple[str, str]] | None = None  # fields of a form whose `file` is `recording`
    recording: Content | None = None
    key: bool = True  # our API key goes with it; never to an address of somebody else's


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; status 0 where nothing did, and `body` says why."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while. `undo` is sent when the caller gives up meanwhile."""

    seconds: float
    undo: Call | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Something that keeps a core or a disk busy; its result is sent back."""

    run: Callable[[], Any]
    give_up: Callable[[], None]  # makes `run` end soon, whatever thread it is in


Step: TypeAlias = Call | Wait | Work
Conversation: TypeAlias = Generator[Step, Any, T]
