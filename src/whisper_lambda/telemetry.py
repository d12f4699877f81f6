"""What is told of a request: one wide log line, and the metrics of one list. Never words or names.

A request's facts are flat names and numbers; only those named in `TOLD` reach the log, so that a
fact nobody thought about is not told. Words of a transcript (`CONFIDED`) and the messages of
exceptions are told when the operator says so (`log_words`); names of files are known to nobody here.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from whisper_lambda.config import Settings

Facts = Mapping[str, Any]

TOLD = (
    "request_id",
    "tenant",
    "key",
    "method",
    "route",
    "status",
    "code",
    "received_bytes",
    "size_bytes",
    "sent_bytes",
    "audio_s",
    "queue_s",
    "init_s",
    "decode_s",
    "engine_s",
    "rtf",
    "model_asked",
    "model",
    "model_reason",
    "language",
    "chunks",
    "cached_chunks",
    "dropped",
    "format",
    "streamed",
    "usd",
    "client_gone",
    "out_of_time",
    "init_type",
    "cold_start_s",
    "trigger",
    "job",
    "duration_s",
    "error_type",
    "where",
)
CONFIDED = ("text",)  # told only with log_words

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is counted, under one name wherever it is exported."""

    name: str  # without the prefix whisper_lambda_
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    emf_by: tuple[str, ...] = ()  # labels that are CloudWatch dimensions too: each value there costs money


SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
RATIOS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)

METRICS = (
    Metric(
        name="requests",
        kind="counter",
        help="requests answered, by route, status and error code",
        labels=("route", "status", "code"),
    ),
    Metric(
        name="request_seconds",
        kind="histogram",
        help="from the first byte of a request to the last of its answer",
        unit="s",
        labels=("route",),
        buckets=SECONDS,
    ),
    Metric(name="failures", kind="counter", help="requests answered with a status of 500 or more"),
    Metric(
        name="queue_seconds",
        kind="histogram",
        help="spent waiting for a turn",
        unit="s",
        buckets=SECONDS,
    ),
    Metric(
        name="audio_seconds",
        kind="counter",
        help="seconds of audio transcribed, by the tier that answered",
        unit="s",
        labels=("model",),
    ),
    Metric(
        name="engine_seconds",
        kind="counter",
        help="seconds requests spent in the engine, by the tier that answered",
        unit="s",
        labels=("model",),
    ),
    Metric(
        name="rtf",
        kind="histogram",
        help="seconds of work (decoding, voices, engine) for a second of audio",
        labels=("model",),
        buckets=RATIOS,
        emf_by=("model",),
    ),
    Metric(name="chunks", kind="counter", help="chunks answered, heard or remembered"),
    Metric(name="cache_hits", kind="counter", help="chunks answered from the cache, not heard again"),
    Metric(name="gb_seconds", kind="counter", help="memory times time, as Lambda bills it", unit="GB-s"),
    Metric(name="usd", kind="counter", help="what Lambda charges for it", unit="USD"),
    Metric(
        name="cold_starts",
        kind="counter",
        help="Lambda environments started, by how they were initialised",
        labels=("init_type",),
        emf_by=("init_type",),
    ),
    Metric(
        name="init_seconds",
        kind="histogram",
        help="from the start of a Lambda environment to its first event",
        unit="s",
        labels=("init_type",),
        buckets=SECONDS,
        emf_by=("init_type",),
    ),
    Metric(
        name="out_of_time",
        kind="counter",
        help="requests refused, handed off or cut because the invocation would have ended before them",
        labels=("outcome",),
        emf_by=("outcome",),
    ),
    Metric(
        name="fallbacks",
        kind="counter",
        help="answers by another tier than the one asked for",
        labels=("model",),
    ),
    Metric(
        name="dropped",
        kind="counter",
        help="stretches of audio or text left out of an answer, by reason",
        labels=("reason",),
    ),
    Metric(name="clients_gone", kind="counter", help="requests whose client left before the answer"),
    Metric(name="waiting", kind="gauge", help="requests waiting for their turn"),
    Metric(name="under_way", kind="gauge", help="requests being transcribed"),
    Metric(name="ready", kind="gauge", help="1 while the probe recording gives the expected words"),
    Metric(name="probe_seconds", kind="gauge", help="what the last probe recording took", unit="s"),
)


Count = tuple[str, float, Mapping[str, str]]  # metric, amount or observation, labels


def counts(facts: Facts) -> Iterator[Count]:
    """Yield what one request, or one invocation without one, adds to the metrics."""
    yield from _answered(facts)
    if "queue_s" in facts:
        yield "queue_seconds", facts["queue_s"], {}
    if facts.get("client_gone"):
        yield "clients_gone", 1, {}
    if outcome := facts.get("out_of_time"):
        yield "out_of_time", 1, {"outcome": str(outcome)}
    if kind := facts.get("init_type"):
        yield "cold_starts", 1, {"init_type": str(kind)}
        yield "init_seconds", facts.get("cold_start_s", 0.0), {"init_type": str(kind)}
    for reason, times in dict(facts.get("dropped") or {}).items():
        yield "dropped", times, {"reason": str(reason)}
    if model := facts.get("model"):
        yield from _heard(facts, {"model": str(model)})
    yield from _billed(facts)


