from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disks import small_disk
from whisper_lambda.cli.inputs import Recording
from whisper_lambda.cli.outputs import file_bases, prepare_folder, write_whole
from whisper_lambda.errors import BadOption, StorageFull
from whisper_lambda.transcript.formats import FORMATS

SUFFIXES = [f.suffix for f in FORMATS.values()]


def bases(*paths: str, folder: str = "/out", suffixes: list[str] = SUFFIXES) -> list[str]:
    found = [Recording(Path(p), p, PurePath(PurePath(p).name)) for p in paths]
    return [str(b.relative_to(folder)) for b in file_bases(found, Path(folder), suffixes)]


def test_a_lone_name_loses_its_suffix_as_whisper_has_it() -> None:
    assert bases("/in/talk.mp3", "/in/b.wav") == ["talk", "b"]


def test_names_that_would_meet_keep_their_suffix_or_get_a_number() -> None:
    assert bases("/x/a.mp3", "/x/a.wav", "/y/a.mp3") == ["a.mp3", "a.wav", "a.mp3-2"]


def test_names_that_some_file_system_thinks_equal_meet() -> None:
    assert bases("/x/Ana.mp3", "/x/ana.wav") == ["Ana.mp3", "ana.wav"]
    assert bases("/x/caf\u00e9.mp3", "/x/cafe\u0301.wav") == ["caf\u00e9.mp3", "cafe\u0301.wav"]


def test_one_formats_suffix_does_not_reach_anothers_file() -> None:
    assert bases("/x/talk.mp3", "/x/talk.verbose.mp3") == ["talk", "talk.verbose.mp3"]


def test_no_output_takes_the_place_of_an_input() -> None:
    assert bases("/out/talk.txt", "/out/b.mp3") == ["talk.txt", "b"]


def test_a_name_is_cut_to_what_a_file_system_takes() -> None:
    [base] = bases("/in/" + "ñ" * 130 + ".mp3")

    assert len(base.encode()) + max(map(len, SUFFIXES)) <= 255


@given(
    st.lists(
        st.from_regex(r"(x|y)/[aAb](\.verbose|\.mp3|-2){0,2}(\.mp3|\.wav|\.json)?", fullmatch=True),
        max_size=8,
        unique=True,
    )
)
def test_no_two_files_of_a_run_share_a_name(paths: list[str]) -> None:
    written = [f"{base}{suffix}".casefold() for base in bases(*paths, folder="/out") for suffix in SUFFIXES]

    assert len(written) == len(set(written))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.txt"
    write_whole(target, "uno")
    write_whole(target, "dos ñ")

    assert target.read_bytes() == "dos ñ".encode()
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_whoever_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_whole(target, "uno")
    with target.open() as reader:
        write_whole(target, "dos")

        assert reader.read() == "uno"
    assert target.read_text() == "dos"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_whole(target, "old")
    with small_disk(1000), pytest.raises(StorageFull, match="no room"):
        write_whole(target, "x" * 2000)

    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadOption, match="--output-dir"):
        prepare_folder(tmp_path / "file" / "out")


def test_a_file_named_as_the_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").touch()
    with pytest.raises(BadOption, match="is a file"):
        prepare_folder(tmp_path / "talk.srt")
