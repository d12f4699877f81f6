"""`transcribe --server` against a server of a few lines: what is printed, written, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from stub_server import Stub, refused, serving

from whisper_lambda.cli import run


@pytest.fixture
def mp3(tmp_path: Path) -> Path:
    path = tmp_path / "talk.mp3"
    path.write_bytes(b"ID3\x04" + bytes(3000))
    return path


def test_what_the_server_writes_is_printed_and_nothing_else(
    mp3: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Stub()) as stub:
        assert run(["transcribe", "--server", stub.url, "--key", "wl-1", "--format", "srt", str(mp3)]) == 0

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("srt: Hola a todos.\n", "")
    assert stub.got[0].headers["authorization"] == "Bearer wl-1"


@pytest.mark.parametrize("quiet", [False, True])
def test_what_the_server_warns_of_is_said(mp3: Path, capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    with serving(Stub(warns="it ends early")) as stub:
        flags = ["--quiet"] if quiet else []
        assert run(["transcribe", "--server", stub.url, *flags, "--format", "srt", str(mp3)]) == 0

    printed = capsys.readouterr()
    assert printed.out == "srt: Hola a todos.\n"
    assert printed.err == ("" if quiet else f"{mp3}: warning: it ends early\n")


def test_several_formats_become_files(mp3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Stub()) as stub:
        where = str(tmp_path / "out")
        assert (
            run(["transcribe", "--server", stub.url, "-f", "srt,vtt", "-o", where, str(mp3), "-l", "es"]) == 0
        )

    assert (tmp_path / "out" / "talk.srt").read_text() == "srt: Hola a todos.\n"
    assert (tmp_path / "out" / "talk.vtt").read_text() == "vtt: Hola a todos.\n"
    assert capsys.readouterr().out == ""
    assert b'name="language"\r\n\r\nes' in stub.got[0].body


def test_one_that_fails_does_not_stop_the_others(mp3: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = {"POST /v1/audio": [refused(400, "bad_audio", "file")]}
    other = mp3.with_name("other.mp3")
    other.write_bytes(mp3.read_bytes())
    with serving(Stub(script=script)) as stub:
        assert run(["transcribe", "--server", stub.url, str(mp3), str(other)]) == 1

    printed = capsys.readouterr()
    assert printed.out == "text: Hola a todos.\n"
    assert "(bad_audio)" in printed.err
    assert "1 of 2 recordings failed" in printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--server", "nowhere"], 2, "address is http"),
        (["--server", "http://127.0.0.1:9", "--clip-timestamps", "0,1"], 2, "--clip-timestamps"),
        (["--server", "http://127.0.0.1:9", "--kbit-per-s", "1", "--compress", "always"], 2, "6 to 256"),
        (["--server", "http://127.0.0.1:9", "--no-cache"], 2, "--no-cache goes"),
        (["--server", "http://127.0.0.1:9", "--threads", "0", "--stream"], 2, "--threads and --stream go"),
        (["--server", "http://127.0.0.1:9", "--batch-size", "2"], 2, "--batch-size"),
        (["--server", "http://127.0.0.1:9", "--local-files-only"], 2, "--local-files-only"),
        (
            ["--server", "http://127.0.0.1:9", "--job", "--compress", "always"],
            2,
            "--compress goes without --job",
        ),
        (["--job", "--kbit-per-s", "12"], 2, "--kbit-per-s goes without --job"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(
    mp3: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    wav = mp3.with_suffix(".wav")
    wav.write_bytes(b"RIFF")

    assert run(["transcribe", *arguments, str(wav)]) == code

    assert says in capsys.readouterr().err
