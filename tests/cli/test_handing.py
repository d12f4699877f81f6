"""`transcribe --job`: the transcript of a job that outlives the command."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from stub_server import Stub, refused, serving

from cli.conftest import Cli, started
from whisper_lambda.cli import run

JOBS = {"WHISPER_LAMBDA_JOBS_POLL_S": "0.05", "WHISPER_LAMBDA_JOBS_LEASE_S": "2"}


def test_a_job_is_handed_in_done_here_and_printed(cli: Cli, short: Path, tmp_path: Path) -> None:
    home = {"WHISPER_LAMBDA_HOME": str(tmp_path / "home"), **JOBS}
    done = cli("transcribe", "--job", "--vad=off", "--quiet", "--format", "srt", short, **home)
    again = cli(
        "transcribe", "--job", "--vad=off", "--quiet", "--format", "srt", short, FAKE_FAILS="1", **home
    )
    listed = cli("jobs", "list", **home)

    assert (done.returncode, done.stdout.startswith(b"1\n00:00:0")) == (0, True), done.stderr
    assert b"Hola a todos." in done.stdout
    assert (again.returncode, again.stdout) == (0, done.stdout), "the same command finds its job"
    assert listed.stdout.count(b"completed") == 1


def test_a_recording_that_fails_as_a_job_is_told_by_the_code_it_has_without_one(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp3").touch()
    home = {"WHISPER_LAMBDA_HOME": str(tmp_path / "home"), **JOBS}

    direct, job = cli("transcribe", "empty.mp3", **home), cli("transcribe", "--job", "empty.mp3", **home)

    assert (direct.returncode, job.returncode) == (1, 1)
    assert direct.stderr.splitlines()[-1] == job.stderr.splitlines()[-1]
    assert b"(empty_audio)" in job.stderr


@pytest.mark.parametrize("command", [["transcribe", "--job"], ["jobs", "submit"]])
def test_a_model_nobody_knows_is_refused_before_a_job_is_kept(
    cli: Cli, short: Path, tmp_path: Path, command: list[str]
) -> None:
    home = {"WHISPER_LAMBDA_HOME": str(tmp_path / "home"), **JOBS}

    refused = cli(*command, "--model", "nine", short, **home)

    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1), refused.stderr
    assert b"there is no model 'nine'" in refused.stderr
    assert b"(unknown_model)" in refused.stderr
    assert cli("jobs", "list", **home).stdout == b""


def test_a_job_may_name_a_folder_of_models(cli: Cli, short: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "ours").mkdir(parents=True)
    home = {"WHISPER_LAMBDA_HOME": str(tmp_path / "home"), **JOBS}
    flags = ("--model-dir", tmp_path / "models", "--model", "ours", "--vad=off", "--quiet")

    assert cli("transcribe", "--job", *flags, short, **home).returncode == 0


def test_ctrl_c_leaves_the_job_and_says_how_it_goes_on(long: Path, cli: Cli, tmp_path: Path) -> None:
    home = {"WHISPER_LAMBDA_HOME": str(tmp_path / "home"), **JOBS}
    busy = {"FAKE_DELAY_S": "30", "FAKE_SAYS_BUSY": "1", **home}
    with started("transcribe", "--job", "--vad=off", long, cwd=tmp_path, **busy) as process:
        while b"busy" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        told = process.stderr.read().decode()
    [job_id] = {word.strip(":") for word in told.split() if word.startswith("job_")}
    resumed = cli("transcribe", "--job", "--vad=off", "--quiet", long, **home)

    assert "the same command goes on with it" in told
    assert b"Hola a todos." in resumed.stdout, resumed.stderr
    assert cli("jobs", "list", **home).stdout.split()[:2] == [job_id.encode(), b"completed"]


def test_a_servers_job_is_followed_there_and_printed(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path))
    with serving(Stub(job_states=["queued", "running", "completed"], warns="it ends early")) as stub:
        assert run(["transcribe", "--job", "--server", stub.url, "-f", "vtt", "-l", "es", str(short)]) == 0
    out, err = capsys.readouterr()

    assert out == "vtt: Hola a todos.\n"
    assert f"{short.name}: warning: it ends early\n" in err
    assert b'name="language"\r\n\r\nes' in stub.got[0].body
    assert b'name="response_format"\r\n\r\nvtt' in stub.got[0].body


def test_a_servers_refusal_is_told_by_its_code(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path))
    with serving(Stub(script={"POST /v1/jobs": [refused(429, "too_many_jobs")]})) as stub:
        assert run(["transcribe", "--job", "--server", stub.url, "--key", "wl-1", str(short)]) == 1

    assert stub.got[0].headers["authorization"] == "Bearer wl-1"
    assert b'name="idempotency_key"\r\n\r\ntranscribe-' in stub.got[0].body
    assert "(too_many_jobs)" in capsys.readouterr().err


@pytest.mark.parametrize("with_", [["--clip-timestamps", "0,1"], ["--stream"], ["--budget-usd", "1"]])
def test_what_a_job_cannot_do_is_refused(
    short: Path, with_: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", "--job", *with_, str(short)]) == 2

    assert "--job" in capsys.readouterr().err
