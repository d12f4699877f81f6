"""`whisper-lambda cache` and `transcribe --no-cache`, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import FakeEngine, fake_service
from prompts import Prompt
from whisper_lambda.bootstrap import Service, segments
from whisper_lambda.cli import run
from whisper_lambda.config import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHISPER_LAMBDA_CACHE_MB", "10")
    return tmp_path / "home"


def test_what_was_heard_is_counted_found_and_forgotten(
    spanish: Prompt, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine()

    def build(settings: Settings) -> Service:
        service = fake_service(engine, settings)
        service.cache = segments(settings)
        return service

    def heard(*flags: str) -> int:
        before = len(engine.heard)
        assert run(["transcribe", str(spanish.path), "--vad", "off", *flags], build=build) == 0
        return len(engine.heard) - before

    assert heard("--language", "es")
    assert not heard("--language", "es"), "it is remembered"
    assert heard("--language", "es", "--no-cache"), "unless it is not wanted"
    capsys.readouterr()

    assert run(["cache", "stats"]) == 0
    stats = capsys.readouterr().out
    assert "entries    2\n" in stats  # the chunk, and how the recording was cut
    assert "of 10\n" in stats
    assert run(["cache", "clear", "--tenant", "somebody"]) == 0
    assert "forgotten: 0 entries" in capsys.readouterr().err
    assert run(["cache", "clear"]) == 0
    assert "forgotten: 2 entries" in capsys.readouterr().err
    assert heard("--language", "es")


def test_without_a_cache_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_CACHE_MB", "0")

    assert run(["cache", "stats"]) == 0
    assert run(["cache", "clear"]) == 0
    said = capsys.readouterr()
    assert "CACHE_MB is 0" in said.out
    assert "CACHE_MB is 0" in said.err
    assert not home.exists()