def _billed(facts: Facts) -> Iterator[Count]:
    """Yield what an answer or a part of a job costs."""
    for name, fact in _BILLED.items():
        if fact in facts:
            yield name, facts[fact], {}


def _answered(facts: Facts) -> Iterator[Count]:
    if "status" in facts:
        labels = {name: str(facts.get(name, "")) for name in ("route", "status", "code")}
        yield "requests", 1, labels
        if int(facts["status"]) >= 500:  # noqa: PLR2004
            yield "failures", 1, {}
    if "duration_s" in facts:
        yield "request_seconds", facts["duration_s"], {"route": str(facts.get("route", ""))}


def _heard(facts: Facts, labels: Mapping[str, str]) -> Iterator[Count]:
    yield "audio_seconds", facts.get("audio_s", 0.0), labels
    yield "engine_seconds", facts.get("engine_s", 0.0), labels
    if "rtf" in facts:
        yield "rtf", facts["rtf"], labels
    if facts.get("model_reason"):
        yield "fallbacks", 1, labels


_BILLED = {"chunks": "chunks", "cache_hits": "cached_chunks", "gb_seconds": "gb_s", "usd": "usd"}


class Meter:
    """Holds the values of `METRICS`. Safe to use from many threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics = {m.name: _prometheus(m, self._registry) for m in METRICS}
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count `amount` more."""
        self._of(name, labels).inc(amount)

    def put(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge, or add one observation to a histogram."""
        metric = self._of(name, labels)
        if isinstance(metric, Histogram):
            metric.observe(value)
        else:
            metric.set(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def count(self, facts: Facts) -> None:
        """Count one request."""
        for name, amount, labels in counts(facts):
            metric = self._of(name, labels)
            if isinstance(metric, Histogram):
                metric.observe(amount)
            else:
                metric.inc(amount)

    def _of(self, name: str, labels: Mapping[str, str]) -> Any:  # noqa: ANN401 - the kinds share no type
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric


def _prometheus(metric: Metric, registry: CollectorRegistry) -> Any:  # noqa: ANN401 - the kinds share no type
    name = f"whisper_lambda_{metric.name}"
    if metric.kind == "histogram":
        return Histogram(name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(name, metric.help, metric.labels, registry=registry)


def line_of(facts: Facts, *, words: bool) -> dict[str, Any]:
    """Return what the log says of a request: the facts that may be told, in a fixed order."""
    told = (*TOLD, *CONFIDED) if words else TOLD
    return {name: _plain(facts[name]) for name in told if facts.get(name) not in (None, "", {})}


def _plain(value: object) -> object:
    if not isinstance(value, float):
        return value
    return round(value, 4) if abs(value) >= 1 else float(f"{value:.4g}")  # a price keeps its digits


def configure_logging(settings: Settings, out: TextIO = sys.stderr) -> None:
    """Send every log line of this process to `out`, as JSON or for people, with its request's id.

    Libraries are heard from warnings on only: what they say at lower levels is for their own
    developers, and may quote what a client sent.
    """
    human = settings.log_format == "human" or (settings.log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(human=human, words=settings.log_words, colours=out.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("whisper_lambda").setLevel(settings.log_level.upper())
    # It warns of every broken form, quoting it; the refusal's own line says as much.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def formatter(*, human: bool, words: bool, colours: bool = False) -> logging.Formatter:
    """Return what turns a log record, ours or a library's, into a line."""
    if human:
        return _for_people(words=words, colours=colours)
    return _Json(words=words)


class _Json(logging.Formatter):
    """One JSON object a record. structlog, with its colours, is loaded for people only: 0.08 s of a start."""

    def __init__(self, *, words: bool) -> None:
        super().__init__()
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        _with_request_id(None, "", event)
        event.update(getattr(record, "facts", {}))
        if record.exc_info and self._words:
            event["exception"] = self.formatException(record.exc_info)
        elif record.exc_info:
            event["exc_info"] = record.exc_info
            _frames_only(None, "", event)
        return json.dumps(event, ensure_ascii=False, default=repr)


def _for_people(*, words: bool, colours: bool) -> logging.Formatter:
    import structlog

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _with_request_id,
        structlog.stdlib.ExtraAdder(allow=("facts",)),
        _with_facts,
        structlog.processors.format_exc_info if words else _frames_only,
    ]
    last = structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time")
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def _with_request_id(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    named = REQUEST_ID.get()
    if named:
        event["request_id"] = named
    return event


def _with_facts(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.update(event.pop("facts", {}))
    return event


def _frames_only(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Tell where an exception arose and of which kind, not what it says: that may quote a client."""
    info = event.pop("exc_info", None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info is True:
        info = sys.exc_info()
    if info and info[1] is not None:
        event["error_type"] = type(info[1]).__name__
        event["where"] = where(info[1])
    event.pop("stack_info", None)
    return event


def where(error: BaseException) -> list[str]:
    """Return the frames an exception passed through, innermost last, without any value."""
    return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
