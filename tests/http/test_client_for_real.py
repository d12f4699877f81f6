"""Our client against our server, over a line that loses answers: nothing is heard or paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakes import FakeEngine, FakeRouter, from_noon
from serving import served, wav
from whisper_lambda import AsyncClient, Client
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.bootstrap import Service, segments
from whisper_lambda.config import Settings
from whisper_lambda.errors import AudioQuotaUsed, BoundTooTight
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.keys import key_file, new_key
from whisper_lambda.staffing import Office
from whisper_lambda.types import Transcript

Ask = Callable[..., Transcript]
DAY_S = 150  # of audio the key may send


@pytest.fixture(params=["blocking", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask by either face."""

    def blocking(url: str, key: str, recording: Any, **wish: Any) -> Transcript:
        with Client(url, key, compress="never") as client:
            return client.transcribe(recording, **wish)

    def awaited(url: str, key: str, recording: Any, **wish: Any) -> Transcript:
        async def run() -> Transcript:
            async with AsyncClient(url, key, compress="never") as client:
                return await client.transcribe(recording, **wish)

        return asyncio.run(run())

    return blocking if request.param == "blocking" else awaited


class Losing:
    """An app behind a gateway that loses the first answer on each of some routes, after the work is done."""

    def __init__(self, app: ASGIApp, *routes: str) -> None:
        self.app, self.routes, self.lost = app, list(routes), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = f"{scope.get('method')} {scope.get('path')}"
        if route not in self.routes:
            await self.app(scope, receive, send)
            return
        self.routes.remove(route)

        async def swallow(message: Message) -> None:
            pass

        await self.app(scope, receive, swallow)
        self.lost += 1
        await send({"type": "http.response.start", "status": 502, "headers": [(b"retry-after", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def losing(home: Path, engine: FakeEngine, *routes: str) -> Iterator[tuple[str, str, Losing]]:
    """Serve with keys; give the address, a key, and the gateway."""
    settings = Settings(home=home, probe_every_s=0)
    with Service(
        settings, FakeRouter(engine), DecoderPool(settings.decoders, settings.scratch), segments(settings)
    ) as service:
        text, key = new_key("ana", 0.0, audio_s_per_day=DAY_S)
        key_file(settings).add(key)
        gates, office = Gates.of(service, settings, clock=from_noon()), Office(service, settings)
        office.hire()
        try:
            gateway = Losing(create_app(service, settings, gates=gates, office=office), *routes)
            with served(gateway) as address:  # type: ignore[arg-type]
                yield address, text, gateway
        finally:
            office.close()


def chunks(engine: FakeEngine) -> list[float]:
    """Where each chunk that was heard begins, in recording order: none of them twice."""
    return sorted(start for start, _ in engine.heard)


def test_a_direct_request_whose_answer_was_lost_is_heard_and_paid_for_once(ask: Ask, tmp_path: Path) -> None:
    engine = FakeEngine()
    with losing(tmp_path, engine, "POST /v1/audio/transcriptions") as (address, key, gateway):
        heard = ask(address, key, wav(20))

        assert gateway.lost == 1
        assert heard.text == "Hola a todos."
        assert chunks(engine) == sorted(set(chunks(engine)))
        ask(address, key, wav(125))  # 145 of 150 s: the lost try took none of them
        with pytest.raises(AudioQuotaUsed):
            ask(address, key, wav(6))


def test_formats_that_are_heard_alike_are_paid_for_once(tmp_path: Path) -> None:
    with (
        losing(tmp_path, FakeEngine()) as (address, key, _),
        Client(address, key, compress="never") as client,
    ):
        texts = client.written(wav(60), ["srt", "vtt"])  # a day has 150 s
        client.transcribe(wav(85))

    assert texts["srt"].startswith("1\n00:00:00,000")


def test_a_job_whose_answer_was_lost_is_made_once(ask: Ask, tmp_path: Path) -> None:
    engine = FakeEngine()
    with losing(tmp_path, engine, "POST /v1/jobs", "POST /v1/uploads") as (address, key, gateway):
        heard = ask(address, key, wav(145))  # 4.6 MB: more than goes in one request

        assert gateway.lost == 2
        assert heard.duration == pytest.approx(145)
        assert chunks(engine) == sorted(set(chunks(engine)))


def test_bounds_choose_the_tier_or_refuse(ask: Ask, tmp_path: Path) -> None:
    with losing(tmp_path, FakeEngine()) as (address, key, *_):
        with pytest.raises(BoundTooTight, match="at most 1e-09 USD is wanted"):
            ask(address, key, wav(3), budget_usd=1e-9)
        with pytest.raises(BoundTooTight, match=r"at most 0\.001 s is wanted"):
            ask(address, key, wav(3), max_latency_s=0.001)
        assert ask(address, key, wav(3), budget_usd=1.0, max_latency_s=60).text == "Hola a todos."


def test_progress_is_told_from_the_first_byte_to_the_last_second(tmp_path: Path) -> None:
    told: list[str] = []
    with losing(tmp_path, FakeEngine()) as (address, key, *_), Client(address, key) as client:
        client.transcribe(wav(145), on_progress=lambda p: told.append(p.stage))

    assert list(dict.fromkeys(told)) == ["encoding", "sending"]  # 4.6 MB of WAV are 0.4 MB of Opus
