"""Raw rows in, figures with their bar and aim out. Pure: no clock, no model, no files.

Times of several rounds: the median of the rounds' totals. WER is corpus-level, of the first round,
since no side samples unless its ladder does.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_lambda.tools.contest import Row
from whisper_lambda.tools.scoring import normalise
from whisper_lambda.tools.setup import FASTER, OURS, WORD_TIMES
from whisper_lambda.tools.wordtimes import NEAR_S

Results = Mapping[str, Any]

RIGHT_WER = 0.15  # a format is read well when no more of its words are wrong than this
FEW_WORDS = 8  # what may be made of a fifth of a second


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise: what was asked, what was found. Written by `report`."""

    what: str
    bar: str
    aim: str
    measured: str
    bar_met: bool
    aim_met: bool


@dataclass(frozen=True, slots=True)
class Total:
    """What one side did on one selection of recordings."""

    seconds: float
    cpu_s: float
    audio_s: float
    words: int
    wrong: int
    loops: int  # recordings with a loop
    alarms: int  # recordings without speech that got text
    errors: int
    disorder: int  # recordings whose times run backwards or outside

    @property
    def rtf(self) -> float:
        """Processing seconds for each second of audio."""
        return self.seconds / self.audio_s if self.audio_s else 0.0

    @property
    def wer(self) -> float:
        """Wrong words for each word of the references, in per cent."""
        return 100 * self.wrong / self.words if self.words else 0.0


def total(rows: Iterable[Row], side: str, *, of: Callable[[Row], bool] = lambda row: True) -> Total:
    """Add up the rows of one side that pass `of`."""
    mine = [row for row in rows if row["side"] == side and of(row)]
    first = [row for row in mine if row["round"] == 0]
    rounds: dict[int, list[Row]] = defaultdict(list)
    for row in mine:
        rounds[row["round"]].append(row)

    def median_of(field: str) -> float:
        return float(statistics.median([sum(r[field] for r in each) for each in rounds.values()] or [0.0]))

    return Total(
        seconds=median_of("seconds"),
        cpu_s=median_of("cpu_s"),
        audio_s=sum(row["audio_s"] for row in first),
        words=sum(row.get("words", 0) for row in first),
        wrong=sum(row.get("wrong", 0) for row in first),
        loops=sum(row["loops"] > 0 for row in first),
        alarms=sum(row.get("false_words", 0) > 0 for row in first),
        errors=sum(row["error"] != "" for row in first),
        disorder=sum(not row["in_order"] for row in first),
    )


def sets_of(rows: Iterable[Row]) -> list[str]:
    """Return the names of the sets in the rows, in alphabetical order."""
    return sorted({row["set"] for row in rows})


def by_set(rows: Sequence[Row], side: str) -> dict[str, Total]:
    """Return a side's total for each set."""
    return {name: total(rows, side, of=lambda row, name=name: row["set"] == name) for name in sets_of(rows)}  # type: ignore[misc]


def pair_ratio(rows: Iterable[Row], slow: str, fast: str) -> float:
    """Return the median over recordings and rounds of how often `fast` fits into `slow`'s time."""
    seconds: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        seconds[row["round"], row["set"], row["audio"]][row["side"]] = row["seconds"]
    return statistics.median(
        each[slow] / each[fast] for each in seconds.values() if {slow, fast} <= each.keys()
    )


def figures(results: Results) -> list[Figure]:
    """Return the figures the measured parts allow, in the order of the promises."""
    found: list[Figure] = []
    for part, read in _READERS.items():
        if part in results:
            found += read(results[part])
    return found


def _short(part: Row) -> list[Figure]:
    rows = part["rows"]
    us, them = total(rows, OURS), total(rows, FASTER)
    ours, theirs = by_set(rows, OURS), by_set(rows, FASTER)
    above = {name: ours[name].wer - theirs[name].wer for name in ours if theirs[name].words}
    worst = max(above, key=lambda name: above[name])
    times = them.seconds / us.seconds
    return [
        _more(f"short clips: speed against {FASTER}", times, 3, 5, unit="x"),
        _less("short clips: WER above its own, pooled", us.wer - them.wer, 0, 0, unit=" points"),
        Figure(
            "short clips: WER above its own, worst set",
            "<= 1.0 points",
            "below in every set",
            f"{above[worst]:+.2f} points ({worst})",
            above[worst] <= 1.0,
            above[worst] < 0,
        ),
    ]


def _long(part: Row) -> list[Figure]:
    rows = part["rows"]
    us = total(rows, OURS)
    plain, filtered, batched = (total(rows, FASTER + way) for way in ("", " vad_filter", " batched"))
    sequential = min(plain.seconds, filtered.seconds)
    best = min(plain.wer, filtered.wer, batched.wer)
    found = [
        _more(f"long recordings: speed against {FASTER} in order", sequential / us.seconds, 4, 7, unit="x"),
        _more(
            f"long recordings: speed against {FASTER} batched", batched.seconds / us.seconds, 2, 3.5, unit="x"
        ),
        _less("long recordings: WER above the best of theirs", us.wer - best, 0, 0, unit=" points"),
    ]
    late = lateness(rows)
    if late:
        near = 100 * sum(abs(each) <= NEAR_S for each in late) / len(late)
        found.append(
            _more(f"first words within {NEAR_S} s of their utterance's start", near, 90, 98, unit=" %")
        )
    return found


def lateness(
    rows: Iterable[Row], onsets: Mapping[str, Mapping[str, float]] | None = None, *, side: str = WORD_TIMES
) -> list[float]:
    """Return, for every utterance whose first word was heard, how late a side put it, in seconds.

    Args:
        rows: of a part that asked for word times.
        onsets: recording -> utterance's start -> seconds until its voice can be heard; when given,
            lateness counts from there.
        side: whose answers.
    """
    return [
        late - (onsets[row["audio"]][str(start)] if onsets else 0.0)
        for row in rows
        if row["round"] == 0 and row["side"] == side
        for start, late, _ in row.get("late_s", ())
    ]


