from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from whisper_lambda.errors import BadAudio, BadOption
from whisper_lambda.tools.evaluate import (
    Heard,
    given,
    listen,
    pooled_short,
    score_record,
    scored,
    utterance_record,
)
from whisper_lambda.tools.manifest import Entry, read_manifests
from whisper_lambda.types import Options, Segment, Transcript, Word

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")

SPEECH = Path(__file__).parents[4] / "shared" / "speech"
needs_speech = pytest.mark.skipif(not SPEECH.is_dir(), reason="no ../shared/speech beside the repository")


def said(text: str, *words: Word) -> Transcript:
    return Transcript((Segment(0.0, 1.0, text, -0.2, 0.01, 1.0, words=words),), "en", 2.0)


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    return Entry(path=tmp_path / "a.wav", audio="a.wav", set="s", language="en", text="hello there")


def test_listening_gives_text_time_and_language_hint(entry: Entry) -> None:
    asked: list[Options] = []

    def transcribe(path: Path, options: Options) -> Transcript:
        asked.append(options)
        return said(" Hello there.")

    (one,) = listen([entry], transcribe, Options(vad="off"))
    list(listen([entry], transcribe, Options(), language="detect"))

    assert (one.text, one.duration_s, one.error) == ("Hello there.", 2.0, "")
    assert one.seconds > 0
    assert [(o.language, o.vad) for o in asked] == [("en", "off"), (None, "auto")]


def test_a_failing_and_a_missing_file_are_counted_and_the_rest_goes_on(entry: Entry, tmp_path: Path) -> None:
    def transcribe(path: Path, options: Options) -> Transcript:
        if path.name == "bad.wav":
            raise BadAudio("no")
        return said(" Hello there.")

    (tmp_path / "bad.wav").write_bytes(b"?")
    entries = [
        Entry(path=tmp_path / "bad.wav", audio="bad.wav", set="s", language="en", text="four words of it"),
        Entry(path=tmp_path / "gone.wav", audio="gone.wav", set="s", language="en", text="two words"),
        entry,
    ]

    heard = list(listen(entries, transcribe, Options()))
    total = scored(heard)[-1]

    assert [one.error for one in heard] == ["bad_audio", "missing_file", ""]
    assert (total.failed, total.missing, total.files) == (1, 1, 3)
    assert total.rate is not None
    assert (total.rate.deletions, total.rate.words) == (6, 8)


def test_text_on_a_recording_without_speech_is_a_false_alarm_and_no_word_error(entry: Entry) -> None:
    silence = Entry(path=entry.path, audio="z.wav", set="nonspeech", text="", duration_s=30.0)
    heard = [
        Heard(entry=silence, text="Thanks for watching!", duration_s=30.0),
        Heard(entry=silence, text="♪♪", duration_s=30.0),
        Heard(entry=entry, text="hello there", duration_s=1.0),
    ]

    by_set = {score.group: score for score in scored(heard)}

    assert by_set["nonspeech"].rate is None
    assert (by_set["nonspeech"].nonspeech_files, by_set["nonspeech"].false_alarm_files) == (2, 1)
    assert by_set["nonspeech"].false_words_per_min == pytest.approx(3.0)
    assert by_set["ALL"].rate is not None
    assert by_set["ALL"].rate.wer == 0


def test_an_unknown_reference_is_listened_to_and_not_scored(entry: Entry) -> None:
    unknown = Entry(path=entry.path, audio="u.wav", set="s", language="zh", text=None)

    total = scored([Heard(entry=unknown, text="what"), Heard(entry=entry, text="hello there")])[-1]

    assert (total.files, total.no_reference) == (1, 1)


