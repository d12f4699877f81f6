"""A job: one recording heard piece by piece, on any number of machines, however often they die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from whisper_lambda.errors import ClientError, WhisperLambdaError
from whisper_lambda.types import ChunkResult, Dropped, ModelChoice, Options, Timings

State = Literal["queued", "running", "completed", "failed", "cancelled"]
LIVE: frozenset[State] = frozenset({"queued", "running"})  # whatever is not has ended for good

# Parts of a job that are no chunk; chunks are numbered from 0 in recording order.
PLAN = -1
MERGE = -2


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job, or one of its chunks, came to nothing: an error as the wire tells it."""

    message: str
    code: str
    type: str = "server_error"
    param: str | None = None

    @classmethod
    def of(cls, cause: Exception) -> Self:
        """Return an exception as a job tells it; an unexpected one by its kind: its text may hold words."""
        if isinstance(cause, WhisperLambdaError):
            kind = "invalid_request_error" if isinstance(cause, ClientError) else "server_error"
            return cls(str(cause), cause.code, kind, cause.param)
        return cls(f"an unexpected {type(cause).__name__}", WhisperLambdaError.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for. It never changes."""

    options: Options
    model: str | None = None  # tier or alias; None = the default
    by_channel: bool = False  # one speaker a channel
    speakers: tuple[str, ...] = ()  # their names, in the channels' order
    answer: Mapping[str, Any] = field(default_factory=dict)  # how the result is written if nobody says
    remembered: bool = True  # False: nothing of it is remembered, and nothing remembered is used


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it stands. Times of day are seconds since the epoch."""

    id: str  # "job_..."
    tenant: str  # "" = nobody in particular
    order: Order
    source: str  # key of the recording's object
    size_bytes: int
    created: float
    idempotency_key: str | None = None  # of two jobs of one tenant with the same, the second is the first
    fingerprint: str = ""  # of what was asked; tells a repeated request from a key used twice
    priority: int = 0  # higher goes before the same tenant's lower ones
    webhook: str | None = None  # address told of the end

    state: State = "queued"
    started: float | None = None
    finished: float | None = None
    expires: float | None = None  # when what is kept of it is removed

    options: Options | None = None  # with the language settled; None until it is planned
    choice: ModelChoice | None = None  # which tier answers; settled by the plan for all chunks
    audio_s: float | None = None  # known once it is planned
    speech_s: float = 0.0  # of all chunks together
    done_s: float = 0.0  # of the chunks that are done
    chunks: int | None = None
    chunks_done: int = 0  # with those that failed
    chunks_failed: int = 0
    language: str | None = None
    error: Failure | None = None
    receipt: Mapping[str, Any] | None = None
    told: str = ""  # what became of the webhook: "", "delivered", or why it was given up


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """What became of one chunk."""

    index: int
    start: float  # seconds into the recording
    duration: float  # seconds of audio
    result: ChunkResult | None  # None: it failed
    error: Failure | None = None
    spent_s: float = 0.0  # the engine's time
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """The plan of a recording, or of one of its channels, without the audio."""

    options: Options  # `language` settled, unless multilingual
    duration: float
    chunks: int
    language_probability: float = 1.0
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True, slots=True)
class PlanSheet:
    """What the merge needs of the plan."""

    voices: tuple[Voice, ...]  # one; or one a channel