def _music(part: Row) -> list[Figure]:
    rows = part["rows"]
    us, them = total(rows, f"{OURS} vad=auto"), total(rows, FASTER)
    return [
        _less(f"music: WER above {FASTER} without VAD", us.wer - them.wer, 0, -5, unit=" points"),
        _less("music: recordings with a loop", us.loops, 0, 0),
        _less(f"music: time over {FASTER}'s", us.seconds / them.seconds, 0.4, 0.2, unit="x"),
    ]


def _nonspeech(part: Row) -> list[Figure]:
    rows = part["rows"]
    silence = total(rows, OURS, of=_is_silence).alarms
    others = total(rows, OURS, of=lambda row: not _is_silence(row)).alarms
    return [
        _less("digital silence with text", silence, 0, 0),
        _less("other non-speech recordings with text", others, 1, 0),
    ]


def _is_silence(row: Row) -> bool:
    return row.get("kind") == "digital silence"


def _modes(part: Row) -> list[Figure]:
    above = auto_above_better(part["rows"])
    worst = max(above, key=lambda name: above[name])
    return [
        Figure(
            "vad=auto: WER above the better of on and off, worst set",
            "<= 1.0 points",
            "never above",
            f"{above[worst]:+.2f} points ({worst})",
            above[worst] <= 1.0,
            above[worst] <= 0,
        )
    ]


def auto_above_better(rows: Sequence[Row]) -> dict[str, float]:
    """Return for each set with words how far WER with vad=auto is above the better of on and off."""
    auto, on, off = (by_set(rows, f"{OURS} vad={vad}") for vad in ("auto", "on", "off"))
    return {name: t.wer - min(on[name].wer, off[name].wer) for name, t in auto.items() if t.words}


def _formats(part: Row) -> list[Figure]:
    verdicts = {name: as_expected(answer) for name, answer in part["answers"].items()}
    wrong = [name for name, fine in verdicts.items() if not fine]
    measured = f"{len(verdicts) - len(wrong)} of {len(verdicts)}" + (
        f"; not {', '.join(wrong)}" if wrong else ""
    )
    return [Figure("files that do as their manifest expects", "all", "all", measured, not wrong, not wrong)]


def as_expected(answer: Mapping[str, str]) -> bool:
    """Tell whether what came of one file is what its manifest expects.

    Args:
        answer: `expect` and `text` of the manifest, `heard` and `error` (a code) of ours.
    """
    expect, heard = answer["expect"], normalise(answer["heard"], "en").split()
    if expect.startswith("error or empty"):
        return bool(answer["error"]) or not heard
    if expect.startswith("error"):
        return bool(answer["error"])
    if answer["error"]:
        return False
    if expect.startswith("any short text"):
        return len(heard) <= FEW_WORDS
    wanted = normalise(answer["text"] or KNOWN_SPEECH, "en").split()
    if expect.startswith("transcript begins"):
        wanted = normalise(expect.partition(":")[2], "en").split()
        heard = heard[: len(wanted)]
    elif expect.startswith("first half"):
        if len(wanted) / 4 <= len(heard) < len(wanted) * 3 / 4:
            heard = heard[:-1]  # the file ends within a word, which may have become another
            wanted = wanted[: len(heard)]
        else:
            return False
    # One word may always be wrong: of the six of a half that is more than the share.
    return _distance(wanted, heard) <= max(1.0, RIGHT_WER * len(wanted))


# What every file of the formats set says; the manifest repeats it only for whole ones.
KNOWN_SPEECH = (
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


def _distance(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Return the edit distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


def _cold(part: Row) -> list[Figure]:
    wall, rss = (
        statistics.median(pair[OURS][field] / pair[FASTER][field] for pair in part[runs])
        for runs, field in (("timed", "seconds"), ("weighed", "peak_rss_mb"))
    )
    return [
        _less(
            f"{part['audio_s']:.0f} s clip, cold process to text: wall over {FASTER}'s",
            wall,
            0.5,
            0.35,
            unit="x",
        ),
        _less(
            f"{part['audio_s']:.0f} s clip, cold process to text: memory over {FASTER}'s",
            rss,
            0.6,
            0.5,
            unit="x",
        ),
    ]


def import_s(part: Row, name: str) -> float:
    """Return the median seconds of an import, the start of Python left out."""
    return float(statistics.median(part[name]) - statistics.median(part["nothing"]))


def _imports(part: Row) -> list[Figure]:
    return [_less("import whisper_lambda", import_s(part, "whisper_lambda"), 0.4, 0.25, unit=" s")]


def _more(what: str, value: float, bar: float, aim: float, *, unit: str = "") -> Figure:
    return Figure(
        what, f">= {bar:g}{unit}", f">= {aim:g}{unit}", f"{value:.2f}{unit}", value >= bar, value >= aim
    )


def _less(what: str, value: float, bar: float, aim: float, *, unit: str = "") -> Figure:
    shown = f"{value:.2f}{unit}" if isinstance(value, float) else f"{value}{unit}"
    return Figure(what, f"<= {bar:g}{unit}", f"<= {aim:g}{unit}", shown, value <= bar, value <= aim)


_READERS: Mapping[str, Callable[[Row], list[Figure]]] = {
    "short": _short,
    "long": _long,
    "cold": _cold,
    "nonspeech": _nonspeech,
    "music": _music,
    "modes": _modes,
    "imports": _imports,
    "formats": _formats,
}
