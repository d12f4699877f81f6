import re
from itertools import pairwise

import av
import pysubs2
from hostile import narrow, orderly, seen, segment, solid, text, transcript, wild_times, worded
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whisper_lambda.transcript.formats import Layout, renderer
from whisper_lambda.types import Word

visible = text.filter(seen)
KARAOKE = re.compile(r"\{\\k(\d+)\}")


def read(file):
    return pysubs2.SSAFile.from_string(file, format_="ass").events


@given(orderly(speakers=visible, unit_ms=10))
def test_ass_of_any_text_reads_back_as_it_was(heard):
    expected = [
        (round(s.start * 1000), round(s.end * 1000), narrow(seen(s.text)), narrow(seen(s.speaker)))
        for s in heard.segments
        if seen(s.text)
    ]
    events = read(renderer("ass")(heard))
    assert [
        (e.start, e.end, narrow(seen(e.text)), narrow(seen(e.name)).replace("，", ",")) for e in events
    ] == [(*rest, name.replace("，", ",")) for *rest, name in expected]


@given(worded(visible), st.sampled_from([Layout(), Layout(max_line_width=8), Layout(max_words_per_line=2)]))
def test_syllables_fill_the_cue_and_the_only_braces_are_theirs(heard, layout):
    events = read(renderer("ass", layout)(heard))

    assert narrow(solid("".join(e.plaintext for e in events))) == narrow(solid(heard.text))
    for event in events:
        assert not re.search(r"[{}\\]", KARAOKE.sub("", event.text).replace("\\N", ""))
        assert 10 * sum(map(int, KARAOKE.findall(event.text))) == event.end - event.start


@given(st.lists(st.lists(st.tuples(wild_times, wild_times), min_size=1, max_size=3), max_size=4))
def test_whatever_the_times_cues_are_ordered_and_syllables_fit_in_them(times):
    heard = transcript(
        *(
            segment(line[0][0], line[-1][1], "x", tuple(Word(a, b, " x", 1) for a, b in line))
            for line in times
        )
    )
    events = read(renderer("ass")(heard))
    assert len(events) == len(times)
    assert all(before.end <= after.start for before, after in pairwise(events))
    for event in events:
        assert event.start < event.end
        assert 10 * sum(map(int, KARAOKE.findall(event.text))) <= event.end - event.start


@settings(max_examples=25)
@given(orderly(visible))
def test_a_player_takes_no_text_for_an_override(tmp_path_factory, heard):
    assume(heard.segments)
    path = tmp_path_factory.mktemp("ass") / "lyrics.ass"
    path.write_text(renderer("ass")(heard), encoding="utf-8")
    with av.open(path) as container:
        boxes = [box.ass.decode() for p in container.demux() if p.size for box in p.decode()]
    shown = [box.split(",", 8)[8] for box in boxes]
    assert [narrow(seen(s)) for s in shown] == [narrow(seen(s.text)) for s in heard.segments]
    assert not re.search(r"[{}\\]", "".join(shown))


def test_ass_golden_line_with_a_pause_before_a_word():
    words = (Word(0.5, 1.0, " Hola,", 1), Word(1.25, 2.5, " mundo.", 1))
    file = renderer("ass")(transcript(segment(0.5, 2.5, " Hola, mundo.", words, speaker="Ana, la {1}")))
    assert file.splitlines()[-1] == (
        "Dialogue: 0,0:00:00.50,0:00:02.50,Default,Ana， la ｛1｝,0,0,0,,{\\k50}Hola,{\\k25}{\\k125} mundo."
    )


def test_without_word_times_there_is_no_karaoke():
    file = renderer("ass", Layout(max_line_width=5))(transcript(segment(3599.996, 3601, " Hola mundo")))
    assert file.splitlines()[-1] == "Dialogue: 0,1:00:00.00,1:00:01.00,Default,,0,0,0,,Hola\\Nmundo"


def test_the_style_is_one_a_reader_knows():
    styles = pysubs2.SSAFile.from_string(renderer("ass")(transcript())).styles
    assert (styles["Default"].fontsize, styles["Default"].alignment) == (64, pysubs2.Alignment.BOTTOM_CENTER)
