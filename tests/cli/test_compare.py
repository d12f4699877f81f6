"""`whisper-lambda compare`, on an answer and on files that are no answers."""

import json
from pathlib import Path

import pytest

from cli.conftest import Cli

CLIP = Path(__file__).parents[1] / "fixtures" / "es-queue-youarenext.flac"


WORDS = '{"text": "a", "words": [{"word": 1, "start": 0}]}'
STARTS = '{"text": "a", "segments": [{"text": "a", "start": "0"}]}'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "no text"),
        ("{}", "no text"),
        (WORDS, "its words"),
        (STARTS, "its segments"),
    ],
)
def test_what_is_no_answer_is_refused(cli: Cli, tmp_path: Path, content: str | None, says: str) -> None:
    saved = tmp_path / "saved.json"
    if content is not None:
        saved.write_text(content, encoding="utf-8")

    run = cli("compare", str(saved), str(CLIP))

    assert run.returncode == 1
    assert says in run.stderr.decode()
    assert run.stdout == b""


def test_an_answer_is_compared_with_ours(cli: Cli, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    words = [{"word": "Hola", "start": 0.0, "end": 1.0}]
    answer = {
        "text": "Hola a todas.",
        "task": "transcribe",
        "language": "spanish",
        "duration": 5.0,
        "words": words,
    }
    saved.write_text(json.dumps(answer), encoding="utf-8")

    told = cli("compare", str(saved), str(CLIP))
    data = json.loads(cli("compare", "--json", str(saved), str(CLIP)).stdout)

    assert told.returncode == 0, told.stderr
    assert "1 of 3 differ" in told.stdout.decode()
    assert "todas  ->  todos" in told.stdout.decode()
    assert (data["words"], data["edits"], data["missing"]) == (3, 1, [])
