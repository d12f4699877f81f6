"""Settings in, Service out: the only module that names adapters.

What a laptop's recording has no use for is imported where it is built: a tenth of a cold start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self

from whisper_lambda import machine, pipeline, tenants, uploads
from whisper_lambda.adapters.directory_objects import DirectoryObjects
from whisper_lambda.adapters.sqlite_segments import SqliteSegments
from whisper_lambda.audio import vad
from whisper_lambda.audio.decode import Limits, decode, decode_blocks
from whisper_lambda.audio.identity import identity
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.config import Settings
from whisper_lambda.cutting import Cutting
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.engine.ctranslate2 import Ctranslate2Engine, library
from whisper_lambda.models.router import Router
from whisper_lambda.models.sources import Progress, quiet
from whisper_lambda.ports import Engine, ObjectStore, Receiver, SegmentCache, StepLedger
from whisper_lambda.recall import NOTHING, Recall
from whisper_lambda.types import (
    ChunkResult,
    Decoded,
    ModelChoice,
    Options,
    Plan,
    Recording,
    Samples,
    Transcript,
)

Source = Path | bytes | FileIO | Samples | Decoded


@dataclass(frozen=True, slots=True)
class Hearing:
    """A recording under way: what is planned, which model answers, and its results as they come."""

    plan: Plan
    choice: ModelChoice
    results: Generator[ChunkResult]  # recording order, each as soon as it and all before it are done


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was removed."""

    entries: int  # of the segment cache
    objects: int  # recordings and parts of them


class Service:
    """Holds what is expensive to open: loaded models and started decoders. Close it when done."""

    def __init__(
        self,
        settings: Settings,
        router: Router,
        decoders: DecoderPool,
        cache: SegmentCache | None = None,
        objects: ObjectStore | None = None,
    ) -> None:
        self.settings = settings
        self.router = router
        self.decoders = decoders
        self.cache = cache
        self.objects = objects or stored_objects(settings)

    def transcribe(
        self,
        source: Source,
        options: Options | None = None,
        *,
        model: str | None = None,
        tenant: str | None = tenants.LOCAL,
        bounds: Bounds | None = None,
        on_plan: Callable[[Plan, ModelChoice], None] | None = None,
        on_result: Callable[[ChunkResult], None] | None = None,
    ) -> Transcript:
        """Transcribe a file, its bytes, or samples already decoded.

        Args:
            source: path of a media file, its bytes, float32 samples (n,) mono 16 kHz, or what `decode` gave.
            options: what may change the text; None = the defaults.
            model: tier or alias wished for; None = the settings' default.
            tenant: whose recording it is; None = nothing of it is remembered, or was.
            bounds: what it may cost and take at most; they choose the tier.
            on_plan: called once, when the recording is decoded and cut.
            on_result: called for each chunk, in recording order, as it is ready.
        """
        with self.hear(source, options, model=model, tenant=tenant, bounds=bounds) as hearing:
            if on_plan:
                on_plan(hearing.plan, hearing.choice)
            heard = _told(hearing.results, on_result)
            return pipeline.finish(hearing.plan, heard, choice=hearing.choice)

    @contextmanager
    def hear(
        self,
        source: Source,
        options: Options | None = None,
        *,
        model: str | None = None,
        tenant: str | None = tenants.LOCAL,
        from_s: float = 0.0,
        bounds: Bounds | None = None,
    ) -> Iterator[Hearing]:
        """Open one recording: planned on entry, decoded as `results` is read, given up on exit.

        Args:
            source: the recording.
            options: what may change the text; None = the defaults.
            model: tier or alias wished for; None = the settings' default.
            tenant: whose it is; None = nothing of it is remembered.
            from_s: chunks that begin before this second are left out: they were heard already.
            bounds: what it may cost and take at most; they choose the tier.

        Raises:
            BoundTooTight: no tier that can be had is as cheap or as quick as the bounds want it.
        """
        options = options or Options()
        self.decoders.warm()  # a child starts while the weights load
        if not self.router.loaded:  # nor is anything else: what takes no weights starts beside them
            for warm in (library, *((vad.warm,) if options.vad != "off" else ())):
                threading.Thread(target=warm, name="warm", daemon=True).start()
        narrowed: ModelChoice | None = None
        if bounds:
            source = self.decode(source)
            narrowed = self._narrowed(model, options, bounds, source.duration)
        with (
            closing(Cutting(self.recording(source), options.vad)) as cutting,
            self._loaded(cutting, narrowed.served if narrowed else model) as (engine, served),
        ):
            choice = narrowed or served
            recall = self.recall(tenant)
            plan = pipeline.prepare(
                cutting,
                options,
                engine=engine,
                recall=recall,
                identity=identity(source, most_bytes=limits(self.settings).max_bytes)
                if recall is not NOTHING
                else None,
            )
            plan = pipeline.rest(plan, from_s)
            results = pipeline.results(plan, engine=engine, recall=recall)
            try:
                yield Hearing(plan, choice, results)
            finally:
                results.close()

    def _loaded(
        self, cutting: Cutting, model: str | None
    ) -> AbstractContextManager[tuple[Engine, ModelChoice]]:
        """Return the engine to be held; while it loads, the recording is decoded and cut."""
        if not self.router.ready:
            cutting.begin()
        return self.router.engine(model)

    def _narrowed(self, model: str | None, options: Options, bounds: Bounds, audio_s: float) -> ModelChoice:
        """Return the best tier that keeps to the bounds, as far as we can estimate."""
        from whisper_lambda.economy.estimates import Place, within
        from whisper_lambda.economy.prices import price_book
        from whisper_lambda.economy.receipt import USUAL_MEMORY_MB

        tiers = self.router.at_most(model, english=options.language == "en" and options.task == "transcribe")
        place = Place(
            cores=machine.cores(self.settings),
            memory_mb=self.settings.receipt_memory_mb or self.settings.lambda_memory_mb or USUAL_MEMORY_MB,
            architecture=self.settings.receipt_architecture,
        )
        served, why = within(tiers, audio_s, bounds, place, price_book(self.settings))
        return ModelChoice(model or self.settings.model, served, why)

    def recording(self, source: Source) -> Recording:
        """Return the recording, to be decoded block by block as often as it is read."""
        if isinstance(source, Path) and source.exists() and not source.is_file():  # a pipe can be read once
            return pipeline.whole(self.decode(source))
        if isinstance(source, Path | bytes | FileIO):
            return lambda warn: decode_blocks(source, limits(self.settings), self.decoders, warn=warn)
        return pipeline.whole(source if isinstance(source, Decoded) else Decoded(samples=source))

    def decode(self, source: Source) -> Decoded:
        """Return the recording's samples; what is decoded already is taken as it is."""
        if isinstance(source, Decoded):
            return source
        if isinstance(source, Path | bytes | FileIO):
            return decode(source, limits(self.settings), self.decoders)
        return Decoded(samples=source)

    def recall(self, tenant: str | None) -> Recall:
        """Return what this tenant's recordings said before, for the time of one; None = nobody's."""
        if self.cache is None or tenant is None:
            return NOTHING
        shared = tenants.sharing(tenant, self.settings.cache_shared)
        return Recall(self.cache, shared, most_s=self.settings.max_audio_s)

    def forget(self, tenant: str) -> Forgotten:
        """Remove all that is kept of a tenant: uploads, jobs' audio and results, what was remembered.

        Raises:
            StorageFailed: something may be left; call it again.
        """
        folder = tenants.folder(tenant)
        gone = 0
        for prefix in (f"uploads/{folder}/", f"jobs/{folder}/"):
            gone += self._delete([*self.objects.keys(prefix), *self._coming(prefix)])
        shared = tenants.sharing(tenant, self.settings.cache_shared)
        return Forgotten(self.cache.forget(shared) if self.cache else 0, gone)

    def sweep(self, now: float) -> None:
        """Remove uploads whose time is over; `now` is seconds since the epoch."""
        late, prefix = now - self.settings.upload_expires_s, "uploads/"
        self._delete(uploads.overdue(self._coming(prefix), late))
        self._delete(uploads.overdue(self.objects.keys(prefix), now - self.settings.uploads_keep_s))

    def _coming(self, prefix: str) -> Iterator[str]:
        return self.objects.coming(prefix) if isinstance(self.objects, Receiver) else iter(())

    def _delete(self, keys: Iterable[str]) -> int:
        found = list(keys)
        for key in found:
            self.objects.delete(key)
        return len(found)

    def close(self) -> None:
        """Stop the decoding children and free the models."""
        self.decoders.close()
        self.router.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def build(settings: Settings, *, progress: Progress = quiet) -> Service:
    """Return the service these settings describe; nothing is loaded before it is needed.

    Args:
        settings: what the operator decided.
        progress: told of weights as they are fetched, on whichever thread fetches them.
    """
    machine.few_arenas(1)  # before the first thread: it would get a heap of its own
    machine.keep_heap()
    machine.one_product_thread()
    router = Router(settings, lambda installed: Ctranslate2Engine(installed, settings), progress=progress)
    return Service(settings, router, DecoderPool(settings.decoders, settings.scratch), remembered(settings))


