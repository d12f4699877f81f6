"""`cost`: what cannot be reckoned with is one line, before anything is played."""

from pathlib import Path

import pytest

from cli.conftest import Cli


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--memory 1", "--memory lists numbers from 128 to 10240"),
        ("--memory x", "--memory lists numbers from 128 to 10240"),
        ("--hours 1e12", "too many to play one by one"),
        ("--hours nan", "numbers above 0"),
        ("--at-once 0", "--at-once"),
        ("--ready -1", "--ready"),
        ("--tiers zz", "no speed is known of 'zz'"),
        ("scale --hours x", "--hours lists numbers from 0.001 to 1000000000"),
        ("scale --hours 10,nan", "--hours lists numbers"),
        ("scale --memory 0", "--memory"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused(cli: Cli, args: str, said: str) -> None:
    ran = cli("cost", *args.split())

    assert ran.returncode == 2
    assert ran.stdout == b""
    assert said in ran.stderr.decode()
    assert "unexpected" not in ran.stderr.decode()


def test_a_log_that_is_not_there_or_none_is_said(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "talk.mp3").write_bytes(b"\xff\xfb" * 100)

    gone, sound = cli("cost", "--log", "gone.log"), cli("cost", "--log", "talk.mp3")

    assert (gone.returncode, gone.stderr) == (1, b"error: gone.log: No such file or directory (file_error)\n")
    assert (sound.returncode, sound.stderr) == (
        2,
        b"error: talk.mp3 is no log: it holds more than text (bad_option)\n",
    )


def test_days_are_played_at_the_sizes_asked_for(cli: Cli) -> None:
    ran = cli("cost", "--hours", "0.5", "--tiers", "base", "--memory", "1769,2048", "--arch", "arm64")

    assert ran.returncode == 0
    assert "2048" in ran.stdout.decode()
