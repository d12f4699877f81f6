"""`whisper-lambda transcribe` as a process, with a FakeEngine: what comes out where, and the exit code."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cli.conftest import FAKE_CLI, Cli, environment, on_terminal, started, write_noise
from fakes import FakeEngine, fake_service
from prompts import FIXTURES, Prompt
from whisper_lambda.cli import run

SAID = b"Hola a todos.\n"


def lines(stderr: bytes) -> list[str]:
    return stderr.decode().splitlines()


def inside(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_one_file_gives_its_text_on_stdout_and_nothing_else_anywhere(cli: Cli, short: Path) -> None:
    ran = cli("transcribe", short, "--vad", "off")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, SAID, b"")
    assert inside(short.parent) == [short.name]


def test_what_is_said_about_a_run_goes_to_stderr(cli: Cli, short: Path) -> None:
    ran = cli(
        "transcribe", short, "--vad=off", "--verbose", "--model", "small", FAKE_SERVED="base", FAKE_DROPS="1"
    )
    said = ran.stderr.decode()

    assert ran.stdout == SAID
    assert said.count("model: base answers for small: no source has small") == 1
    assert "left out: 0.0-0.5 s (repetition)" in said
    assert "la la la" not in said, "the guard refused this text"
    assert "0:01 in " in said


@pytest.mark.parametrize(
    ("bound", "told"),
    [("--budget-usd=1e-9", "at most 1e-09 USD"), ("--max-latency-s=0.001", "at most 0.001 s")],
)
def test_what_would_cost_or_take_more_than_is_wanted_is_refused_with_an_estimate(
    cli: Cli, short: Path, bound: str, told: str
) -> None:
    refused = cli("transcribe", short, "--vad=off", bound)
    heard = cli("transcribe", short, "--vad=off", "--budget-usd=1", "--max-latency-s=60")

    assert (refused.returncode, refused.stdout) == (1, b"")
    assert told in refused.stderr.decode()
    assert "would take base about" in refused.stderr.decode()
    assert (heard.returncode, heard.stdout) == (0, SAID)


def test_a_fallback_is_told_once_however_many_files(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_noise(tmp_path / name, 1)
    ran = cli("transcribe", ".", "--vad=off", "--model=small", FAKE_SERVED="base")

    assert ran.stderr.decode().count("answers for small") == 1


@pytest.mark.parametrize("given", [["--language", "fi"], []])
def test_a_language_in_which_nothing_is_likely_is_named(
    capfd: pytest.CaptureFixture[str], short: Path, given: list[str]
) -> None:
    code = run(
        ["transcribe", str(short), "--vad=off", *given],
        build=lambda settings: fake_service(FakeEngine(doubts=("fi", "es")), settings),
    )
    out, err = capfd.readouterr()

    assert (code, out.strip()) == (0, "")
    assert "left out: 0.0-1.0 s (low_confidence)" in err
    assert ("warning: no text is likely in fi, which was asked for" in err) == bool(given)


def test_quiet_leaves_errors_only(cli: Cli, short: Path) -> None:
    ran = cli("transcribe", short, "--vad=off", "--quiet", "nope.mp3", FAKE_SERVED="base", FAKE_DROPS="1")

    assert [line for line in lines(ran.stderr) if "nope.mp3" not in line] == ["1 of 2 recordings failed:"]
    assert ran.returncode == 1


def test_stdin_bytes(cli: Cli, short: Path) -> None:
    ran = cli("transcribe", "-", "--vad=off", "--output-dir", "out", stdin=short.read_bytes())

    assert ran.returncode == 0
    assert (short.parent / "out" / "stdin.txt").read_bytes() == SAID


def test_a_real_recording_is_decoded_and_cut(cli: Cli, spanish: Prompt) -> None:
    ran = cli("transcribe", spanish.path, "--format", "verbose_json")

    assert json.loads(ran.stdout)["duration"] == pytest.approx(spanish.duration_s, abs=0.1)


def test_files_are_named_after_the_input(cli: Cli, short: Path) -> None:
    ran = cli(
        "transcribe",
        short.name,
        "--vad=off",
        "--output_dir",
        "out/deep",
        "--output_format",
        "srt,json",
        "-f",
        "vtt",
    )
    written = {p.name: p.read_text() for p in (short.parent / "out" / "deep").iterdir()}

    assert ran.returncode == 0
    assert ran.stdout == b""
    assert written.keys() == {"short.srt", "short.json", "short.vtt"}
    assert "00:00:00,000 --> 00:00:01,000\nHola a todos." in written["short.srt"]
    assert all(name in ran.stderr.decode() for name in written)


def test_several_formats_without_a_folder_are_written_here(cli: Cli, short: Path) -> None:
    cli("transcribe", short.name, "--vad=off", "-f", "srt", "-f", "vtt")

    assert inside(short.parent) == ["short.srt", "short.vtt", "short.wav"]


def test_all_formats(cli: Cli, short: Path) -> None:
    ran = cli("transcribe", short.name, "--vad=off", "-f", "all", "-o", "out")

    assert ran.returncode == 0, ran.stderr
    assert {p.suffix for p in (short.parent / "out").iterdir()} >= {
        ".txt",
        ".json",
        ".srt",
        ".vtt",
        ".tsv",
        ".lrc",
        ".ass",
    }


def test_word_timestamps_reach_the_answer(cli: Cli, short: Path) -> None:
    with_words = cli("transcribe", short, "--vad=off", "-f", "verbose_json", "--word_timestamps", "True")
    without = cli("transcribe", short, "--vad=off", "-f", "verbose_json", "--word_timestamps", "False")

    assert json.loads(with_words.stdout)["words"]
    assert not json.loads(without.stdout).get("words")


def test_a_failure_does_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", 1)
    (tmp_path / "b.wav").write_text("no audio at all, only words " * 50)
    (tmp_path / "c.wav").touch()
    write_noise(tmp_path / "d.wav", 1)
    ran = cli("transcribe", "a.wav", "b.wav", "c.wav", "nope.mp3", "d.wav", "--vad=off", "-o", "out")
    summary = lines(ran.stderr)[-4:]

    assert ran.returncode == 1
    assert inside(tmp_path / "out") == ["a.txt", "d.txt"]
    assert summary[0] == "3 of 5 recordings failed:"
    assert [re.search(r"^  (\S+): .*\((\w+)\)$", line).groups() for line in summary[1:]] == [
        ("b.wav", "bad_audio"),
        ("c.wav", "empty_audio"),
        ("nope.mp3", "file_error"),
    ]


def test_a_failing_engine_is_a_plain_line(cli: Cli, short: Path) -> None:
    plain = cli("transcribe", short, "--vad=off", FAKE_FAILS="1")
    debug = cli("transcribe", short, "--vad=off", "--debug", FAKE_FAILS="1")

    assert plain.returncode == debug.returncode == 1
    assert lines(plain.stderr) == [
        f"error: {short}: the fake engine was told to fail; tell it not to (engine_failed)"
    ]
    assert b"Traceback" in debug.stderr


def test_a_full_disk_behind_stdout_is_not_the_recordings_fault(short: Path) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("/dev/full is Linux's")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, str(FAKE_CLI), "transcribe", str(short), "--vad=off"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            check=False,
        )

    assert ran.returncode == 1
    assert "standard output: No space left" in ran.stderr


def test_several_texts_share_stdout_with_their_names_on_stderr(cli: Cli, tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", 1)
    write_noise(tmp_path / "b.wav", 1)
    ran = cli("transcribe", "*.wav", "--vad=off")

    assert ran.stdout == SAID * 2
    assert lines(ran.stderr) == ["==> a.wav <==", "==> b.wav <=="]


def test_several_subtitles_do_not(cli: Cli, tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", 1)
    write_noise(tmp_path / "b.wav", 1)
    ran = cli("transcribe", "a.wav", "b.wav", "-f", "srt")

    assert (ran.returncode, ran.stdout) == (2, b"")
    assert "--output-dir" in ran.stderr.decode()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--device", "cuda"], "CPU only"),
        (["--fp16", "True"], "CPU only"),
        (["--condition_on_previous_text", "True"], "--initial-prompt"),
        (["--format", "docx"], "known: text"),
        (["--format", ","], "--format needs a name"),
        (["--language", "klingon"], "not a language"),
        (["--beam_size", "0"], "beam_size"),
        (["--beam_size", "many"], "beam-size"),
        (["--temperature", "1.5"], "from 0 to 1"),
        (["--temperature", "nan"], "temperature"),
        (["--quality", "superb"], "quality"),
        (["--max_line_width", "0"], "max_line_width"),
        (["--clip_timestamps", "5,3"], "later than"),
        (["--model_dir", "nowhere"], "no such folder"),
        (["--model", "nonsense"], "no model"),
        (["--languge", "es"], "--language"),
        (["--language", "es", "--languages", "fr,en"], "not among"),
        (["--multilingual", "--language", "es"], "multilingual"),
    ],
)
def test_a_wrong_command_line_is_refused_in_a_sentence(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    short: Path,
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(short.parent)
    code = run(["transcribe", str(short), *args], build=lambda settings: fake_service(settings=settings))
    out, err = capfd.readouterr()

    assert (code, out) == (2, "")
    assert says in err
    assert 1 <= len(err.splitlines()) <= 2
    assert "Traceback" not in err


def test_a_misspelt_setting_is_refused(cli: Cli, short: Path) -> None:
    ran = cli("transcribe", short, WHISPER_LAMBDA_MODLE="base")

    assert ran.returncode == 2
    assert "WHISPER_LAMBDA_MODLE is not a setting" in ran.stderr.decode()


def test_clips_leave_the_rest_unheard_and_the_times_alone(cli: Cli, tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", 60)
    ran = cli("transcribe", "a.wav", "--clip_timestamps", "40,45", "-f", "verbose_json", FAKE_ECHO="1")
    loud = [s for s in json.loads(ran.stdout)["segments"] if "loud" in s["text"]]

    assert json.loads(ran.stdout)["duration"] == pytest.approx(60, abs=0.1)
    assert loud
    assert all(s["start"] <= 45 and s["end"] >= 40 for s in loud)


def test_clips_beyond_a_recordings_end_are_told_of_and_one_without_any_fails(
    cli: Cli, short: Path, tmp_path: Path
) -> None:
    write_noise(tmp_path / "long.wav", 60)
    ran = cli("transcribe", short, "long.wav", "--vad=off", "--clip-timestamps", "40,45,70,80")

    assert (ran.returncode, ran.stdout) == (1, SAID)
    assert f"{short.name}: --clip-timestamps: nothing to hear from 40, 70 s on: " in ran.stderr.decode()
    assert "(empty_audio)" in ran.stderr.decode()
    assert (
        "long.wav: warning: --clip-timestamps: nothing to hear from 70 s on: the recording ends at 60.0 s"
        in ran.stderr.decode()
    )


@pytest.mark.parametrize(
    "name", ["mañana 日本.wav", "a\nb.wav", "[bold].wav", "--quiet.wav", "a\x1b[31m.wav", "b\udcff.wav"]
)
def test_odd_names(cli: Cli, tmp_path: Path, name: str) -> None:
    write_noise(tmp_path / name, 1)
    ran = cli("transcribe", "--vad=off", "-o", "out", "--", name)

    assert ran.returncode == 0, ran.stderr
    assert inside(tmp_path / "out") == [name.removesuffix(".wav") + ".txt"]
    assert len(lines(ran.stderr)) == 1, "a name must not break the line"
    assert b"\x1b" not in ran.stderr


def test_head_has_seen_enough(tmp_path: Path, long: Path) -> None:
    with started("transcribe", long, "--vad=off", "--stream", cwd=tmp_path, FAKE_DELAY_S="0.3") as process:
        assert process.stdout.readline() == SAID
        process.stdout.close()
        process.wait(60)

        assert process.stderr.read() == b""


def test_a_pipe_streams_when_asked_to(tmp_path: Path, long: Path) -> None:
    """The first line is there while the process still has chunks to hear."""
    args = ("transcribe", long, "--vad=off", "--stream", "--threads=1")
    with started(*args, cwd=tmp_path, FAKE_DELAY_S="0.25", FAKE_SERIAL="1") as process:
        assert process.stdout.readline() == SAID
        assert process.poll() is None

        rest = process.stdout.read()
        assert set(rest.splitlines(keepends=True)) == {SAID}


def test_streamed_text_is_the_text(cli: Cli, long: Path) -> None:
    streamed = cli("transcribe", long, "--vad=off", "--stream")
    whole = cli("transcribe", long, "--vad=off", "--no-stream")

    assert streamed.stdout == whole.stdout
    assert streamed.stdout.count(SAID) > 3


def test_on_a_terminal_text_comes_as_it_is_heard_and_the_bar_is_wiped(tmp_path: Path, long: Path) -> None:
    code, shown, _ = on_terminal(
        "transcribe", long, "--vad=off", cwd=tmp_path, FAKE_DELAY_S="0.25", FAKE_SERIAL="1"
    )
    said_at = [at for at, block in shown if b"Hola" in block]
    screen = b"".join(block for _, block in shown)

    assert code == 0
    assert said_at[-1] - said_at[0] > 0.25
    assert b"long.wav" in screen, "no bar was drawn"
    assert re.search(rb"\d:\d\d of 2:00", screen)


def test_a_bar_on_stderr_does_not_touch_stdout(tmp_path: Path, long: Path) -> None:
    code, shown, piped = on_terminal(
        "transcribe", long, "--vad=off", cwd=tmp_path, stdout_too=False, FAKE_DELAY_S="0.25", FAKE_SERIAL="1"
    )

    assert code == 0
    assert set(piped.splitlines(keepends=True)) == {SAID}
    assert b"Hola" not in b"".join(block for _, block in shown)


def test_a_terminal_is_not_written_on_by_a_transcript_or_a_name(tmp_path: Path) -> None:
    write_noise(tmp_path / "a\x1b[2Jb.wav", 1)
    code, shown, _ = on_terminal(
        "transcribe",
        ".",
        "nope\x1b[2J.wav",
        "--vad=off",
        cwd=tmp_path,
        FAKE_TEXT=" uno\x1b[2Jdos\x07",
    )
    screen = b"".join(block for _, block in shown)

    assert code == 1
    assert b"\\x1b[2J" in screen
    assert b"\x1b[2J" not in screen
    assert b"\x07" not in screen


def test_a_terminal_is_not_misled_by_json_either(tmp_path: Path, short: Path) -> None:
    """JSON spells out control characters itself, but not those that turn the reading order round."""
    args = ("transcribe", short, "--vad=off", "-f", "json")
    code, shown, _ = on_terminal(*args, cwd=tmp_path, FAKE_TEXT=" uno \u202edos")
    screen = b"".join(block for _, block in shown).decode()

    assert code == 0
    assert "\\u202edos" in screen
    assert "\u202e" not in screen


def test_a_pipe_gets_the_transcript_byte_for_byte(cli: Cli, short: Path) -> None:
    ran = cli(
        "transcribe", short, "--vad=off", FAKE_TEXT=" ¿Qué? 日本", LC_ALL="C", PYTHONIOENCODING="latin-1"
    )

    assert ran.stdout.decode() == "¿Qué? 日本\n"


def test_a_process_substitution_is_read(tmp_path: Path, short: Path) -> None:
    """<(a process) is a pipe with a name: it cannot be sought in."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(short.read_bytes()))
    feeder.start()
    with started("transcribe", pipe, "--vad=off", cwd=tmp_path) as process:
        out, _ = process.communicate(timeout=120)
    feeder.join()

    assert out == SAID


def test_the_bundled_recordings_all_at_once(cli: Cli) -> None:
    ran = cli("transcribe", FIXTURES, "--vad=off", "-o", "out", "-f", "srt")

    assert ran.returncode == 0
    assert len(lines(ran.stderr)) == len(list(FIXTURES.glob("*.flac")))
