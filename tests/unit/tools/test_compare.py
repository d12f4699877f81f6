"""What `whisper-lambda compare` finds between two answers."""

from __future__ import annotations

from whisper_lambda.tools.compare import Passage, compare

SAVED = {
    "task": "transcribe",
    "language": "spanish",
    "duration": 4.0,
    "text": "Buenos días, a todos. Empezamos.",
    "segments": [
        {"id": 0, "start": 0.0, "end": 2.0, "text": " Buenos días, a todos.", "tokens": [1], "seek": 0},
        {"id": 1, "start": 2.5, "end": 4.0, "text": " Empezamos.", "tokens": [2], "seek": 0},
    ],
}


def test_an_answer_equals_itself() -> None:
    found = compare(SAVED, SAVED)

    assert (found.missing, found.added, found.retyped, found.edits) == ((), (), (), 0)
    assert found.words == 5
    assert found.shifts == (0.0, 0.0)


def test_case_and_punctuation_are_no_difference() -> None:
    assert compare(SAVED, SAVED | {"text": "buenos días a todos... ¡Empezamos!"}).edits == 0


def test_other_words_are_shown_with_their_passage() -> None:
    found = compare(SAVED, SAVED | {"text": "Buenas días a todos. Empezamos ya."})

    assert found.edits == 2
    assert found.passages == (Passage("buenos", "buenas"), Passage("", "ya"))
    assert found.word_difference == 0.4


def test_times_are_compared_where_both_say_the_same() -> None:
    later = [{**s, "start": s["start"] + 0.25} for s in SAVED["segments"]]

    found = compare(SAVED, SAVED | {"segments": later})

    assert found.shifts == (0.25, 0.25)
    assert found.median_shift_s == 0.25


def test_fields_are_compared_at_every_level() -> None:
    ours = {**SAVED, "x_receipt": {}, "duration": "4.0"}
    del ours["task"]
    ours["segments"] = [{"start": 0.0, "end": 2.0, "text": " Buenos días, a todos.", "tokens": "1", "id": 0}]

    found = compare(SAVED, ours)

    assert set(found.missing) == {"task", "segments[].seek"}
    assert found.added == ("x_receipt",)
    assert set(found.retyped) == {"duration", "segments[].tokens"}


def test_an_empty_text_is_wholly_different_from_words() -> None:
    assert compare({"text": ""}, {"text": ""}).word_difference == 0.0
    assert compare({"text": ""}, {"text": "a"}).word_difference == 1.0
    assert compare(SAVED, {"text": ""}).word_difference == 1.0