def test_loops_disorder_and_late_first_words_are_reported(entry: Entry, tmp_path: Path) -> None:
    utterances = tmp_path / "u.json"
    utterances.write_text('[{"start": 0.0, "end": 1.0, "text": "hello there"}]')
    timed = Entry(
        path=entry.path, audio="a.wav", set="s", language="en", text="hello there", utterances=utterances
    )
    late = said(" Hello there.", Word(0.7, 0.8, " Hello", 0.9), Word(0.6, 0.9, " there.", 0.9))

    (one,) = listen([timed], lambda _p, _o: late, Options())
    (looping,) = listen([entry], lambda _p, _o: said(" no" * 25), Options())
    total = scored([one, looping])[-1]

    assert (one.in_order, looping.loops) == (False, 1)
    assert (total.unordered_files, total.looping_files) == (1, 1)
    assert (total.utterances, total.first_words_near) == (1, 0.0)


def test_records_are_json_with_the_figures(entry: Entry) -> None:
    one = Heard(entry=entry, text="hello", seconds=0.5, duration_s=2.0)

    record = score_record(scored([one])[-1])

    assert json.loads(json.dumps(record)) == record
    assert (record["wer"], record["rtf"], record["words"]) == (0.5, 0.25, 2)
    assert utterance_record(one)["wer"] == 0.5


def test_hypotheses_without_text_or_sense_are_refused(entry: Entry, tmp_path: Path) -> None:
    path = tmp_path / "hyp.jsonl"
    path.write_text('{"text": "no audio"}\n')

    with pytest.raises(BadOption, match="holds no hypotheses"):
        list(given([entry], path))


def spoiled(text: str, chance: random.Random) -> str:
    words = text.split()
    for at in range(len(words)):
        dice = chance.random()
        if dice < 0.1:
            words[at] = ""
        elif dice < 0.2:
            words[at] = chance.choice(("uno", "dos", "Mr.", "twenty-one", "(x)", "color", "è", "один"))
        elif dice < 0.3:
            words[at] += " [music] y"
    return " ".join(words)


def write_spoiled(entries: tuple[Entry, ...], path: Path) -> None:
    chance = random.Random(7)
    names = Counter(entry.audio for entry in entries)
    with path.open("w", encoding="utf-8") as out:
        for entry in entries:
            if chance.random() < 0.05 and names[entry.audio] == 1:
                continue  # none for this one; the script would take one of a namesake in another set
            text = spoiled(entry.text or "thanks", chance)
            out.write(json.dumps({"audio": f"open/{entry.label}", "text": text}, ensure_ascii=False) + "\n")


@needs_speech
@pytest.mark.speech
@pytest.mark.parametrize("by", ["set", "language"])
@pytest.mark.parametrize("numbers", [False, True])
def test_our_scores_are_those_of_the_reference_script(tmp_path: Path, by: Any, numbers: bool) -> None:
    entries = read_manifests([SPEECH / "open"])
    hyp = tmp_path / "hyp.jsonl"
    write_spoiled(entries, hyp)
    manifests = sorted(str(p) for p in (SPEECH / "open").glob("*/manifest.jsonl"))
    script = [sys.executable, str(SPEECH / "wer.py"), str(hyp), *manifests, "--by", by, "--json"]
    theirs = json.loads(subprocess.check_output(script + ["--numbers"] * numbers, text=True))

    ours = {score.group: score_record(score) for score in scored(given(entries, hyp), by, numbers=numbers)}

    assert len(theirs) == len(ours) > 5
    same = {"dele": "deletions", "sub": "substitutions", "ins": "insertions"}
    for line in theirs:
        mine = ours[line.pop("group")]
        line.pop("minutes", None)  # theirs leaves out what has no hypothesis; ours is all the audio
        if "nonspeech_files" not in line and "missing" not in line:
            line.pop("files")  # their pooled line counts spoken files only
        assert {k: mine[same.get(k, k)] for k in line} == pytest.approx(line, abs=1e-9), line


@needs_speech
@pytest.mark.speech
def test_the_short_sets_are_all_but_four(tmp_path: Path) -> None:
    sets = {entry.set for entry in pooled_short(read_manifests([SPEECH / "open"]))}

    assert {"en-speech-over-music", "es-phone-asterisk", "multi-read"} <= sets
    assert not sets & {"longform", "song-lyrics", "nonspeech", "formats"}
