from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from whisper_lambda.cli import bench as command
from whisper_lambda.errors import BadOption
from whisper_lambda.tools.bench import run, runnable
from whisper_lambda.tools.manifest import Entry
from whisper_lambda.tools.parts import PARTS, _heard_before
from whisper_lambda.tools.setup import Setup, Weights, every, fastest, shortest


def entry(name: str, seconds: float, *, of: str = "s") -> Entry:
    return Entry(
        path=Path("/nowhere") / name, audio=name, set=of, language="en", text="x", duration_s=seconds
    )


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    clips = (
        entry("a", 9.0),
        entry("b", 3.0),
        entry("c", 60.0, of="longform"),
        entry("d", 8.0, of="en-over-music"),
    )
    return Setup(entries=clips, weights=Weights(tmp_path, tmp_path, tmp_path))


def test_the_command_lists_the_parts_there_are() -> None:
    assert command.PARTS.split() == list(PARTS)


def test_the_sets_of_a_part_are_told_apart(setup: Setup) -> None:
    assert [e.audio for e in setup.short] == ["a", "b", "d"]
    assert [e.audio for e in setup.music] == ["d"]
    assert [e.audio for e in setup.of("longform")] == ["c"]
    assert [e.audio for e in shortest(setup.short)] == ["b"]
    assert [e.audio for e in every(setup.entries, 2)] == ["a", "c"]


def test_the_fastest_side_is_found_by_its_total() -> None:
    rows = [
        {"side": side, "seconds": s} for side, s in (("x 0", 1.0), ("x 1", 3.0), ("x 0", 9.0), ("y 2", 0.1))
    ]

    assert fastest(rows, "x ") == 1
    assert fastest(rows, "z ", otherwise=7) == 7


def test_a_part_that_is_not_there_or_lacks_its_opponent_is_refused(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no part 'nonsense'"):
        run(setup, ["nonsense"], tmp_path / "raw.json")
    alone = Setup(entries=setup.entries, weights=setup.weights, against=frozenset())
    with pytest.raises(BadOption, match="'short' compares with faster-whisper"):
        run(alone, ["short"], tmp_path / "raw.json")
    assert runnable(()) == ["quality", "modes", "formats", "imports", "speed"]


def test_a_part_that_fails_is_told_and_what_was_known_is_kept(setup: Setup, tmp_path: Path) -> None:
    said: list[str] = []
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({"cold": {"old": True}}))
    loud = Setup(entries=setup.entries, weights=setup.weights, say=said.append, quick=True)

    results = run(loud, ["cold", "nonspeech"], raw)  # the recordings are not there, nor is any without speech

    assert results == {"cold": {"old": True}}
    assert any(line.startswith("cold failed: ") for line in said)
    assert "nonspeech: none of the recordings is for this part" in said


def test_what_was_found_is_written_with_the_machine_it_was_found_on(setup: Setup, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper", reason="the imports part times it, too")
    raw = tmp_path / "out" / "raw.json"

    results = run(Setup(entries=setup.entries, weights=setup.weights, quick=True), ["imports"], raw)

    assert json.loads(raw.read_text()) == results
    assert results["imports"]["machine"]["python"] == sys.version.split()[0]
    assert len(results["imports"]["whisper_lambda"]) == 3


def test_what_full_parts_heard_is_not_heard_again() -> None:
    def row(side: str, number: int = 0) -> dict[str, object]:
        return {"side": side, "round": number, "set": "s", "audio": "a"}

    rows = [
        row("whisper-lambda"),
        row("whisper-lambda", 1),
        row("faster-whisper"),
        row("whisper-lambda vad=off"),
    ]
    results = {"short": {"quick": False, "rows": rows}, "long": {"quick": True, "rows": rows}}

    assert [r["side"] for r in _heard_before(results)] == [
        "whisper-lambda vad=auto",
        "whisper-lambda vad=off",
    ]
