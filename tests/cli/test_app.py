"""The command as a whole: its list of commands, its version, its completion, and what it does not import."""

import importlib.metadata
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

import whisper_lambda
from cli.conftest import environment
from whisper_lambda.cli.app import COMMANDS

COMMAND = Path(sys.executable).with_name("whisper-lambda")
HEAVY = {
    "numpy",
    "av",
    "ctranslate2",
    "onnxruntime",
    "tokenizers",
    "huggingface_hub",
    "faster_whisper",
    "altair",
}


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *args],
        capture_output=True,
        text=True,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def imported_by(*args: str) -> set[str]:
    """Return the top-level names of all modules the command loads."""
    code = (
        "import sys\nfrom whisper_lambda.cli import run\nrun(sys.argv[1:])\n"
        "print(*{m.split('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=environment(), check=True
    )
    return set(ran.stderr.split())


def test_the_version() -> None:
    assert run("--version").stdout == f"whisper-lambda {whisper_lambda.__version__}\n"
    assert importlib.metadata.version("whisper-lambda") == whisper_lambda.__version__


def test_help_names_every_command_and_imports_none() -> None:
    shown = run("--help")

    assert shown.returncode == 0
    assert all(name in shown.stdout and row.summary[:20] in shown.stdout for name, row in COMMANDS.items())
    assert not HEAVY.intersection(imported_by("--help"))


def test_no_arguments_is_a_question() -> None:
    assert run().stdout == run("--help").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_has_help(name: str) -> None:
    shown = run(name, "--help")

    assert shown.returncode == 0
    assert "Usage" in shown.stdout


def test_transcribe_imports_no_other_commands_libraries(tmp_path: Path) -> None:
    loaded = imported_by("transcribe", str(tmp_path / "nope.mp3"))

    foreign = {"jiwer", "altair", "faster_whisper", "whisper", "huggingface_hub", "av"}
    assert not (foreign | {"rich", "typer", "pydantic"}).intersection(loaded)


def test_a_command_that_does_not_exist() -> None:
    ran = run("trnscribe")

    assert ran.returncode == 2
    assert "transcribe" in ran.stderr
    assert len(ran.stderr.splitlines()) == 2


@pytest.mark.parametrize("group", ["cache", "deploy", "jobs", "keys", "models"])
def test_a_group_alone_shows_its_commands_and_says_what_is_missing(group: str) -> None:
    ran = run(group)

    assert (ran.returncode, "Commands" in ran.stdout) == (2, True)
    assert ran.stderr == f"error: a command is missing\nsee: whisper-lambda {group} --help\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered_for_each_shell(shell: str) -> None:
    shown = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert shown.returncode == 0
    assert "_WHISPER_LAMBDA_COMPLETE" in shown.stdout


def test_completion_completes_commands_and_flags() -> None:
    def completed(line: str) -> list[str]:
        ran = run(
            _WHISPER_LAMBDA_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split(" ")) - 1),
        )
        return ran.stdout.split()

    assert completed("whisper-lambda tr") == ["transcribe"]
    assert "--output-dir" in completed("whisper-lambda transcribe --out")


def test_installing_completion_writes_to_the_users_shell_only(tmp_path: Path) -> None:
    ran = run(
        "--install-completion", "bash", HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )

    assert ran.returncode == 0, ran.stderr
    assert "whisper-lambda" in (tmp_path / ".bashrc").read_text()


def test_it_ends_without_winding_down_the_interpreter() -> None:
    """What waits at exit (a thread, a library's destructor) must not keep a finished command."""
    code = (
        "import sys, threading, time\nfrom whisper_lambda.cli import main\n"
        "threading.Thread(target=time.sleep, args=(30,)).start()\n"
        "sys.argv = ['whisper-lambda', '--version']\nmain()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment(), timeout=120, check=False
    )

    assert (ran.returncode, ran.stdout) == (0, f"whisper-lambda {whisper_lambda.__version__}\n".encode())


def test_a_full_disk_behind_stdout_is_an_error() -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("/dev/full is Linux's")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([COMMAND, "--version"], stdout=full, env=environment(), check=False)

    assert ran.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_were_closed_before_it_began_break_nothing(closed: str) -> None:
    said = f"whisper-lambda {whisper_lambda.__version__}\n"
    ran = subprocess.run(
        ["sh", "-c", f"{COMMAND} --version {closed}"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == ((1, "") if ">&-" in closed.split() else (0, said))
    assert "Traceback" not in ran.stderr
    assert "NoneType" not in ran.stderr


def test_a_wrong_setting_is_a_line_and_stops_every_command(tmp_path: Path) -> None:
    for command in (
        "cost",
        "serve",
        "worker",
        "jobs list",
        "keys list",
        "cache stats",
        "models list",
        "live -",
    ):
        ran = run(*command.split(), WHISPER_LAMBDA_BATCH_SIZE="0", WHISPER_LAMBDA_HOME=str(tmp_path))

        assert (ran.returncode, ran.stdout) == (2, ""), command
        assert ran.stderr == (
            "error: WHISPER_LAMBDA_BATCH_SIZE is a number from 1 to 1024, not 0 (bad_option)\n"
        )


@pytest.mark.parametrize("command", ["tune", "lambda-local", "keys add", "deploy apply"])
def test_help_is_broken_into_lines_by_the_terminal_alone(command: str) -> None:
    shown = run(*command.split(), "--help", COLUMNS="80").stdout
    told = [line.strip() for line in shown.partition("╭")[0].splitlines()]

    for line, following in pairwise(told):
        if line and following and not line.startswith("Usage:"):
            assert len(line) + 1 + len(following.split()[0]) >= 79, f"broken too soon: {line!r}"


def test_every_module_of_a_command_is_here() -> None:
    assert [row.module for row in COMMANDS.values() if not find_spec(row.module)] == []
