"""`evaluate` and `bench` through the command line, on transcripts made earlier: no model is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from whisper_lambda.cli.bench import bench
from whisper_lambda.cli.evaluate import evaluate

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")

app = typer.Typer()
app.command()(evaluate)
app.command()(bench)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    lines = [
        {"audio": "a.wav", "set": "s", "language": "es", "text": "pulse dos (ahora)", "duration_s": 2.0},
        {"audio": "b.wav", "set": "quiet", "language": None, "text": "", "duration_s": 60.0},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_transcripts_made_earlier_are_scored_and_written(manifest: Path, tmp_path: Path) -> None:
    hyp, new = tmp_path / "hyp.jsonl", tmp_path / "folder" / "that is not there"
    scores, each = new / "scores.json", new / "each.jsonl"
    hyp.write_text('{"audio": "x/s/a.wav", "text": "Pulse 2."}\n{"audio": "quiet/b.wav", "text": "Bye."}\n')
    command = ["evaluate", str(manifest), "--score-hyp", str(hyp), "--numbers"]

    result = CliRunner().invoke(app, [*command, "--json", str(scores), "--per-utt", str(each)])

    assert result.exit_code == 0, result.output
    report = json.loads(scores.read_text())
    assert report["numbers_folded"] is True
    assert "EnglishTextNormalizer" in report["normaliser"]
    by_group = {line["group"]: line for line in report["scores"]}
    assert by_group["s"]["wer"] == pytest.approx(1 / 3, abs=1e-4)
    assert by_group["quiet"]["false_words_per_min"] == 1.0
    assert [json.loads(line)["audio"] for line in each.read_text().splitlines()] == ["s/a.wav", "quiet/b.wav"]
    assert "33.33" in result.output
    assert "1/1" in result.output


@pytest.mark.parametrize("command", ["evaluate", "bench"])
def test_a_manifest_that_is_not_there_is_a_wrong_argument(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command, str(tmp_path / "none.jsonl")])

    assert result.exit_code == 2
    assert "none.jsonl: No such file or directory" in result.output


def test_a_set_nobody_has_is_a_wrong_argument(manifest: Path) -> None:
    result = CliRunner().invoke(app, ["bench", str(manifest), "--sets", "opera"])

    assert result.exit_code == 2
    assert "no recording is in the sets 'opera'" in result.output
