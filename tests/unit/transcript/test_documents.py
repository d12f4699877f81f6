import csv
import io
import json
import math
from dataclasses import replace

import pytest
from hostile import nobody, orderly, seen, segment, text, transcript, wild_times
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.transcript.formats import renderer
from whisper_lambda.types import Dropped, ModelChoice, Timings, Transcript, Word

SEGMENT_FIELDS = [
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
]


def rows(file, quoting):
    return list(csv.reader(io.StringIO(file, newline=""), delimiter="\t", quoting=quoting))


@pytest.mark.parametrize("quoting", [csv.QUOTE_NONE, csv.QUOTE_MINIMAL])
@given(orderly())
def test_tsv_of_any_text_reads_back_with_and_without_quotes_known(quoting, heard):
    expected = [
        [str(round(s.start * 1000)), str(round(s.end * 1000)), seen(s.text)]
        for s in heard.segments
        if seen(s.text)
    ]
    head, *found = rows(renderer("tsv")(heard), quoting)
    assert head == ["start", "end", "text"]
    assert [[a, b, seen(c)] for a, b, c in found] == [
        [a, b, "“" + c[1:] if c.startswith('"') else c] for a, b, c in expected
    ]


@given(orderly(speakers=st.one_of(nobody, text.filter(seen))))
def test_text_is_a_line_for_each_segment_with_its_speaker(heard):
    file = renderer("text")(heard)
    expected = [
        seen((f"{seen(s.speaker)}: " if s.speaker else "") + s.text) for s in heard.segments if seen(s.text)
    ]
    assert [seen(line) for line in file.split("\n")[:-1]] == expected
    assert not file or file.endswith("\n")


@given(orderly(speakers=st.one_of(nobody, text)))
def test_json_carries_the_text_itself_whatever_it_holds(heard):
    def written(said):
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in said)

    short = json.loads(renderer("json")(heard).encode("utf-8"))
    long = json.loads(renderer("verbose_json")(heard).encode("utf-8"))

    assert short["text"] == long["text"] == written(heard.text)
    assert [s["text"] for s in long["segments"]] == [written(s.text) for s in heard.segments]
    assert [(s["start"], s["end"]) for s in long["segments"]] == [(s.start, s.end) for s in heard.segments]


@given(wild_times, wild_times)
def test_no_number_makes_json_that_others_cannot_read(start, score):
    heard = transcript(
        replace(segment(start, start, "x", (Word(start, start, "x", score),)), avg_logprob=score)
    )

    def refused(name):
        pytest.fail(f"{name} is no JSON")

    wire = json.loads(renderer("verbose_json")(heard), parse_constant=refused)
    assert math.isfinite(wire["segments"][0]["start"])


def full() -> Transcript:
    words = (Word(0.5, 1.0, " Hola,", 0.75), Word(1.0, 2.123456, " mundo.", 0.5))
    said = segment(0.5, 2.123456, " Hola, mundo.", words, tokens=(1, 2))
    return Transcript(
        (said, segment(3.0, 4.0, " Bye.", speaker="Ana", language="en")),
        "es",
        4.5,
        language_probability=0.9,
        model=ModelChoice("small", "base", "small is on no source"),
        dropped=(Dropped(2.2, 2.9, "repetition", "secret secret secret"),),
        warnings=("the file ends early",),
        timings=Timings(total_s=0.25),
    )


OURS = {
    "x_model": {"requested": "small", "served": "base", "reason": "small is on no source"},
    "x_dropped": [{"start": 2.2, "end": 2.9, "reason": "repetition"}],
    "x_warnings": ["the file ends early"],
}


def test_json_is_the_text_and_what_differs_from_what_was_asked():
    assert json.loads(renderer("json")(full())) == {"text": "Hola, mundo. Bye."} | OURS


def test_verbose_json_has_the_apis_fields_and_ours_behind_x():
    wire = json.loads(renderer("verbose_json")(full()))

    first, second = wire.pop("segments")
    assert first == {
        "id": 0,
        "seek": 50,
        "start": 0.5,
        "end": 2.123,
        "text": " Hola, mundo.",
        "tokens": [1, 2],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
    }
    assert second["id"] == 1
    assert (second["x_speaker"], second["x_language_code"]) == ("Ana", "en")
    assert wire.pop("x_timings")["total_s"] == 0.25
    assert wire == OURS | {
        "task": "transcribe",
        "language": "spanish",
        "duration": 4.5,
        "text": "Hola, mundo. Bye.",
        "words": [
            {"word": "Hola,", "start": 0.5, "end": 1.0, "x_probability": 0.75},
            {"word": "mundo.", "start": 1.0, "end": 2.123, "x_probability": 0.5},
        ],
        "x_language_code": "es",
        "x_language_probability": 0.9,
    }


def test_without_word_times_there_is_no_words_field():
    assert "words" not in json.loads(renderer("verbose_json")(transcript(segment(0, 1, " a"))))


@pytest.mark.parametrize(
    "name", ["text", "json", "verbose_json", "srt", "vtt", "tsv", "lrc", "lrc_words", "ass"]
)
def test_words_the_guard_refused_are_in_no_format(name):
    assert "secret" not in renderer(name)(full())
