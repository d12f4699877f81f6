import re
from itertools import pairwise

from hostile import narrow, nobody, orderly, seen, segment, solid, text, transcript, wild_times, worded
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.transcript.formats import Layout, renderer
from whisper_lambda.types import Word

LINE = re.compile(r"\[(\d{2,}):([0-5]\d)\.(\d\d)\](.*)")
WORD = re.compile(r"<(\d{2,}):([0-5]\d)\.(\d\d)>")
speakers = st.one_of(nobody, text.filter(seen))


def centiseconds(minutes, seconds, rest):
    return int(minutes) * 6000 + int(seconds) * 100 + int(rest)


def read(file):
    """Timed lines, the way a player reads them: time tags wherever they stand are times."""
    head, lines = [], []
    for line in file.split("\n")[:-1]:
        timed = LINE.fullmatch(line)
        (lines if timed else head).append((centiseconds(*timed.groups()[:3]), timed[4]) if timed else line)
    assert [tag.split(":")[0] for tag in head] == ["[by", "[tool", "[length"]
    assert not any(re.search(r"\[\s*\d", content) for _, content in lines)
    return lines


@given(orderly(speakers=speakers, unit_ms=10))
def test_lrc_of_any_text_reads_back_as_it_was(heard):
    names = [f"{seen(s.speaker)}: " if s.speaker else "" for s in heard.segments]
    expected = [
        (round(s.start * 100), narrow(name + seen(s.text)))
        for s, name in zip(heard.segments, names, strict=True)
        if seen(s.text)
    ]
    file = renderer("lrc")(heard)
    assert [(begin, narrow(seen(content))) for begin, content in read(file)] == expected
    assert not WORD.search(file)


@given(worded(text.filter(seen)))
def test_every_word_carries_its_time_and_the_line_its_end(heard):
    lines = read(renderer("lrc_words")(heard))
    assert len(lines) == len(heard.segments)
    for (begin, content), spoken in zip(lines, (s.words for s in heard.segments), strict=True):
        times = [centiseconds(*found.groups()) for found in WORD.finditer(content)]
        parts = WORD.split(content)[4::4]
        assert begin == times[0]
        assert times == [*(round(w.start * 100) for w in spoken), round(spoken[-1].end * 100)]
        assert [narrow(solid(p)) for p in parts] == [*(narrow(solid(w.text)) for w in spoken), ""]


@given(st.lists(st.lists(st.tuples(wild_times, wild_times), min_size=1, max_size=3), max_size=4))
def test_whatever_the_times_lines_rise_and_words_stay_in_their_line(times):
    heard = transcript(
        *(
            segment(line[0][0], line[-1][1], "x", tuple(Word(a, b, " x", 1) for a, b in line))
            for line in times
        )
    )
    lines = read(renderer("lrc_words")(heard))
    assert len(lines) == len(times)
    assert all(before < after for (before, _), (after, _) in pairwise(lines))
    for begin, content in lines:
        inside = [centiseconds(*found.groups()) for found in WORD.finditer(content)]
        assert inside == sorted(inside)
        assert begin <= inside[0]


SONG = transcript(
    segment(0.5, 2.5, " Hola, mundo.", (Word(0.5, 1.0, " Hola,", 1), Word(1.25, 2.5, " mundo.", 1))),
    segment(3661.996, 3663.0, " [00:01] adiós", (Word(3661.996, 3663.0, " [00:01] adiós", 1),)),
)
HEAD = "[by:whisper-lambda]\n[tool:whisper-lambda]\n[length:61:03]\n"


def test_lrc_golden_with_minutes_past_the_hour():
    assert renderer("lrc")(SONG) == HEAD + "[00:00.50]Hola, mundo.\n[61:02.00]［00:01] adiós\n"


def test_lrc_words_golden():
    assert renderer("lrc_words")(SONG) == HEAD + (
        "[00:00.50]<00:00.50>Hola, <00:01.25>mundo.<00:02.50>\n[61:02.00]<61:02.00>［00:01] adiós<61:03.00>\n"
    )


def test_each_line_of_a_layout_gets_its_own_time():
    file = renderer("lrc", Layout(max_line_width=6))(transcript(SONG.segments[0]))
    assert read(file) == [(50, "Hola,"), (125, "mundo.")]
