import os
from pathlib import Path, PurePath

import pytest

from whisper_lambda.cli.inputs import read_input, reason, recordings
from whisper_lambda.errors import AudioTooLarge, BadOption


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*arguments: str) -> list[str]:
    return [r.name for r in recordings(arguments)]


def test_a_folder_stands_for_its_media_files_to_the_bottom() -> None:
    touch("d/b.mp3", "d/a.WAV", "d/sub/c.mkv", "d/notes.txt", "d/.hidden.mp3", "d/.git/d.mp3", "d/._a.mp3")

    assert names("d") == ["d/a.WAV", "d/b.mp3", "d/sub/c.mkv"]
    assert [r.stem for r in recordings(["d"])][-1] == PurePath("sub/c.mkv")


def test_a_loop_of_links_is_not_followed() -> None:
    touch("d/a.mp3")
    Path("d/up").symlink_to("..")

    assert names("d") == ["d/a.mp3"]


def test_links_in_a_ring_are_left_to_the_opening_of_the_file() -> None:
    Path("ring.mp3").symlink_to("ring.mp3")

    [ring] = recordings(["ring.mp3"])
    with pytest.raises(OSError, match="symbolic links"):
        read_input(ring, max_bytes=10)


def test_an_empty_name_is_no_folder() -> None:
    touch("a.mp3")

    with pytest.raises(BadOption, match="empty"):
        recordings(["", "a.mp3"])


def test_a_failure_names_the_file_at_fault_where_it_is_not_the_recording() -> None:
    [talk] = recordings(["talk.mp3"])

    gone = reason(FileNotFoundError(2, "No such file or directory", "talk.mp3"), talk)
    home = reason(FileNotFoundError(2, "No such file or directory", "/nowhere/models"), talk)

    assert gone == "No such file or directory (file_error)"
    assert home == "/nowhere/models: No such file or directory (file_error)"


def test_a_pattern_the_shell_left_is_expanded() -> None:
    touch("b.mp3", "a.mp3", "x/y/c.mp3")

    assert names("*.mp3") == ["a.mp3", "b.mp3"]
    assert names("**/c.mp3") == ["x/y/c.mp3"]


def test_a_name_that_looks_like_a_pattern_is_a_name() -> None:
    touch("song [live].mp3", "song l.mp3")

    assert names("song [live].mp3") == ["song [live].mp3"]


def test_what_does_not_exist_is_kept_to_fail_by_itself() -> None:
    touch("a.mp3")

    assert names("nope.mp3", "no*.mp3", "a.mp3") == ["nope.mp3", "no*.mp3", "a.mp3"]


def test_a_file_named_twice_is_heard_once() -> None:
    touch("d/a.mp3")

    assert names("d/a.mp3", "d", "./d/a.mp3") == ["d/a.mp3"]


def test_a_folder_without_media_is_a_mistake() -> None:
    touch("d/notes.txt")
    with pytest.raises(BadOption, match="no media files"):
        recordings(["d"])


def test_a_pipe_is_read_up_to_the_limit_and_no_further() -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("pipe", os.O_WRONLY)
    os.write(writer, b"x" * 1000)
    os.set_blocking(reader, True)
    [pipe] = recordings(["pipe"])
    with pytest.raises(AudioTooLarge, match="MAX_AUDIO_MB"):
        read_input(pipe, max_bytes=999)
    os.close(writer)
    os.close(reader)


def test_a_file_is_handed_on_unread() -> None:
    touch("a.mp3")
    [recording] = recordings(["a.mp3"])

    assert read_input(recording, max_bytes=0) == Path("a.mp3")
