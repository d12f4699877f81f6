import pytest
from hostile import segment, solid, transcript, worded
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.errors import BadOption
from whisper_lambda.transcript.cues import Layout, cues
from whisper_lambda.types import Word

limit = st.one_of(st.none(), st.integers(1, 12))
layouts = st.builds(Layout, max_line_width=limit, max_line_count=limit, max_words_per_line=limit)
plain_words = st.text("abcdé字.", min_size=1, max_size=9).map(" ".__add__)


def said(words: str, start: float = 0.0, pause: float = 0.0) -> list[Word]:
    """One word a second."""
    return [Word(start + n, start + n + 1 - pause, f" {w}", 1.0) for n, w in enumerate(words.split())]


def spoken(words: list[Word], **more):
    return segment(words[0].start, words[-1].end, "".join(w.text for w in words), tuple(words), **more)


def shown(layout: Layout, *segments) -> list[list[str]]:
    return [list(cue.texts) for cue in cues(segments, layout)]


@given(worded(plain_words), layouts)
def test_limits_hold_and_no_word_is_lost_moved_or_doubled(heard, layout):
    made = list(cues(heard.segments, layout, by_word=True))

    assert [w for cue in made for line in cue.lines for w in line] == list(heard.words)
    for cue in made:
        assert len(cue.lines) <= (layout.max_line_count or len(cue.lines))
        for line, text in zip(cue.lines, cue.texts, strict=True):
            assert len(line) <= (layout.max_words_per_line or len(line))
            assert len(line) == 1 or len(text) <= (layout.max_line_width or len(text))


@given(worded(), layouts)
def test_hostile_words_keep_their_order_too(heard, layout):
    together = "".join(
        w.text for cue in cues(heard.segments, layout, by_word=True) for w in sum(cue.lines, ())
    )
    assert solid(together) == solid(heard.text)


def test_a_width_breaks_lines_inside_a_segments_own_cue():
    assert shown(Layout(max_line_width=9), spoken(said("one two three four")), spoken(said("five", 4))) == [
        ["one two", "three", "four"],
        ["five"],
    ]


def test_a_line_exactly_as_wide_as_the_limit_is_not_broken():
    assert shown(Layout(max_line_width=7), spoken(said("one two"))) == [["one two"]]
    assert shown(Layout(max_line_width=6), spoken(said("one two"))) == [["one", "two"]]


def test_a_word_wider_than_the_limit_stands_alone():
    assert shown(Layout(max_line_width=4), spoken(said("a caterpillar b"))) == [["a", "caterpillar", "b"]]


def test_width_and_count_together_let_cues_run_across_segments():
    layout = Layout(max_line_width=7, max_line_count=2)
    assert shown(layout, spoken(said("one two three")), spoken(said("four five", 3))) == [
        ["one two", "three"],
        ["four", "five"],
    ]
    assert shown(layout, spoken(said("one")), spoken(said("two", 1))) == [["one two"]]


def test_a_running_cue_stops_at_a_long_pause_and_at_another_speaker():
    layout = Layout(max_line_width=42, max_line_count=2)
    assert shown(layout, spoken(said("one")), spoken(said("two", 3.01))) == [["one"], ["two"]]
    assert shown(layout, spoken(said("one")), spoken(said("two", 3.0))) == [["one two"]]
    assert shown(layout, spoken(said("one"), speaker="A"), spoken(said("two", 1), speaker="B")) == [
        ["one"],
        ["two"],
    ]


def test_a_line_full_of_words_closes_the_cue_unless_more_lines_are_allowed():
    words = spoken(said("one two three four five"))
    assert shown(Layout(max_words_per_line=2), words) == [["one two"], ["three four"], ["five"]]
    assert shown(Layout(max_words_per_line=2, max_line_count=2), words) == [
        ["one two", "three four"],
        ["five"],
    ]


def test_a_cue_lasts_from_its_first_word_to_its_last():
    made = list(cues([spoken(said("one two three four", 7, pause=0.5))], Layout(max_words_per_line=2)))
    assert [(cue.start, cue.end) for cue in made] == [(7, 8.5), (9, 10.5)]


def test_a_segment_without_word_times_is_laid_out_by_its_length():
    made = list(cues([segment(10.0, 18.0, " one two")], Layout(max_words_per_line=1)))
    assert [(cue.texts, cue.start, cue.end) for cue in made] == [(("one",), 10, 14), (("two",), 14, 18)]


def test_without_a_layout_a_cue_is_a_segment_and_words_are_not_looked_at():
    (cue,) = cues([segment(1.0, 3.0, " as written ", tuple(said("not this")))], Layout())
    assert (cue.start, cue.end, cue.texts) == (1.0, 3.0, ("as written",))


def test_a_segment_with_nothing_to_see_gives_no_cue():
    heard = transcript(segment(0, 1, "  "), segment(1, 2, "\x00\u202e\n"), segment(2, 3, "a"))
    assert [cue.texts for cue in cues(heard.segments, Layout())] == [("a",)]


def test_cues_are_made_as_segments_come():
    def live():
        yield segment(0, 1, "first")
        pytest.fail("the second segment was asked for before the first cue was given")

    assert next(cues(live(), Layout())).texts == ("first",)


@pytest.mark.parametrize("name", ["max_line_width", "max_line_count", "max_words_per_line"])
def test_a_limit_below_one_is_refused_by_name(name):
    with pytest.raises(BadOption, match=name):
        Layout(**{name: 0})
