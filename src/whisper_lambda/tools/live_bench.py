"""`bench live`: recordings in, a page and a plot of how late words come, how right, and at what cost."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from whisper_lambda import machine
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption
from whisper_lambda.live.pace import PACES, Delay
from whisper_lambda.ports import Engine
from whisper_lambda.tools import live_report
from whisper_lambda.tools.live_runs import Played, idle_cpu, play, play_peer, session_of
from whisper_lambda.tools.manifest import Entry, read_utterances
from whisper_lambda.tools.scoring import error_rate, normalise, open_brackets
from whisper_lambda.types import SAMPLE_RATE, Options, Samples, Transcript

KEPT_UP_S = 6.0  # p95 a session may have and be kept up with
MODEL = "base"
PARTS = ("one", "peer", "crowds", "idle")
PART_S = 20.0  # of each recording, for the parts in which words are not scored


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A recording's beginning, what is said in it, and what we hear offline."""

    entry: Entry
    samples: Samples
    reference: str
    offline: Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    seconds: float = math.inf  # of each recording with utterances
    counts: Sequence[int]  # how many sessions at once are tried
    delay: Delay = "low"
    parts: Collection[str] = PARTS  # the rest stays as the raw figures of an earlier run have it


def run(
    entries: Sequence[Entry], out: Path, plan: Plan, *, command: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, and write the page once every part was; return the raw figures.

    Args:
        entries: recordings; where only words' lateness is looked at, the beginning of each is played.
        out: the page; plot and raw figures go beside it.
        plan: what to measure.
        command: how this was called.
        say: told what is going on.

    Raises:
        BadOption: no such part.
    """
    parts, delay = plan.parts, plan.delay
    part_s = min(plan.seconds, PART_S)
    if unknown := set(parts) - set(PARTS):
        raise BadOption(f"the parts of `bench live` are {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    kept = _Kept(out.with_suffix(".json"), command)
    settings = replace(Settings.from_env(), model=MODEL)
    with build(replace(settings, threads=1)) as service, service.router.engine(MODEL) as (engine, choice):
        say("offline, for the words and their times")
        pieces = list(_pieces(entries, plan.seconds if "one" in parts else part_s, service))
        begins = [replace(p, samples=p.samples[: int(part_s * SAMPLE_RATE)]) for p in pieces]
        cores = machine.cores(settings)
        kept.results["machine"] = f"{platform.machine()}, {cores} cores, {', '.join(machine.instructions())}"
        kept.results["model"], kept.results["delay"] = choice.served, delay
        if "one" in parts:
            say(f"{len(pieces)} recordings, one session each")
            kept.add("one", **_one(pieces, [_told(say, p, _alone(engine, p, delay)) for p in pieces]))
        if "peer" in parts:
            say("LocalAgreement on 30 s windows, on part of the same audio, and ours on that part, in turn")
            kept.add("peer", peer=_pair(engine, begins, delay))
        if "crowds" in parts:
            kept.add("crowds", crowds=_crowds(engine, begins, plan, cores, say))
        if "idle" in parts:
            kept.add("idle", idle=idle_cpu(lambda: session_of(engine, "en", PACES[delay])))
    if all(part in kept.results for part in PARTS):
        live_report.write(kept.results, out)
    return kept.results


class _Kept:
    """The raw figures, beside those of earlier runs; written after each part."""

    def __init__(self, raw: Path, command: str) -> None:
        raw.parent.mkdir(parents=True, exist_ok=True)  # now, and not when half an hour was measured
        self.results: dict[str, Any] = json.loads(raw.read_text(encoding="utf-8")) if raw.exists() else {}
        self._raw = raw
        self._command = command

    def add(self, part: str, **found: object) -> None:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        said = f"`{self._command}`, {today}, load {os.getloadavg()[1]:.0f}"
        self.results.update(found, runs={**self.results.get("runs", {}), part: said})
        self._raw.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")


def _one(pieces: Sequence[Piece], played: Sequence[Played]) -> dict[str, Any]:
    """Return the figures of one session at a time, in all and set by set, and how late each word was."""
    late = (_latencies(p, o)[0] for p, o in zip(pieces, played, strict=True))
    return {
        "one": _figures(pieces, played),
        "sets": _sets(pieces, played),
        "latencies": [round(x, 3) for each in late for x in each],
    }


def _crowds(
    engine: Engine, pieces: Sequence[Piece], plan: Plan, cores: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures of as many sessions at once as are to be tried."""
    found = {}
    for count in plan.counts:
        say(f"{count} sessions at once on {cores} cores")
        found[str(count)] = _crowd(engine, pieces, count, cores, plan.delay)
    return found


def _pair(engine: Engine, pieces: Sequence[Piece], delay: Delay) -> dict[str, Any]:
    """Play each recording to the peer and to us, one after the other."""
    pair = [
        (play_peer(engine, p.samples, p.entry.language or "en"), _alone(engine, p, delay)) for p in pieces
    ]
    return {
        "ours": _figures(pieces, [o for _, o in pair], score=False),
        "theirs": _figures(pieces, [t for t, _ in pair], score=False),
    }


def _sets(pieces: Sequence[Piece], played: Sequence[Played]) -> dict[str, dict[str, float]]:
    """Return words, and WER offline and live, of each set."""
    found = {}
    for name in dict.fromkeys(p.entry.set for p in pieces):
        of_set = [(p, o) for p, o in zip(pieces, played, strict=True) if p.entry.set == name]
        refs = [_normal(p, p.reference) for p, _ in of_set]
        offline = error_rate(refs, [_normal(p, p.offline.text) for p, _ in of_set])
        live = error_rate(refs, [_normal(p, o.text) for p, o in of_set])
        found[name] = {"words": live.words, "offline": 100 * offline.wer, "live": 100 * live.wer}
    return found


def _pieces(entries: Sequence[Entry], seconds: float, service: Service) -> Iterator[Piece]:
    """Yield recordings, no more than so much of the long ones, and what is heard in them offline."""
    for entry in entries:
        if not entry.text or not entry.language:
            continue
        samples = service.decode(entry.path).samples
        reference = entry.text
        if entry.utterances and len(samples) > seconds * SAMPLE_RATE:
            told = [u for u in read_utterances(entry.utterances) if u.end <= seconds]
            samples = samples[: int((told[-1].end + 0.3) * SAMPLE_RATE)] if told else samples[:0]
            reference = " ".join(u.text for u in told)
        if len(samples):
            offline = service.transcribe(samples, Options(language=entry.language, times="word"), model=MODEL)
            yield Piece(entry, samples, reference, offline)


def _told(say: Callable[[str], None], piece: Piece, played: Played) -> Played:
    """Say how it went, for those who wait, and return it."""
    refs = [_normal(piece, piece.reference)]
    live = error_rate(refs, [_normal(piece, played.text)])
    offline = error_rate(refs, [_normal(piece, piece.offline.text)])
    said = f"{live.words} words, WER {100 * live.wer:.2f} live, {100 * offline.wer:.2f} offline"
    say(f"  {Path(piece.entry.audio).name}, {played.audio_s:.0f} s: {said}")
    return played


def _alone(engine: Engine, piece: Piece, delay: Delay) -> Played:
    session = session_of(engine, piece.entry.language or "en", PACES[delay])
    return play([(session, piece.samples)], cores=1)[0]


def _crowd(engine: Engine, pieces: Sequence[Piece], count: int, cores: int, delay: Delay) -> dict[str, float]:
    """Play so many sessions at once; each begins elsewhere in its recording."""
    chosen = [pieces[i % len(pieces)] for i in range(count)]
    sessions = [
        (session_of(engine, p.entry.language or "en", PACES[delay]), p.samples[(i % 5) * 4000 :])
        for i, p in enumerate(chosen)
    ]
    played = play(sessions, cores=cores)
    # Offsets move the words: lateness is told by the session's own word times here.
    late = [at - w.end for o in played for at, w in zip(o.committed_at, o.words, strict=True)]
    audio = sum(o.audio_s for o in played)
    return {
        "p50": float(np.percentile(late, 50)) if late else 0.0,
        "p95": float(np.percentile(late, 95)) if late else 0.0,
        "cpu_per_audio_s": sum(o.cpu_s for o in played) / audio,
        "words": len(late),
    }


def _latencies(piece: Piece, played: Played) -> tuple[list[float], list[float]]:
    """Return for each word also heard offline how long after its end there it was committed, and shown."""
    played_s = len(piece.samples) / SAMPLE_RATE
    theirs = [w for w in piece.offline.words if _bare(w.text) and w.end <= played_s]
    mine = [i for i, w in enumerate(played.words) if _bare(w.text)]
    matcher = SequenceMatcher(
        None, [_bare(w.text) for w in theirs], [_bare(played.words[i].text) for i in mine], autojunk=False
    )
    committed, shown = [], []
    for block in matcher.get_matching_blocks():
        for k in range(block.size):
            end, i = theirs[block.a + k].end, mine[block.b + k]
            committed.append(played.committed_at[i] - end)
            shown.append(played.shown_at[i] - end)
    return committed, shown


def _figures(pieces: Sequence[Piece], played: Sequence[Played], *, score: bool = True) -> dict[str, float]:
    both = [_latencies(p, o) for p, o in zip(pieces, played, strict=True)]
    late, shown = [x for c, _ in both for x in c], [x for _, s in both for x in s]
    audio = sum(o.audio_s for o in played)
    found = {
        "audio_s": audio,
        "words": len(late),
        "p50": float(np.percentile(late, 50)),
        "p95": float(np.percentile(late, 95)),
        "first_p50": float(np.percentile(shown, 50)),
        "first_p95": float(np.percentile(shown, 95)),
        "cpu_per_audio_s": sum(o.cpu_s for o in played) / audio,
    }
    if score:
        refs = [_normal(p, p.reference) for p in pieces]
        said = [_normal(p, o.text) for p, o in zip(pieces, played, strict=True)]
        found["wer"] = 100 * error_rate(refs, said).wer
        found["wer_offline"] = 100 * error_rate(refs, [_normal(p, p.offline.text) for p in pieces]).wer
    return found


def _normal(piece: Piece, text: str) -> str:
    e = piece.entry
    return normalise(open_brackets(text), e.language, numbers=True, fold_diacritics=e.fold_diacritics)


def _bare(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
