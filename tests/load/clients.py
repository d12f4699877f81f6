"""Clients of a server under load, in one event loop: in turn by `count` workers, or at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import quantiles

import httpx2

ROUTE = "/v1/audio/transcriptions"


@dataclass(frozen=True)
class Outcome:
    status: int  # 0: no answer
    took_s: float
    text: str = ""
    retry_after: str = ""
    audio_s: float = 0.0
    lost: str = ""  # why there was no answer


@dataclass(frozen=True)
class Clip:
    name: str
    content: bytes
    language: str
    audio_s: float


Ask = Callable[[httpx2.AsyncClient, int], Awaitable[Outcome]]


async def ask(http: httpx2.AsyncClient, clip: Clip) -> Outcome:
    """Send one clip in a form, as the SDKs do."""
    form = {"model": "whisper-1", "language": clip.language}
    return await _asked(clip, http.post(ROUTE, files={"file": (clip.name, clip.content)}, data=form))


async def ask_raw(http: httpx2.AsyncClient, clip: Clip) -> Outcome:
    """Send one clip as the body: the client spends less of the machine it shares with the server."""
    kind = {"content-type": "audio/flac"}
    query = {"language": clip.language}
    return await _asked(clip, http.post(ROUTE, content=clip.content, params=query, headers=kind))


async def _asked(clip: Clip, sent: Awaitable[httpx2.Response]) -> Outcome:
    began = time.perf_counter()
    try:
        answer = await sent
    except httpx2.HTTPError as cause:
        return Outcome(0, time.perf_counter() - began, lost=f"{type(cause).__name__}: {cause}"[:80])
    took_s = time.perf_counter() - began
    text = answer.json().get("text", "") if answer.status_code == 200 else ""
    heard_s = clip.audio_s if answer.status_code == 200 else 0.0
    return Outcome(answer.status_code, took_s, text, answer.headers.get("retry-after", ""), heard_s)


async def in_turn(url: str, one: Ask, *, workers: int, count: int) -> list[Outcome]:
    """Make `count` requests, `workers` of them at a time; the outcomes are in the requests' order."""
    outcomes: dict[int, Outcome] = {}
    numbers = iter(range(count))

    async def work(http: httpx2.AsyncClient) -> None:
        for number in numbers:
            outcomes[number] = await one(http, number)

    limits = httpx2.Limits(max_connections=workers)
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        await asyncio.gather(*(work(http) for _ in range(workers)))
    return [outcomes[n] for n in range(count)]


async def at_rate(url: str, one: Ask, *, per_s: float, seconds: float) -> list[Outcome]:
    """Send at a fixed rate, whatever becomes of what was sent before."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        began, tasks = time.perf_counter(), []
        for number in range(round(per_s * seconds)):
            await asyncio.sleep(max(0.0, began + number / per_s - time.perf_counter()))
            tasks.append(asyncio.create_task(one(http, number)))
        return list(await asyncio.gather(*tasks))


def percentile(values: list[float], part: int) -> float:
    """Return the percentile, in the values' unit; nan of none."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[part - 1]
