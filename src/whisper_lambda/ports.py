"""Seams where two real adapters exist, as Protocols; the contract is in the docstrings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from whisper_lambda.job import ChunkDone, Job, State
from whisper_lambda.types import Chunk, ChunkResult, Continuation, LanguageGuess, Options, Window


class Engine(Protocol):
    """Turns one chunk of audio into segments. Holds the model; safe to call from many threads.

    Calls made at the same time may share a decode batch. That changes no word: the result is a
    function of (samples, options, version) and of nothing else.
    """

    @property
    def version(self) -> str:
        """Library, model digest and decoding policy. Changes whenever the text could change."""

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes (as Whisper spells them) this model understands."""

    @property
    def memory_bytes(self) -> int:
        """What keeping this engine loaded costs, for the router's budget."""

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        """Name the language spoken in `chunk`.

        Args:
            chunk: up to 30 s of audio.
            candidates: codes to choose from; empty means all the model knows.

        Raises:
            EngineFailed: the model raised; the cause is chained.
        """

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        """Return segments with times counted from the start of `chunk`, inside [0, duration], ordered.

        Silence gives no segments, never an invented sentence. `options.language` must be set
        unless `options.multilingual` or the model speaks one language only.

        Raises:
            UnknownLanguage: the model does not speak `options.language`.
            BadOption: the options do not fit the model (e.g. translate with an English-only one).
            EngineFailed: the model raised; the cause is chained.
        """

    def listen(self, window: Window, options: Options) -> Continuation:
        """Return the words of a live window that come after its prefix.

        The prefix is taken as said and never decoded again. Without `options.language` the language
        is heard from the window, among `options.languages`. Quick rather than thorough: greedy, on a
        window that ends soon after the audio, wider only where the window is final.

        Raises:
            UnknownLanguage: the model does not speak `options.language`.
            EngineFailed: the model raised; the cause is chained.
        """

    def close(self) -> None:
        """Free the model. Calls under way finish first; later calls raise EngineFailed."""


class JobStore(Protocol):
    """Remembers jobs and what became of their chunks. Safe to use from many threads and machines.

    A method that returned has stored what it was given: neither the process's death nor the
    machine's undoes it.
    """

    def create(self, job: Job) -> Job:
        """Store a new job; where the tenant's `idempotency_key` is taken, return the job that has it.

        Of any number of calls with one key at the same time exactly one stores; all return its job.

        Raises:
            StorageFull: there is no room, or the store cannot be reached.
        """

    def job(self, job_id: str, tenant: str | None = None) -> Job:
        """Return a job as it stands.

        Args:
            job_id: which.
            tenant: whose it must be; None = anybody's (for steps, not for requests).

        Raises:
            NoSuchJob: there is none of that id, or it is another tenant's.
        """

    def change(self, job_id: str, expect: Collection[State], **fields: Any) -> Job | None:  # noqa: ANN401
        """Set fields of a job if its state is one of `expect`.

        Of two calls that exclude each other exactly one wins.

        Returns:
            The job as it now is; None when its state was another, or it is gone.
        """

    def list(
        self, tenant: str | None, *, limit: int, after: str | None = None, state: State | None = None
    ) -> Sequence[Job]:
        """Return jobs, newest first: at most `limit`, those behind `after` in that order.

        Args:
            tenant: whose; None = everybody's (for sweeps, not for requests).
            limit: most to return.
            after: id of the last job of the page before.
            state: only jobs in this state.

        Raises:
            NoSuchJob: `after` is no job of the tenant.
        """

    def begin(self, job_id: str, part: int) -> int | None:
        """Count one more try of a part of a running job (a chunk's index, PLAN or MERGE).

        Returns:
            Its number, from 1: `put_chunk` wants it back. None when the job has ended or is gone, or the
            chunk is done already.
        """

    def put_chunk(self, job_id: str, done: ChunkDone, attempt: int) -> Job | None:
        """Store what became of a chunk and count it, once.

        Returns:
            The job with it counted. None, and nothing stored, when `attempt` is not the latest that
            `begin` gave out (another worker took over), when the chunk is done, or the job has ended.
        """

    def chunks(self, job_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[ChunkDone]:
        """Return the chunks that are done, by index, from `first` on; some between may not be done yet."""

    def secrets(self, tenant: str) -> Sequence[str]:
        """Return the tenant's webhook secrets, newest first.

        One, made when first asked for; two while a rotation lasts.
        """

    def rotate_secret(self, tenant: str, now: float, keep_s: float) -> str:
        """Make a new webhook secret; the one before it keeps signing for `keep_s` seconds."""

    def purge(self, now: float, *, limit: int = 100) -> Sequence[str]:
        """Forget jobs whose `expires` has passed; return their ids. The caller deletes their objects."""

    def forget(self, tenant: str) -> Sequence[str]:
        """Forget every job and secret of a tenant; return the jobs' ids. Their late results find no place."""

    def close(self) -> None:
        """Give back connections."""


class Fanout(Protocol):
    """Has a job's parts done: its plan, then its chunks in any order, then the merge (jobs/steps.py).

    Each part is done at least once, by somebody, whoever dies meanwhile; parts are written so that once
    or twice makes no difference. Tenants take turns; a job's higher priority goes before its tenant's others.
    """

    def submit(self, job: Job) -> None:
        """Have the job done. Submitting it twice does it once."""

    def cancel(self, job_id: str) -> None:
        """Take out of the queue what is not begun; the store says already that the job is cancelled."""

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove every trace of these jobs, which have ended."""

    def close(self) -> None:
        """Begin nothing new, and leave to others what cannot be ended soon."""
