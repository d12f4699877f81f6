import pytest
from hostile import segment, transcript

from whisper_lambda.errors import UnknownFormat
from whisper_lambda.transcript.formats import ALIASES, FORMATS, Layout, needs, renderer

LAID_OUT = {"srt", "vtt", "lrc", "lrc_words", "ass"}


def test_the_table_in_its_order():
    assert list(FORMATS) == ["text", "json", "verbose_json", "srt", "vtt", "tsv", "lrc", "lrc_words", "ass"]
    assert renderer("txt") == renderer("text")


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("text", "none"),
        ("txt", "none"),
        ("json", "none"),
        ("verbose_json", "segment"),
        ("srt", "segment"),
        ("vtt", "segment"),
        ("tsv", "segment"),
        ("lrc", "segment"),
        ("lrc_words", "word"),
        ("ass", "word"),
    ],
)
def test_a_format_asks_for_no_more_times_than_it_writes(name, times):
    assert needs(name) == needs(name, Layout()) == times


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "layout",
    [
        Layout(max_line_width=9),
        Layout(max_line_count=1),
        Layout(max_words_per_line=1),
        Layout(highlight_words=True),
    ],
)
def test_a_layout_asks_for_word_times_only_where_it_changes_something(name, layout):
    assert needs(name, layout) == ("word" if name in LAID_OUT else FORMATS[name].times)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - LAID_OUT))
def test_formats_without_a_layout_ignore_one(name):
    heard = transcript(segment(0, 4, " one two three"))
    assert renderer(name, Layout(max_words_per_line=1))(heard) == renderer(name)(heard)


def test_files_of_all_formats_fit_in_one_folder():
    suffixes = [renderer(name).suffix for name in FORMATS]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") for suffix in suffixes)
    assert renderer("vtt").media_type == "text/vtt; charset=utf-8"
    assert renderer("json").media_type == "application/json"


@pytest.mark.parametrize("ask", [renderer, needs])
def test_an_unknown_format_is_refused_and_the_known_ones_named(ask):
    with pytest.raises(UnknownFormat, match="did you mean srt") as refused:
        ask("strt")
    assert all(name in str(refused.value) for name in (*FORMATS, *ALIASES))


def test_a_refusal_does_not_repeat_a_page_of_input():
    with pytest.raises(UnknownFormat) as refused:
        renderer("x" * 100_000)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_empty_or_ends_its_last_line(name):
    assert renderer(name)(transcript())[-1:] in ("", "\n")
    assert renderer(name)(transcript(segment(0, 1, "a")))[-1:] == "\n"
