"""Readiness is what a real recording says of the engine, and asking for it never waits."""

import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest

from fakes import FakeEngine, fake_service
from guarded import READY_TEXT, guarded, wait_for
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.http.health import EXPECTED, Readiness


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Freezing(FakeEngine):
    """Answers until it is frozen; then only when it is thawed."""

    def __init__(self) -> None:
        super().__init__(text=READY_TEXT)
        self.thawed = threading.Event()
        self.thawed.set()
        self.asked = 0

    def transcribe(self, chunk, options):
        self.asked += 1
        self.thawed.wait(3600)
        return super().transcribe(chunk, options)


@pytest.fixture
def engine() -> Iterator[Freezing]:
    engine = Freezing()
    yield engine
    engine.thawed.set()


@pytest.fixture
def service(engine: Freezing) -> Iterator[Service]:
    with fake_service(engine) as service:
        yield service


def test_nothing_is_ready_before_a_probe_was_good(service: Service) -> None:
    readiness = Readiness(service, every_s=10)
    before = readiness.state()
    readiness.probe()

    assert not before.ready
    assert "first probe" in before.reason
    assert readiness.state().ready
    assert readiness.took_s > 0


def test_wrong_words_are_not_ready_and_right_ones_are_again(service: Service, engine: Freezing) -> None:
    readiness = Readiness(service, every_s=10)
    readiness.probe()
    engine.text = " something else altogether"
    readiness.probe()
    wrong = readiness.state()
    engine.text = READY_TEXT
    readiness.probe()

    assert not wrong.ready
    assert "other words" in wrong.reason
    assert "something" not in wrong.reason
    assert readiness.state().ready


def test_an_engine_that_fails_is_not_ready(service: Service, engine: Freezing) -> None:
    readiness = Readiness(service, every_s=10)
    readiness.probe()
    engine.fails = True
    readiness.probe()

    assert readiness.state().reason == "the probe failed: EngineFailed"


def test_a_frozen_engine_is_unready_and_costs_one_thread(service: Service, engine: Freezing) -> None:
    readiness = Readiness(service, every_s=0.1, patience_s=0.3)
    readiness.start()
    wait_for(lambda: readiness.state().ready)
    engine.thawed.clear()
    wait_for(lambda: not readiness.state().ready)
    asked, threads = engine.asked, threading.active_count()
    time.sleep(0.5)  # five probes more would be due

    assert engine.asked == asked
    assert threading.active_count() <= threads
    engine.thawed.set()
    wait_for(lambda: readiness.state().ready)
    readiness.stop()


def test_a_probe_that_takes_too_long_is_a_failed_one_already(service: Service, engine: Freezing) -> None:
    clock = Clock()
    readiness = Readiness(service, every_s=1000, patience_s=10, clock=clock)
    readiness.probe()
    engine.thawed.clear()
    asked = engine.asked
    probing = threading.Thread(target=readiness.probe)
    probing.start()
    wait_for(lambda: engine.asked > asked)
    clock.now = 10
    waiting = readiness.state()
    clock.now = 10.1
    overdue = readiness.state()
    engine.thawed.set()
    probing.join()

    assert waiting.ready
    assert not overdue.ready
    assert "not done after 10 s" in overdue.reason


def test_a_prober_that_died_is_noticed(service: Service) -> None:
    clock = Clock()
    readiness = Readiness(service, every_s=10, patience_s=5, clock=clock)
    readiness.probe()
    clock.now = 2 * 10 + 5
    assert readiness.state().ready
    clock.now += 1

    assert not readiness.state().ready


def test_asking_never_waits_for_the_engine(tmp_path: Path, engine: Freezing) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=0.1), engine) as server:
        wait_for(lambda: httpx2.get(f"{server.url}/health/ready").status_code == 200)
        engine.thawed.clear()
        for _ in range(20):
            assert httpx2.get(f"{server.url}/health/live", timeout=120).status_code == 200
            httpx2.get(f"{server.url}/health/ready", timeout=120)
        assert not engine.thawed.is_set()
        engine.thawed.set()


def test_readiness_turns_red_the_moment_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as server:
        wait_for(lambda: httpx2.get(f"{server.url}/health/ready").status_code == 200)
        server.gates.admission.draining = True
        answer = httpx2.get(f"{server.url}/health/ready")

        assert answer.status_code == 503
        assert "stopped" in answer.json()["reason"]
        assert httpx2.get(f"{server.url}/health/live").status_code == 200


def test_the_recording_is_small_and_in_the_package() -> None:
    recording = files("whisper_lambda.http").joinpath("ready.flac").read_bytes()

    assert len(recording) <= 30_000


@pytest.mark.model
def test_a_real_model_hears_the_expected_words() -> None:
    with build(Settings(model="base")) as service:
        text = service.transcribe(files("whisper_lambda.http").joinpath("ready.flac").read_bytes()).text
        readiness = Readiness(service, every_s=10)
        readiness.probe()

    assert set(text.lower().strip(".").split()) == EXPECTED
    assert readiness.state().ready
    assert readiness.took_s > 0
