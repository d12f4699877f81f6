from __future__ import annotations

import sys
from pathlib import Path

import pytest

from whisper_lambda.errors import EngineFailed
from whisper_lambda.tools.contest import Contender, Side, in_turn
from whisper_lambda.tools.manifest import Entry

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")

# A side that says what it was asked, in order; "die" makes it end.
ECHO = """
import json, os, sys
from whisper_lambda.tools.sides.turns import take_turns
def answer(job):
    print("noise a library writes")
    if job["audio"].endswith("die"): os._exit(3)
    name = os.path.basename(job["audio"])
    return {"language": "en", "duration": 2.0, "segments": [[0.0, 1.0, f" {name} {sys.argv[1]}"]]}
take_turns(answer)
"""


def echo(name: str) -> Side:
    return Side([sys.executable, "-c", ECHO, name])


def entry(audio: str, text: str | None) -> Entry:
    return Entry(
        path=Path("/nowhere") / audio, audio=audio, set="s", language="en", text=text, duration_s=2.0
    )


def test_every_contender_answers_and_who_begins_moves_on() -> None:
    with echo("one") as one, echo("two") as two:
        pair = [Contender("one", one, lambda _: {}), Contender("two", two, lambda _: {})]
        rows = in_turn(pair, [entry("a", "a one"), entry("b", "b"), entry("c", "")], rounds=2)

    order = [(r["round"], r["audio"], r["side"]) for r in rows]
    assert order[:4] == [(0, "a", "one"), (0, "a", "two"), (0, "b", "two"), (0, "b", "one")]
    assert order[6:8] == [(1, "a", "two"), (1, "a", "one")]
    assert all(r["seconds"] > 0 and r["error"] == "" for r in rows)
    by_name = {(r["audio"], r["side"]): r for r in rows}
    assert (by_name["a", "one"]["words"], by_name["a", "one"]["wrong"]) == (2, 0)
    assert by_name["a", "two"]["wrong"] == 1
    assert by_name["c", "one"]["false_words"] == 2


def test_a_side_that_dies_is_told_and_not_waited_for() -> None:
    with echo("one") as side, pytest.raises(EngineFailed, match="ended without an answer"):
        side.ask({"audio": "die"})
