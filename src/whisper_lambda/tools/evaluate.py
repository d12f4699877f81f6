"""Manifests and something that transcribes in; error rates by set or language out."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from whisper_lambda.errors import BadOption, WhisperLambdaError
from whisper_lambda.tools.manifest import Entry, read_utterances
from whisper_lambda.tools.scoring import (
    ErrorRate,
    error_rate,
    loops,
    normalise,
    open_brackets,
    times_in_order,
)
from whisper_lambda.tools.wordtimes import FirstWord, first_words, share_near
from whisper_lambda.types import Options, Transcript

Grouping = Literal["set", "language", "condition", "speaker"]
LanguageFrom = Literal["manifest", "detect"]
MISSING = "missing_file"  # the code of a recording that is not where its manifest says
APART = frozenset({"longform", "song-lyrics", "nonspeech", "formats"})  # not part of the pooled short sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back for one recording, and what it took."""

    entry: Entry
    text: str = ""
    seconds: float = 0.0  # wall clock, from path to transcript
    duration_s: float = 0.0  # of the audio, as decoded; else as the manifest says
    error: str = ""  # code of the failure; "" = it went well
    loops: int = 0
    in_order: bool = True
    first_words: tuple[FirstWord, ...] | None = None  # None = no reference times, or no word times


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScore:
    """One line of the report: a set, a language, or everything pooled."""

    group: str
    files: int
    failed: int = 0  # refused or raised; scored as empty text
    missing: int = 0  # not on disk, or no hypothesis given; scored as empty text
    no_reference: int = 0  # transcribed, not scored
    rate: ErrorRate | None = None
    audio_s: float = 0.0
    seconds: float = 0.0
    nonspeech_files: int = 0
    false_alarm_files: int = 0
    false_words: int = 0
    false_words_per_min: float = 0.0
    looping_files: int = 0
    unordered_files: int = 0
    utterances: int = 0
    first_words_near: float | None = None  # share within 0.3 s of their utterance's start

    @property
    def rtf(self) -> float:
        """Processing seconds for each second of audio; lower is better."""
        return self.seconds / self.audio_s if self.audio_s else 0.0


def listen(
    entries: Iterable[Entry],
    transcribe: Callable[[Path, Options], Transcript],
    options: Options,
    *,
    language: LanguageFrom = "manifest",
) -> Iterator[Heard]:
    """Transcribe the recordings one after another; a failure is a result, not an end."""
    for entry in entries:
        hint = entry.language_hint if language == "manifest" else None
        started = time.perf_counter()
        try:
            if not entry.path.is_file():
                yield Heard(entry=entry, duration_s=entry.duration_s, error=MISSING)
                continue
            transcript = transcribe(entry.path, replace(options, language=hint))
        except WhisperLambdaError as failure:
            seconds = time.perf_counter() - started
            yield Heard(entry=entry, seconds=seconds, duration_s=entry.duration_s, error=failure.code)
            continue
        yield judged(entry, transcript, time.perf_counter() - started)


def judged(entry: Entry, transcript: Transcript, seconds: float) -> Heard:
    """Return what one transcript shows by itself: loops, order of times, first words."""
    found = None
    if entry.utterances and transcript.words:
        found = first_words(
            transcript.words,
            read_utterances(entry.utterances),
            entry.language,
            fold_diacritics=entry.fold_diacritics,
        )
    return Heard(
        entry=entry,
        text=transcript.text,
        seconds=seconds,
        duration_s=transcript.duration or entry.duration_s,
        loops=loops(transcript.text, entry.language),
        in_order=times_in_order(transcript),
        first_words=found,
    )


