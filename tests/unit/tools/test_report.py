from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whisper_lambda.tools.report import markdown, points, table, write

pytest.importorskip("whisper_normalizer", reason="scoring needs the extra `bench`")


def row(side: str, seconds: float, wrong: int, name: str = "s", **more: Any) -> dict[str, Any]:
    return {
        "round": 0,
        "side": side,
        "set": name,
        "audio": "a.wav",
        "kind": None,
        "seconds": seconds,
        "cpu_s": seconds,
        "audio_s": 10.0,
        "error": "",
        "loops": 0,
        "in_order": True,
        "words": 100,
        "wrong": wrong,
        **more,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    facts = {"at": "2026-01-02T03:04:05+00:00", "machine": {"cpu": "abacus", "cores": 2}, "quick": False}
    late = row("whisper-lambda word times", 1.0, 8, late_s=[[0.0, 0.4, True]])
    theirs = row("faster-whisper word times", 4.0, 10, late_s=[[0.0, 0.1, True], [0.0, 0.9, True]])
    pair = [row("whisper-lambda", 1.0, 8), row("faster-whisper", 4.0, 10)]
    sets = [row("whisper-lambda", 1.0, 7, "t"), row("faster-whisper", 4.0, 3, "t")]
    others = [row(f"faster-whisper {way}", 2.0, 12) for way in ("vad_filter", "batched")]
    heard = {"expect": "error: not audio", "text": None, "heard": "", "error": "bad_audio"}
    return {
        "threads": facts | {"short": 1, "sequential": 0, "batched": 0},
        "short": facts | {"rows": pair + sets},
        "long": facts | {"rows": [*pair, *others, late, theirs], "onsets": {"a.wav": {"0.0": 0.35}}},
        "formats": facts | {"quick": True, "answers": {"a|b.mp3": heard}},
    }


def test_the_page_states_promises_machine_command_and_sets(results: dict[str, Any]) -> None:
    page = markdown(results, "whisper-lambda bench speech")

    assert "| short clips: speed against faster-whisper | >= 3x | >= 5x | 4.00x | yes | **no** |" in page
    assert "cpu abacus, cores 2" in page
    assert "command: `whisper-lambda bench speech`" in page
    assert "short 1 thread, sequential its default threads" in page
    assert "| t | 100 | 7.00, 0.1000 | 3.00, 0.4000 |" in page
    assert "faster-whisper takes 4.00 times as long as whisper-lambda" in page
    assert "quick run, on a sample only**: formats" in page
    assert "counted from where the voice can be heard, 100.0 %" in page
    assert "faster-whisper, asked for word times: 50.0 % and 50.0 %." in page
    assert "| a/b.mp3 | error: not audio | bad_audio | yes |" in page


def test_every_line_of_a_table_has_its_cells() -> None:
    lines = list(table(("a", "b"), [("1", "2|3")]))

    assert lines == ["| a | b |", "|---|---|", "| 1 | 2/3 |"]


def test_the_plot_shows_every_way_but_the_one_for_times(results: dict[str, Any]) -> None:
    shown = {(p["panel"], p["way"]) for p in points(results)}

    assert ("Short clips, one at a time, warm, language given", "whisper-lambda") in shown
    assert ("Long recordings", "faster-whisper batched") in shown
    assert not any("word times" in way for _, way in shown)


def test_page_and_plot_are_written(results: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="the plot needs the extra `bench`")

    write(results, tmp_path / "docs" / "other.md", "command")

    assert "(other/speed-and-words.svg)" in (tmp_path / "docs" / "other.md").read_text()
    assert (tmp_path / "docs" / "other" / "speed-and-words.svg").read_text().startswith("<svg")
    assert (tmp_path / "docs" / "other" / "speed-and-words.png").read_bytes().startswith(b"\x89PNG")
