"""A workload and a way to run the function in; what a month of it costs, line by line, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from whisper_lambda.economy.prices import MB_PER_GB, MONTH_S, PriceBook
from whisper_lambda.economy.speeds import Speed, cores_of
from whisper_lambda.tools.costing.simulator import Outcome, Pool, simulate
from whisper_lambda.tools.costing.workload import Workload

Warmth = Literal["cold", "snapstart", "pings", "provisioned"]
PING_EVERY_S, PING_S = 300.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the function is run."""

    memory_mb: int
    architecture: str
    warmth: Warmth = "snapstart"
    ready: int = 1  # kept provisioned, of that warmth
    most: int = 1000
    keep_alive_s: float = 600.0
    versions: int = 1  # published, each with a snapshot of its own


@dataclass(frozen=True, slots=True)
class Bill:
    """A month."""

    way: Way
    tier: str
    hours: float  # of audio that was heard: what was refused cost nothing and is no hour
    lines: dict[str, float]  # what for -> USD
    p50_s: float  # from request to answer
    p95_s: float
    cold_share: float
    refused: int
    most_busy: int

    @property
    def usd(self) -> float:
        """In all."""
        return sum(self.lines.values())

    @property
    def usd_per_hour(self) -> float:
        """For an hour of audio."""
        return self.usd / self.hours if self.hours else 0.0


def month(workload: Workload, tier: str, speed: Speed, way: Way, book: PriceBook) -> Bill:
    """Play the workload through the pool and return what a month of it costs."""
    takes = _takes(workload, speed, way)
    start_s = speed.restore_s if way.warmth == "snapstart" else speed.init_s
    times, service, real = _with_pings(workload, takes, way)
    pool = Pool(
        most=way.most,
        keep_alive_s=way.keep_alive_s,
        start_s=start_s,
        ready=way.ready if way.warmth == "provisioned" else 0,
    )
    outcome = simulate(times, service, pool)
    heard_s = float(workload.audio_s[~outcome.refused[real]].sum())
    waited = outcome.waited_s[real] + service[real]
    waited = waited[~np.isnan(waited)]
    return Bill(
        way=way,
        tier=tier,
        hours=heard_s / 3600 * MONTH_S / workload.span_s,
        lines=_lines(outcome, service, start_s, way, book, MONTH_S / workload.span_s),
        p50_s=float(np.percentile(waited, 50)) if len(waited) else 0.0,
        p95_s=float(np.percentile(waited, 95)) if len(waited) else 0.0,
        cold_share=float(outcome.started[real].mean()) if real.any() else 0.0,
        refused=int(outcome.refused[real].sum()),
        most_busy=outcome.most_busy,
    )


def _takes(workload: Workload, speed: Speed, way: Way) -> np.ndarray:
    if workload.measured_s is not None:
        return workload.measured_s
    cores = cores_of(way.memory_mb)
    return np.array([speed.seconds(a, cores) for a in workload.audio_s.tolist()])


def _with_pings(workload: Workload, takes: np.ndarray, way: Way) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, services and which of them are requests; pings are invocations like any other."""
    if way.warmth != "pings":
        return workload.times_s, takes, np.ones(len(takes), bool)
    pings = np.arange(0.0, workload.span_s, PING_EVERY_S)
    times = np.concatenate([workload.times_s, pings])
    order = np.argsort(times, kind="stable")
    service = np.concatenate([takes, np.full(len(pings), PING_S)])
    real = np.concatenate([np.ones(len(takes), bool), np.zeros(len(pings), bool)])
    return times[order], service[order], real[order]


def _lines(
    outcome: Outcome,
    service: np.ndarray,
    start_s: float,
    way: Way,
    book: PriceBook,
    months: float,
) -> dict[str, float]:
    gb = way.memory_mb / MB_PER_GB
    served = ~outcome.refused
    on_ready = outcome.on_ready
    running = f"lambda.{way.architecture}.provisioned_running_gb_s"
    # With SnapStart restoring is billed by the GB and not by the second; else init is billed as duration.
    starts = int(outcome.started.sum())
    init_s = 0.0 if way.warmth == "snapstart" else starts * start_s
    lines = {
        "duration": (float(service[served & ~on_ready].sum()) + init_s) * gb * book.gb_s(way.architecture),
        "requests": int(served.sum()) * book.usd("lambda.request"),
    }
    if way.warmth == "provisioned":
        lines["duration on provisioned"] = float(service[on_ready].sum()) * gb * book.usd(running)
        per_month = (
            way.ready * gb * MONTH_S / months * book.usd(f"lambda.{way.architecture}.provisioned_gb_s")
        )
        lines["provisioned, idle or not"] = per_month
    if way.warmth == "snapstart":
        lines["restores"] = starts * gb * book.usd("lambda.snapstart_restore_gb")
        lines["snapshots kept"] = (
            way.versions * gb * MONTH_S / months * book.usd("lambda.snapstart_cache_gb_s")
        )
    return {name: usd * months for name, usd in lines.items()}


def wallet_bound_usd_per_hour(way: Way, book: PriceBook) -> float:
    """Return the most an hour can cost, whoever calls: every environment busy, with the shortest requests.

    Args:
        way: its `most` is the reserved concurrency.
        book: the prices.
    """
    # The dearest second is one of the shortest requests: a refused one still costs a request and a
    # millisecond, so an environment answers a thousand of them and is busy for all of it.
    flood = way.most * 3600 * 1000 * book.usd("lambda.request")
    busy = way.most * 3600 * way.memory_mb / MB_PER_GB * book.gb_s(way.architecture)
    return busy + flood
