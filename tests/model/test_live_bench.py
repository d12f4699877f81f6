"""`bench live` on real weights: what was measured is kept, wherever it is to be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whisper_lambda.errors import ModelUnavailable
from whisper_lambda.tools import live_bench
from whisper_lambda.tools.manifest import read_manifest

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")
pytestmark = pytest.mark.model

PROMPTS = Path(__file__).parents[1] / "fixtures" / "prompts.jsonl"


def test_parts_are_kept_as_they_are_measured_in_a_folder_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "folder" / "that is not there" / "page.md"
    plan = live_bench.Plan(seconds=3.0, counts=(), parts=("one", "idle"))

    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live_bench, "idle_cpu", broken_off)
    try:
        with pytest.raises(KeyboardInterrupt):
            live_bench.run(read_manifest(PROMPTS)[:1], page, plan, command="a test", say=print)
    except ModelUnavailable as why:
        pytest.skip(str(why))

    kept = json.loads(page.with_suffix(".json").read_text())
    assert kept["one"]["words"] > 0
    assert list(kept["runs"]) == ["one"]
