"""`whisper-lambda doctor`: true about this machine, and never dying of what it finds."""

import json
import os
import stat
from pathlib import Path

import pytest

from whisper_lambda import machine
from whisper_lambda.cli import run
from whisper_lambda.config import Settings
from whisper_lambda.tools.doctor import Finding, examine


@pytest.fixture
def offline(tmp_path: Path) -> Settings:
    """Nothing installed and nothing reachable."""
    return Settings(home=tmp_path / "home", hub=False, packages=False)


def by_name(settings: Settings | None) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings)}


def test_every_line_is_there_and_says_something(offline: Settings) -> None:
    found = by_name(offline)

    assert found.keys() >= {
        *("settings", "python", "cores", "memory", "processor", "ctranslate2", "home", "scratch", "decoder"),
        *("confinement", "weights", "hub", "packages"),
    }
    assert all(f.says for f in found.values())
    assert found["decoder"].state == "ok"
    assert "int8" in found["ctranslate2"].says


def test_no_weights_anywhere_makes_transcription_impossible(offline: Settings) -> None:
    weights = by_name(offline)["weights"]

    assert weights.state == "fail"
    assert "model_unavailable" in weights.says


def test_an_unreachable_hub_costs_three_seconds_at_most(tmp_path: Path) -> None:
    """An address that swallows what is sent to it."""
    settings = Settings(home=tmp_path, hub_endpoint="http://192.0.2.1", packages=False)
    [hub] = [f for f in examine(settings) if f.name == "hub"]

    assert hub.state == "warn"


def test_a_misspelt_setting_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_MODLE", "base")
    monkeypatch.setenv("HOME", str(tmp_path))
    code = run(["doctor", "--json"])
    report = json.loads(capfd.readouterr().out)

    assert code == 1
    assert report["ok"] is False
    assert "WHISPER_LAMBDA_MODLE is not a setting" in report["findings"][0]["says"]
    assert len(report["findings"]) > 10, "the other checks go on"


def test_changed_settings_are_named(tmp_path: Path) -> None:
    says = by_name(Settings(home=tmp_path, hub=False, packages=False, threads=3))["settings"].says

    assert "WHISPER_LAMBDA_THREADS=3" in says
    assert "WHISPER_LAMBDA_BATCH_SIZE" not in says


def test_more_threads_than_cores_are_advised_against(tmp_path: Path) -> None:
    cores = by_name(Settings(home=tmp_path, hub=False, packages=False, threads=1024))["cores"]

    assert cores.state == "warn"
    assert "WHISPER_LAMBDA_THREADS=0" in cores.todo


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    home = by_name(Settings(home=tmp_path, hub=False, packages=False))["home"]

    assert home.state == "fail"
    assert "WHISPER_LAMBDA_HOME" in home.todo


def test_a_scratch_folder_that_does_not_exist_is_found(tmp_path: Path) -> None:
    scratch = by_name(Settings(home=tmp_path, hub=False, packages=False, scratch=tmp_path / "nope"))[
        "scratch"
    ]

    assert scratch.state == "fail"


def test_the_exit_code_and_the_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in {"HOME": str(tmp_path / "home"), "HUB": "0", "PACKAGES": "0"}.items():
        monkeypatch.setenv(f"WHISPER_LAMBDA_{name}", value)
    code = run(["doctor"])
    lines = capfd.readouterr().out.splitlines()

    assert code == 1
    assert {line[:4].strip() for line in lines} == {"ok", "warn", "fail", ""} or "warn" not in str(lines)
    assert any(line.startswith("fail  weights") for line in lines)


def test_what_the_system_says_of_the_machine() -> None:
    free = machine.free_memory_bytes()

    assert free is None or 1e6 < free < 1e14
    assert machine.cgroup_cores() is None or machine.cgroup_cores() > 0
    assert isinstance(machine.instructions(), list)
