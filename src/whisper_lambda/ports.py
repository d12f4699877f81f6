"""Seams where two real adapters exist, as Protocols; the contract is in the docstrings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO, Protocol, runtime_checkable

from whisper_lambda.job import ChunkDone, Job, State
from whisper_lambda.types import (
    Announced,
    Chunk,
    ChunkResult,
    Continuation,
    LanguageGuess,
    Options,
    Remembered,
    Stored,
    Ticket,
    Window,
)


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

    def create(self, job: Job, most: int | None = None) -> Job | None:
        """Store a new job; where the tenant's `idempotency_key` is taken, return the job that has it.

        Of any number of calls with one key at the same time exactly one stores; all return its job.

        Args:
            job: to be stored.
            most: as many of the tenant's jobs may wait or run, also where several are stored at once.

        Returns:
            The job; None, and nothing stored, where it would be one too many.

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

    def live(self, tenant: str) -> int:
        """Return how many of a tenant's jobs wait or run."""

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

    def expired(self, now: float, *, limit: int = 100) -> Sequence[Job]:
        """Return jobs whose `expires` has passed, the longest first."""

    def remove(self, job_ids: Sequence[str]) -> None:
        """Forget these jobs and their chunks; their objects must be gone, nobody would find them again."""

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


class SegmentCache(Protocol):
    """Remembers what chunks said, for each tenant apart. Safe to call from many threads and processes.

    It makes things faster and is never the only place of anything: a `get` or `put` that fails is a
    miss and a warning in the log, never the request's failure. Tenants are any text; it is not kept
    in the clear. Values are JSON at rest.
    """

    def secret(self, tenant: str) -> bytes:
        """Return the tenant's secret, 32 random bytes, made at first use: keys are HMACs under it.

        Of several processes that ask first at once, all get the same. After `forget` it is another.

        Raises:
            StorageFailed: it can neither be read nor made (StorageFull: no room); do without the cache.
        """

    def get(self, tenant: str, key: str) -> Remembered | None:
        """Return what was put under `key` by this tenant; None when nothing was, or it is too old.

        A result without segments is a result. A damaged entry is None, told to the log and removed.

        Args:
            tenant: whose.
            key: 64 hexadecimal digits.
        """

    def put(self, tenant: str, key: str, value: Remembered) -> None:
        """Keep `value` under `key`; the last writer wins, readers see one or the other, whole.

        Keeps nothing for a tenant that has no secret: what is still under way when a tenant's data is
        deleted must not come back.
        """

    def forget(self, tenant: str) -> int:
        """Remove the tenant's secret and every entry, leaving none of their bytes; return how many.

        Raises:
            StorageFailed: something may be left; call it again.
        """


class StepLedger(Protocol):
    """Knows how far each live session that no server holds has come.

    Safe to call from many threads and processes.

    Sessions are any text; it is not kept in the clear. What is known of one is forgotten some time
    after its tokens have expired.
    """

    def claim(self, session: str, step: int, sent: str) -> bool:
        """Take a step; False where it, or a later one, was taken. Of several that ask at once one gets it.

        Args:
            session: whose step.
            step: its number.
            sent: a digest of what was sent with it.

        Raises:
            StorageFailed: the ledger cannot be read or written.
        """

    def repeated(self, session: str, step: int, sent: str) -> bool:
        """Tell whether the last step taken is this one, and the same was sent with it.

        Raises:
            StorageFailed: as above.
        """

    def release(self, session: str, step: int) -> None:
        """Give back a step that could not be done, if it was the last one taken.

        Raises:
            StorageFailed: as above.
        """


class Pieces(Protocol):
    """What can be read to its end, piece by piece: a file, or a request's body as it comes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` more bytes; none at the end."""


class ObjectStore(Protocol):
    """Holds recordings and parts of them under keys. Safe to call from many threads and processes.

    A key is parts of a-z, 0-9, `_`, `-` and `.` with `/` between them, e.g. `jobs/3f…/job_1/chunk-0007`; no
    part starts with a dot. Any other is refused with ValueError: keys never come from a client.
    """

    def put(self, key: str, content: bytes | Pieces, *, max_bytes: int | None = None) -> Stored:
        """Keep the content, read to its end piece by piece and never held whole.

        Readers see the object from before or this one, whole; after a failure, the one from before.

        Raises:
            AudioTooLarge: there is more than `max_bytes`.
            StorageFull: there is no room for it.
            StorageFailed: the store does not work.
        """

    def open(self, key: str) -> BinaryIO:
        """Return the object as a seekable stream at its start; the caller closes it.

        What was opened stays readable to its end though the object is deleted meanwhile.

        Raises:
            ObjectMissing: there is none.
            StorageFailed: the store does not work.
        """

    def size(self, key: str) -> int:
        """Return the object's size in bytes.

        Raises:
            ObjectMissing: there is none.
            StorageFailed: the store does not work.
        """

    def delete(self, key: str) -> None:
        """Remove the object, if there is one.

        Raises:
            StorageFailed: the store does not work.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, in order; objects not yet complete are none.

        Raises:
            StorageFailed: the store does not work.
        """

    def ticket(
        self, key: str, *, size_bytes: int, content_type: str, expires_s: float, sha256: str
    ) -> Ticket:
        """Return leave for a client to put the object itself, exactly this one.

        Args:
            key: where it goes.
            size_bytes: exactly its size.
            content_type: exactly what the client will send as its type.
            expires_s: seconds until the ticket is worth nothing.
            sha256: of its bytes, hexadecimal; "" = not known beforehand.
        """


@runtime_checkable
class TakesForms(Protocol):
    """What an ObjectStore also is where a web page's form can be posted to it (S3)."""

    def form(self, key: str, *, size_bytes: int, content_type: str, expires_s: float, sha256: str) -> Ticket:
        """Return leave to post the object as a form's file; as `ticket`, which is leave to put it."""


@runtime_checkable
class Receiver(Protocol):
    """What an ObjectStore also is where its tickets lead to our own server (S3 receives by itself)."""

    def check(self, key: str, query: str) -> Announced:
        """Return what a ticket of ours announced, from the query of the address it was sent to.

        Raises:
            TicketRefused: the query is not one we signed for this key, or it has expired.
        """

    def coming(self, prefix: str) -> Iterator[str]:
        """Yield the keys, in order, of objects that have begun to come; `delete` removes them too."""

    def received(self, key: str) -> int:
        """Return how many bytes of the object have come: up to its size, which means it is complete."""

    def receive(self, key: str, announced: Announced, offset: int, content: Pieces) -> int:
        """Append to an object that is not complete; return `received` after it.

        What came before the content ended early, or failed, is kept: the client goes on from there. The
        last byte makes the object, whole, if it is the one announced.

        Raises:
            UploadConflict: `offset` is not where it goes on, it is complete, or another is sending it.
            UploadMismatch: it is larger than announced, or its sha256 another; nothing of it is kept.
            StorageFull: there is no room for it.
            StorageFailed: the store does not work.
        """
