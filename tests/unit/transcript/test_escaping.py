import pytest
from hostile import narrow, seen, text
from hypothesis import given

from whisper_lambda.transcript.escaping import for_ass, for_lrc, for_srt, for_vtt, one_line


@given(text)
def test_one_line_keeps_what_can_be_seen_on_one_encodable_line(said):
    line = one_line(said)

    assert len(line.splitlines()) <= 1
    assert line.encode("utf-8").decode("utf-8") == line
    assert seen(line) == seen(said)
    assert one_line(line) == line


@pytest.mark.parametrize(
    "said",
    ["a\u00a0?", "نمی\u200cخواهم", "א\u200fב", "👩\u200d🚀", "e\u0301", " leading and trailing "],
)
def test_characters_that_writing_needs_are_left_alone(said):
    assert one_line(said) == said


@pytest.mark.parametrize("said", ["[Music] 10:30, 1,000.5 [laughs]", "«¿Qué?» 'tú' \"yo\" a/b #1 50%"])
def test_ordinary_text_is_not_touched(said):
    assert for_srt(said) == for_ass(said) == for_vtt(said) == for_lrc(said) == said


@given(text)
def test_fullwidth_forms_go_back_to_the_text(said):
    assert narrow(for_srt(said)) == narrow(for_ass(said)) == narrow(for_lrc(said)) == narrow(said)


@pytest.mark.parametrize(
    ("said", "srt"),
    [
        ("a --> b", "a --＞ b"),
        ("<b>{\\an8}\\N", "＜b＞｛＼an8｝＼N"),
        ("00:00:01,000 1:2:3.4", "00：00:01,000 1：2:3.4"),
    ],
)
def test_what_srt_readers_would_take_for_theirs(said, srt):
    assert for_srt(said) == srt


@pytest.mark.parametrize(
    ("said", "lrc"), [("[00:12.34] x", "［00:12.34] x"), ("a [", "a ［"), ("<00:12.34>", "＜00:12.34＞")]
)
def test_what_lrc_readers_would_take_for_a_time(said, lrc):
    assert for_lrc(said) == lrc
