import html
import re
from itertools import pairwise

import av
import pysubs2
import pytest
import srt
import webvtt
from hostile import narrow, orderly, seen, segment, solid, text, transcript, wild_times, worded
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whisper_lambda.transcript.formats import Layout, renderer
from whisper_lambda.types import Word

visible = text.filter(seen)
layouts = st.builds(
    Layout,
    max_line_width=st.integers(1, 30),
    max_line_count=st.one_of(st.none(), st.integers(1, 3)),
    highlight_words=st.booleans(),
)


def read_by_srt(file):
    return [(c.start.total_seconds(), c.end.total_seconds(), c.content) for c in srt.parse(file)]


def read_by_pysubs2(file):
    events = pysubs2.SSAFile.from_string(file, format_="srt").events
    return [(e.start / 1000, e.end / 1000, e.plaintext) for e in events]


def read_by_webvtt(file):
    captions = webvtt.from_string(file).captions
    return [(_seconds(c.start), _seconds(c.end), c.raw_text) for c in captions]


def _seconds(clock):
    hours, minutes, seconds = clock.split(":")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)


def read_by_ffmpeg(file, tmp_path, suffix):
    """What a player shows: FFmpeg's own reading, as the ASS text it hands to the renderer."""
    path = tmp_path / f"subtitles{suffix}"
    path.write_text(file, encoding="utf-8")
    with av.open(path) as container:
        return [
            box.ass.decode().split(",", 8)[8]
            for packet in container.demux()
            if packet.size
            for box in packet.decode()
        ]


@pytest.mark.parametrize("read", [read_by_srt, read_by_pysubs2])
@given(orderly())
def test_srt_of_any_text_reads_back_as_it_was(read, heard):
    expected = [(s.start, s.end, narrow(seen(s.text))) for s in heard.segments if seen(s.text)]
    assert [(a, b, narrow(seen(c))) for a, b, c in read(renderer("srt")(heard))] == expected


@given(orderly())
def test_vtt_of_any_text_reads_back_as_it_was(heard):
    expected = [(s.start, s.end, seen(s.text)) for s in heard.segments if seen(s.text)]
    read = read_by_webvtt(renderer("vtt")(heard))
    assert [(a, b, seen(html.unescape(c))) for a, b, c in read] == expected
    assert not re.search(r"[<>]", "".join(c for _, _, c in read))


@given(orderly(visible, speakers=visible))
def test_a_hostile_speaker_stays_inside_the_voice_tag(heard):
    captions = webvtt.from_string(renderer("vtt")(heard)).captions
    spoken = [re.fullmatch("<v ([^<>]*)>([^<>]*)", c.raw_text).groups() for c in captions]
    assert [tuple(seen(html.unescape(part)) for part in pair) for pair in spoken] == [
        (seen(s.speaker), seen(s.text)) for s in heard.segments
    ]


@given(orderly(visible, speakers=visible))
def test_srt_writes_the_speaker_before_the_text(heard):
    read = [narrow(seen(content)) for _, _, content in read_by_srt(renderer("srt")(heard))]
    assert read == [narrow(f"{seen(s.speaker)}: {seen(s.text)}") for s in heard.segments]


@given(worded(), layouts)
def test_no_layout_lets_text_split_or_forge_a_cue(heard, layout):
    for name, read in (("srt", read_by_srt), ("srt", read_by_pysubs2), ("vtt", read_by_webvtt)):
        file = renderer(name, layout)(heard)
        found = [re.sub("</?u>", "", content) for _, _, content in read(file)]

        assert len(found) == len(re.findall(r"^(?:\d\d:){2}\d\d[.,]\d{3} --> ", file, re.MULTILINE))
        assert name == "srt" or not any(re.search("[<>]", content) for content in found)
        if name == "vtt":
            found = [html.unescape(content) for content in found]
        # pysubs2 takes digits at the file's very end for the number of a cue to come, and drops them
        if not layout.highlight_words and read is not read_by_pysubs2:
            assert narrow(solid("".join(found))) == narrow(solid(heard.text))


@given(st.lists(st.tuples(wild_times, wild_times), max_size=8))
def test_whatever_the_times_readers_see_ordered_cues_that_last(times):
    heard = transcript(*(segment(start, end, "a") for start, end in times))
    for name, read in (("srt", read_by_srt), ("vtt", read_by_webvtt)):
        found = read(renderer(name)(heard))
        assert len(found) == len(times)
        assert all(start < end for start, end, _ in found)
        assert all(end <= after for (_, end, _), (after, _, _) in pairwise(found))


def test_a_name_that_ends_in_dashes_makes_no_arrow_with_its_tag():
    file = renderer("vtt")(transcript(segment(0, 1, "a", speaker="Ana --")))
    (caption,) = webvtt.from_string(file).captions
    assert (caption.voice.strip(), caption.text) == ("Ana --", "a")


def test_ten_thousand_characters_are_one_cue():
    long = "word " * 2000
    heard = transcript(segment(0, 30, long))
    assert read_by_srt(renderer("srt")(heard)) == [(0, 30, long.strip())]
    assert read_by_webvtt(renderer("vtt")(heard)) == [(0, 30, long.strip())]


@settings(max_examples=25)
@given(orderly(visible))
def test_a_player_shows_no_markup_that_was_not_ours(tmp_path_factory, heard):
    assume(heard.segments)  # an empty file is not recognised by its content
    shown = read_by_ffmpeg(renderer("srt")(heard), tmp_path_factory.mktemp("srt"), ".srt")
    assert [narrow(seen(s)) for s in shown] == [narrow(seen(s.text)) for s in heard.segments]


SONG = transcript(
    segment(0.0, 2.5, " Hola, mundo.", (Word(0.0, 0.5, " Hola,", 1), Word(1.0, 2.5, " mundo.", 1))),
    segment(3599.9996, 3661.25, " <i>Adiós</i> & fin", speaker="Ana"),
)


def test_srt_golden():
    assert renderer("srt")(SONG) == (
        "1\n00:00:00,000 --> 00:00:02,500\nHola, mundo.\n\n"
        "2\n01:00:00,000 --> 01:01:01,250\nAna: ＜i＞Adiós＜/i＞ & fin\n"
    )


def test_vtt_golden():
    assert renderer("vtt")(SONG) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nHola, mundo.\n\n"
        "01:00:00.000 --> 01:01:01.250\n<v Ana>&lt;i&gt;Adiós&lt;/i&gt; &amp; fin\n"
    )


def test_each_word_is_underlined_while_it_is_said_and_none_in_a_pause():
    file = renderer("vtt", Layout(highlight_words=True))(transcript(SONG.segments[0]))
    assert read_by_webvtt(file) == [
        (0.0, 0.5, "<u>Hola,</u> mundo."),
        (0.5, 1.0, "Hola, mundo."),
        (1.0, 2.5, "Hola, <u>mundo.</u>"),
    ]


def test_underlining_lays_no_trap_for_text_that_looks_like_it():
    words = (Word(0, 1, " <u>", 1), Word(1, 2, " --> u", 1))
    heard = transcript(segment(0, 2, " <u> --> u", words))
    assert [c for _, _, c in read_by_srt(renderer("srt", Layout(highlight_words=True))(heard))] == [
        "<u>＜u＞</u> --＞ u",
        "＜u＞ <u>--＞ u</u>",
    ]


def test_nobody_spoke():
    assert renderer("srt")(transcript()) == ""
    assert webvtt.from_string(renderer("vtt")(transcript())).captions == []