def stored_objects(settings: Settings) -> ObjectStore:
    """Return where recordings sent ahead and jobs' parts are kept."""
    if settings.bucket:
        from whisper_lambda.adapters.s3 import S3Objects

        return S3Objects(settings.bucket, scratch=settings.scratch)
    return DirectoryObjects(
        settings.jobs_objects or settings.home / "objects", address=lambda key: f"/v1/{key}"
    )


def step_ledger(settings: Settings) -> StepLedger:
    """Return what knows how far live sessions in tokens have come: the table, or a file of this machine."""
    if settings.table:
        from whisper_lambda.adapters.dynamodb_ledger import DynamoLedger

        return DynamoLedger(settings.table)
    from whisper_lambda.adapters.sqlite_ledger import SqliteLedger

    return SqliteLedger(settings.home / "live.sqlite3")


def segments(settings: Settings) -> SqliteSegments | None:
    """Return the segment cache; None where the settings want none."""
    if settings.cache_mb <= 0:
        return None
    root, megabyte, day_s = settings.home / "segments", 1_000_000, 86_400.0
    return SqliteSegments(root, max_bytes=settings.cache_mb * megabyte, max_age_s=settings.cache_days * day_s)


def remembered(settings: Settings) -> SegmentCache | None:
    """Return the segment cache where the settings have it: in a bucket, or here."""
    if settings.bucket and settings.cache_mb > 0:
        from whisper_lambda.adapters.s3_segments import S3Segments

        return S3Segments(settings.bucket, max_age_s=settings.cache_days * 86_400.0)
    return segments(settings)


def limits(settings: Settings) -> Limits:
    """Return what one recording may cost, as the settings say."""
    return Limits(
        max_seconds=settings.max_audio_s,
        max_bytes=settings.max_audio_mb * 1_000_000,
        timeout_s=settings.decode_timeout_s,
    )


def _told(
    heard: Iterable[ChunkResult], on_result: Callable[[ChunkResult], None] | None
) -> Iterator[ChunkResult]:
    for result in heard:
        if on_result:
            on_result(result)
        yield result