def given(entries: Iterable[Entry], hypotheses: Path) -> Iterator[Heard]:
    """Pair recordings with texts made earlier, one JSON object a line with `audio` and `text`.

    `audio` is a path whose last parts are the set and the file, as `--hyp` writes it.
    """
    try:
        rows = [json.loads(line) for line in hypotheses.read_text(encoding="utf-8").splitlines() if line]
        texts = {_tail(row["audio"]): row.get("text", row.get("hyp")) or "" for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise BadOption(f"{hypotheses} holds no hypotheses: {cause!r}") from cause
    for entry in entries:
        text = texts.get(_tail(entry.label))
        if text is None:
            yield Heard(entry=entry, duration_s=entry.duration_s, error=MISSING)
        else:
            found = loops(text, entry.language)
            yield Heard(entry=entry, text=text, duration_s=entry.duration_s, loops=found)


def _tail(audio: str) -> str:
    return "/".join(Path(audio).parts[-2:])


def scored(heard: Iterable[Heard], by: Grouping = "set", *, numbers: bool = False) -> tuple[GroupScore, ...]:
    """Return a score for each group, in alphabetical order, and one named ALL."""
    groups: dict[str, list[Heard]] = defaultdict(list)
    for one in heard:
        groups[str(getattr(one.entry, by))].append(one)
    lines = [_score(name, members, numbers=numbers) for name, members in sorted(groups.items())]
    everything = [one for members in groups.values() for one in members]
    return (*lines, _score("ALL", everything, numbers=numbers))


def normalised(one: Heard, *, numbers: bool = False) -> tuple[str, str]:
    """Return reference and hypothesis of one recording as they are compared."""
    entry = one.entry
    reference, text = (
        normalise(t, entry.language, numbers=numbers, fold_diacritics=entry.fold_diacritics)
        for t in (open_brackets(entry.text or ""), one.text)
    )
    return reference, text


def _score(group: str, members: Sequence[Heard], *, numbers: bool) -> GroupScore:
    known = [one for one in members if one.entry.text is not None]
    pairs = [(one, *normalised(one, numbers=numbers)) for one in known]
    spoken = [(reference, text) for _, reference, text in pairs if reference]
    silent = [(one, len(text.split())) for one, reference, text in pairs if not reference]
    silent_s = sum(one.duration_s for one, _ in silent)
    false_words = sum(words for _, words in silent)
    timed = [one.first_words for one in members if one.first_words is not None]
    firsts = [found for each in timed for found in each]
    return GroupScore(
        group=group,
        files=len(known),
        failed=sum(one.error not in ("", MISSING) for one in known),
        missing=sum(one.error == MISSING for one in known),
        no_reference=len(members) - len(known),
        rate=error_rate(*map(list, zip(*spoken, strict=True))) if spoken else None,
        audio_s=sum(one.duration_s for one in members),
        seconds=sum(one.seconds for one in members),
        nonspeech_files=len(silent),
        false_alarm_files=sum(words > 0 for _, words in silent),
        false_words=false_words,
        false_words_per_min=false_words / (silent_s / 60) if silent_s else 0.0,
        looping_files=sum(one.loops > 0 for one in members),
        unordered_files=sum(not one.in_order for one in members),
        utterances=len(firsts),
        first_words_near=share_near(firsts) if firsts else None,
    )


def pooled_short(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the recordings that count as short: everything but longform, songs, non-speech and formats."""
    return tuple(entry for entry in entries if entry.set not in APART)


def score_record(score: GroupScore) -> dict[str, Any]:
    """Return a score as plain JSON: rates as fractions, times in seconds."""
    record = asdict(score)
    rate = record.pop("rate")
    if score.rate:
        record |= {**rate, "wer": round(score.rate.wer, 4), "cer": round(score.rate.cer, 4)}
    record["rtf"] = round(score.rtf, 4)
    record["false_words_per_min"] = round(score.false_words_per_min, 2)
    return record


def utterance_record(one: Heard, *, numbers: bool = False) -> dict[str, Any]:
    """Return one recording's line of the per-utterance file."""
    reference, text = normalised(one, numbers=numbers)
    record: dict[str, Any] = {"audio": one.entry.label, "ref": reference, "hyp": text}
    if one.entry.text is None:
        record["ref"] = None
    elif reference:
        rate = error_rate([reference], [text])
        record |= {"wer": round(rate.wer, 4), "cer": round(rate.cer, 4)}
    else:
        record["false_words"] = len(text.split())
    record |= {"seconds": round(one.seconds, 4), "loops": one.loops, "in_order": one.in_order}
    if one.error:
        record["error"] = one.error
    return record
