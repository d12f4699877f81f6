"""`whisper-lambda live` as its users meet it, with an engine that hears a script."""

import json
import re
import signal
import subprocess
from pathlib import Path

import numpy as np

from cli.conftest import Cli, on_terminal, started

VOICE = Path(__file__).parents[1] / "fixtures" / "es-tt-allbusy.flac"


def pcm(seconds: float = 4.0) -> bytes:
    """Somebody speaking, then a second of silence: raw PCM, 16 kHz."""
    from fakes import fake_service

    with fake_service() as service:
        samples = service.decode(VOICE).samples[: int(seconds * 16_000)]
    return (np.concatenate([samples, np.zeros(16_000)]) * 32767).astype("<i2").tobytes()


def test_pcm_on_stdin_becomes_words_and_files_as_it_goes(cli: Cli, tmp_path: Path) -> None:
    done = cli("live", "-", "--language", "es", "-o", "a.jsonl", stdin=pcm())
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rb"(w\d+ ?)+\n", done.stdout)
    assert "".join(r["word"] for r in rows).split() == done.stdout.decode().split()
    assert all(r["start"] < r["end"] and r["language"] == "es" for r in rows)
    for suffix, head in ((".srt", "1\n00:00:0"), (".vtt", "WEBVTT\n"), (".txt", "w")):
        assert cli("live", "-", "-o", f"b{suffix}", stdin=pcm()).returncode == 0
        assert (tmp_path / f"b{suffix}").read_text().startswith(head)


def test_on_a_terminal_tentative_words_are_dimmed_and_taken_back(tmp_path: Path) -> None:
    code, shown, _ = on_terminal("live", "--from-file", VOICE, cwd=tmp_path, FAKE_DELAY_S="0.01")
    screen = b"".join(block for _, block in shown)

    assert code == 0
    assert b"\x1b[2m" in screen
    plain = re.sub(rb"\x1b\[2m.*?\x1b\[0m|\x1b\[\d+D\x1b\[J", b"", screen)
    assert b"garble" not in plain
    assert len(plain.split()) > 25
    assert shown[0][0] < shown[-1][0] - 5  # it was played in real time


def test_ctrl_c_commits_what_was_heard(tmp_path: Path) -> None:
    with started("live", "--from-file", VOICE, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=120)

    assert process.returncode == 130
    assert b"Traceback" not in complaint
    assert said.endswith(b"\n")


def test_what_cannot_be_is_refused_in_a_sentence(cli: Cli) -> None:
    for args, says in (
        (("nonsense",), b"the source is"),
        (("-", "--delay", "never"), b"--delay is one of minimal, low"),
        (("-", "-o", "a.pdf"), b"--output ends in one of .srt"),
        (("-", "-l", "xx"), b"xx"),
        ((), b"a microphone needs"),
    ):
        done: subprocess.CompletedProcess[bytes] = cli("live", *args)
        assert done.returncode == 2, (args, done.stderr)
        assert says in done.stderr
