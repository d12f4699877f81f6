"""Hours of audio a day in; what they need, cost and run into, out: from a laptop to 10,000 Lambdas."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whisper_lambda.economy.prices import PriceBook
from whisper_lambda.economy.speeds import Speed, cores_of
from whisper_lambda.tools.costing.queues import servers_for
from whisper_lambda.tools.costing.simulator import Pool, simulate

DAY_S = 86_400.0
CHUNK_S = 28.0  # what our plans fill chunks to
PEAK = 2.0  # busiest hour of an office day against the mean hour
PLAYED_S = 600.0  # of the busiest hour, simulated
MOST_PLAYED = 400_000  # arrivals; a larger load is thinned, and the pool with it

# Quotas of a fresh account; all but the last can be raised. Source: docs/scale.md names the pages.
LAMBDA_AT_ONCE = 1000
LAMBDA_ADDED_PER_10_S = 1000
MAP_CHILDREN_AT_ONCE = 10_000  # one Distributed Map
TRANSITIONS_A_S = 5000  # steady rate, standard workflows, us-east-1
S3_PUTS_A_S, S3_GETS_A_S = 3500, 5500  # for each prefix
DYNAMODB_WRITES_A_S = 40_000  # units, on demand, for each table

# What one chunk and one job cost beside the hearing (deploy/statemachine.asl.json, jobs/steps.py).
# A Distributed Map makes one transition for each express child it starts; what the children themselves
# cost (requests and memory of express workflows) is not in the price book.
TRANSITIONS_A_CHUNK, TRANSITIONS_A_JOB = 1, 6
# S3: the audio and what is remembered of it are put; the audio, the memory and, before and after each use
# of it, the tenant's secret are read.
PUTS_A_CHUNK, GETS_A_CHUNK = 2, 5
PUTS_A_JOB, GETS_A_JOB = 3, 3
# DynamoDB bills units: a write of up to 1 KB is one, in a transaction two, a read of up to 4 KB one. What
# 28 s of fluent speech said takes 6.8 KB, with the times of its words: 14 units with the job's count (2) in
# one transaction, 1 for the try before it; the reads are the job's (4), the try's, and the merge's (2).
WRITES_A_CHUNK, READS_A_CHUNK = 17, 7
WRITES_A_JOB, READS_A_JOB = 24, 12


@dataclass(frozen=True, slots=True)
class Need:
    """What one volume comes to."""

    hours_a_day: float
    chunks_a_s: float  # in the busiest hour
    busy_cores: float  # of one machine's kind, in the busiest hour
    at_once: int  # environments that refuse one in a thousand, by Erlang B
    simulated_busy: int  # the most busy at once, played
    ramp_s: float  # from nothing to that many, as fast as environments may be added
    usd_a_day: dict[str, float]
    bites: tuple[str, ...]

    @property
    def usd_per_hour(self) -> float:
        """For an hour of audio."""
        return sum(self.usd_a_day.values()) / self.hours_a_day


def need(
    hours_a_day: float,
    speed: Speed,
    memory_mb: int,
    architecture: str,
    book: PriceBook,
    *,
    job_s: float = 3600.0,
) -> Need:
    """Return what so much audio a day needs when it comes as jobs cut into chunks.

    Args:
        hours_a_day: audio.
        speed: of the tier.
        memory_mb: of the chunk function.
        architecture: x86_64 or arm64.
        book: the prices.
        job_s: length of a recording.
    """
    chunk_takes_s = speed.seconds(CHUNK_S, cores_of(memory_mb))
    chunks = hours_a_day * 3600 / CHUNK_S
    jobs = hours_a_day * 3600 / job_s
    chunks_a_s = PEAK * chunks / DAY_S
    load = chunks_a_s * chunk_takes_s
    at_once = servers_for(load, 0.001)
    usd = {
        "Lambda": chunks * book.invocation_usd(math.ceil(chunk_takes_s * 1000), memory_mb, architecture),
        "Step Functions": (chunks * TRANSITIONS_A_CHUNK + jobs * TRANSITIONS_A_JOB)
        * book.usd("stepfunctions.transition"),
        "S3": (chunks * PUTS_A_CHUNK + jobs * PUTS_A_JOB) * book.usd("s3.put")
        + (chunks * GETS_A_CHUNK + jobs * GETS_A_JOB) * book.usd("s3.get"),
        "DynamoDB": (chunks * WRITES_A_CHUNK + jobs * WRITES_A_JOB) * book.usd("dynamodb.write")
        + (chunks * READS_A_CHUNK + jobs * READS_A_JOB) * book.usd("dynamodb.read"),
    }
    return Need(
        hours_a_day=hours_a_day,
        chunks_a_s=chunks_a_s,
        busy_cores=hours_a_day * 3600 * speed.core_s_per_audio_s / DAY_S * PEAK,
        at_once=at_once,
        simulated_busy=_played(chunks_a_s, chunk_takes_s),
        ramp_s=10.0 * at_once / LAMBDA_ADDED_PER_10_S,
        usd_a_day=usd,
        bites=tuple(_bites(chunks_a_s, at_once)),
    )


def _played(per_s: float, takes_s: float, seed: int = 1) -> int:
    """Return the most busy at once in ten minutes of the busiest hour, played with spread-out lengths."""
    thinned = max(1.0, per_s * PLAYED_S / MOST_PLAYED)
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(thinned / per_s, max(1, int(per_s / thinned * PLAYED_S))))
    service = takes_s * random.lognormal(-0.02, 0.2, len(times))
    found = simulate(times, service, Pool(most=1 << 40, added_per_10_s=1e12))
    return round(found.most_busy * thinned)


def _bites(chunks_a_s: float, at_once: int) -> Iterator[str]:
    if at_once > LAMBDA_AT_ONCE:
        yield f"Lambda: {at_once} at once, {LAMBDA_AT_ONCE} is the quota of a fresh account"
    transitions = chunks_a_s * TRANSITIONS_A_CHUNK
    if transitions > TRANSITIONS_A_S:
        yield f"Step Functions: {transitions:.0f} transitions a second, {TRANSITIONS_A_S} is the quota"
    if at_once > MAP_CHILDREN_AT_ONCE:
        yield f"one Distributed Map runs {MAP_CHILDREN_AT_ONCE} children: several jobs must share the load"
    if (puts := chunks_a_s * PUTS_A_CHUNK) > S3_PUTS_A_S:
        yield f"S3: {puts:.0f} PUTs a second, {S3_PUTS_A_S} for each prefix: keys must spread"
    if (gets := chunks_a_s * GETS_A_CHUNK) > S3_GETS_A_S:
        yield f"S3: {gets:.0f} GETs a second, {S3_GETS_A_S} for each prefix"
    if (writes := chunks_a_s * WRITES_A_CHUNK) > DYNAMODB_WRITES_A_S:
        yield f"DynamoDB: {writes:.0f} write units a second, {DYNAMODB_WRITES_A_S} for each table"


def markdown(needs: list[Need], tier: str, memory_mb: int, architecture: str) -> str:
    """Return the tables of docs/scale.md."""
    lines = [
        f"Tier `{tier}`, {memory_mb} MB, {architecture}; jobs of an hour, chunks of {CHUNK_S:g} s; the "
        f"busiest hour has {PEAK:g} times the mean.",
        "",
        "| hours a day | chunks/s | cores busy | environments (0.1 % refused) | busy, played | ramp, s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {n.hours_a_day:,.0f} | {n.chunks_a_s:,.2f} | {n.busy_cores:,.2f} | {n.at_once:,} | "
            f"{n.simulated_busy:,} | {n.ramp_s:,.1f} |"
            for n in needs
        ),
        "",
        "| hours a day | Lambda | Step Functions | S3 | DynamoDB | USD a day | USD an hour of audio |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {n.hours_a_day:,.0f} | {' | '.join(f'{usd:,.2f}' for usd in n.usd_a_day.values())} | "
            f"{sum(n.usd_a_day.values()):,.2f} | {n.usd_per_hour:.5f} |"
            for n in needs
        ),
        "",
        *(f"* {n.hours_a_day:,.0f} h a day: {'; '.join(n.bites) or 'no limit bites'}." for n in needs),
    ]
    return "\n".join(lines)
