from __future__ import annotations

from typing import Any

import pytest

from whisper_lambda.tools.figures import (
    KNOWN_SPEECH,
    as_expected,
    auto_above_better,
    by_set,
    figures,
    import_s,
    lateness,
    pair_ratio,
    total,
)

pytest.importorskip("whisper_normalizer", reason="scoring needs the extra `bench`")

OURS, FASTER = "whisper-lambda", "faster-whisper"


def row(side: str, seconds: float, wrong: int = 0, **more: Any) -> dict[str, Any]:
    known = {
        "round": 0,
        "set": "s",
        "audio": "a",
        "kind": None,
        "cpu_s": seconds,
        "audio_s": 10.0,
        "error": "",
    }
    judged = {"loops": 0, "in_order": True, "words": 100, "wrong": wrong}
    return known | judged | {"side": side, "seconds": seconds} | more


def measured(results: dict[str, Any], what: str) -> tuple[str, bool, bool]:
    (figure,) = (f for f in figures(results) if f.what.startswith(what))
    return figure.measured, figure.bar_met, figure.aim_met


def test_a_total_takes_the_median_of_rounds_and_the_words_of_the_first() -> None:
    rows = [row(OURS, seconds, wrong=n, round=n) for n, seconds in enumerate((1.0, 9.0, 2.0))]

    found = total(rows, OURS)

    assert (found.seconds, found.audio_s, found.words, found.wrong) == (2.0, 10.0, 100, 0)
    assert found.rtf == pytest.approx(0.2)


def test_the_ratio_of_pairs_is_a_median_and_ignores_the_lonely() -> None:
    rows = [row(OURS, 1.0), row(FASTER, 3.0), row(OURS, 1.0, audio="b"), row(FASTER, 9.0, audio="b")]
    rows += [row(OURS, 1.0, audio="c"), row(FASTER, 4.0, audio="c"), row(FASTER, 99.0, audio="d")]

    assert pair_ratio(rows, FASTER, OURS) == 4.0


def test_short_clips_are_judged_by_time_and_words_pooled_and_by_set() -> None:
    rows = [row(OURS, 1.0, wrong=8), row(FASTER, 4.0, wrong=10)]
    rows += [row(OURS, 1.0, wrong=6, set="t"), row(FASTER, 4.0, wrong=5, set="t")]
    results = {"short": {"rows": rows}}

    assert measured(results, "short clips: speed") == ("4.00x", True, False)
    assert measured(results, "short clips: WER above its own, pooled") == ("-0.50 points", True, True)
    assert measured(results, "short clips: WER above its own, worst") == ("+1.00 points (t)", True, False)
    assert by_set(rows, OURS)["t"].wer == pytest.approx(6.0)


def test_long_recordings_meet_the_better_of_what_the_others_offer() -> None:
    rows = [row(OURS, 1.0, wrong=8), row(FASTER, 9.0, wrong=9), row(f"{FASTER} vad_filter", 6.0, wrong=7)]
    rows.append(row(f"{FASTER} batched", 3.0, wrong=12))
    rows[0]["late_s"] = [[0.0, 9.0, True]]  # whoever was not asked for words is not judged by them
    rows.append(row("whisper-lambda word times", 1.0, late_s=[[0.0, 0.1, True], [5.0, 0.5, True]]))
    results = {"long": {"rows": rows}}

    assert measured(results, f"long recordings: speed against {FASTER} in order") == ("6.00x", True, False)
    assert measured(results, f"long recordings: speed against {FASTER} batched") == ("3.00x", True, False)
    assert measured(results, "long recordings: WER") == ("1.00 points", False, False)
    assert measured(results, "first words") == ("50.00 %", False, False)
    assert lateness(rows, {"a": {"0.0": 0.0, "5.0": 0.45}}) == pytest.approx([0.1, 0.05])


def test_text_on_silence_and_on_other_sounds_are_judged_apart() -> None:
    quiet = row(OURS, 0.1, kind="digital silence", words=0, false_words=0)
    noisy = [row(OURS, 0.1, kind="noise", audio=str(n), words=0, false_words=n) for n in range(3)]
    results = {"nonspeech": {"rows": [quiet, *noisy]}}

    assert measured(results, "digital silence") == ("0", True, True)
    assert measured(results, "other non-speech") == ("2", False, False)


def test_music_is_judged_by_words_loops_and_time() -> None:
    rows = [row("whisper-lambda vad=auto", 1.0, wrong=50, loops=1), row(FASTER, 4.0, wrong=54)]
    results = {"music": {"rows": rows}}

    assert measured(results, "music: WER") == ("-4.00 points", True, False)
    assert measured(results, "music: recordings with a loop") == ("1", False, False)
    assert measured(results, "music: time") == ("0.25x", True, False)


def test_auto_is_compared_with_the_better_of_on_and_off() -> None:
    rows = [row(f"{OURS} vad={vad}", 1.0, wrong=n) for vad, n in (("auto", 10), ("on", 30), ("off", 9))]

    assert auto_above_better(rows) == {"s": pytest.approx(1.0)}
    assert measured({"modes": {"rows": rows}}, "vad=auto") == ("+1.00 points (s)", True, False)


def test_cold_starts_are_compared_pair_by_pair() -> None:
    pairs = [
        {OURS: {"seconds": s, "peak_rss_mb": 100}, FASTER: {"seconds": 2.0, "peak_rss_mb": 200}}
        for s in (0.8, 9)
    ]
    part = {"audio_s": 11.0, "timed": [pairs[0], pairs[0], pairs[1]], "weighed": pairs}

    assert measured({"cold": part}, "11 s clip, cold process to text: wall") == ("0.40x", True, False)
    assert measured({"cold": part}, "11 s clip, cold process to text: memory") == ("0.50x", True, True)


def test_an_import_is_timed_without_the_start_of_python() -> None:
    part = {"nothing": [0.1, 0.2, 0.1], "whisper_lambda": [0.5, 0.4, 0.3]}

    assert import_s(part, "whisper_lambda") == pytest.approx(0.3)
    assert measured({"imports": part}, "import whisper_lambda")[1:] == (True, False)


@pytest.mark.parametrize(
    ("expect", "heard", "error", "fine"),
    [
        ("transcript", KNOWN_SPEECH, "", True),
        ("transcript (right channel silent)", "something else", "", False),
        ("transcript", "", "bad_audio", False),
        ("transcript begins: And so, my fellow Americans", "And so my fellow Americans, ask", "", True),
        ("transcript begins: And so, my fellow Americans", "Ask not what", "", False),
        ("first half of the transcript", "And so my fellow Americans ask not what your country", "", True),
        ("first half of the transcript", "And so my fellow Americans asked not why", "", True),
        ("first half of the transcript", "And so my", "", False),
        (
            "first half of the transcript",
            "And so my fellow Americans ask not what your country can do for you, "
            "ask what you can do for your country.",
            "",
            False,
        ),
        ("first half of the transcript", "", "", False),
        ("first half of the transcript", "something which nobody ever said in this speech", "", False),
        ("error: not audio", "", "bad_audio", True),
        ("error: not audio", "Thank you.", "", False),
        ("error or empty text", "", "", True),
        ("error or empty text", "Thank you.", "", False),
        ("any short text, no crash", "And so", "", True),
        ("any short text, no crash", "no " * 40, "", False),
    ],
)
def test_a_file_does_or_does_not_do_as_expected(expect: str, heard: str, error: str, fine: bool) -> None:
    text = KNOWN_SPEECH if expect == "transcript" else ""

    assert as_expected({"expect": expect, "text": text, "heard": heard, "error": error}) is fine
