"""Recordings and sides in; a row for every answer out, asked in turn so that drift hits all alike."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from whisper_lambda.errors import EngineFailed
from whisper_lambda.tools.evaluate import Heard, judged, normalised
from whisper_lambda.tools.manifest import Entry
from whisper_lambda.tools.processes import tree_cpu_s
from whisper_lambda.tools.scoring import error_rate
from whisper_lambda.types import Segment, Transcript, Word

Row = dict[str, Any]  # one answer, as it stands in the raw JSON
Job = Callable[[Entry], Mapping[str, Any]]  # what to ask a side about a recording


class Side:
    """A contender in a process of its own, answering one recording at a time. Close it when done."""

    def __init__(self, command: Sequence[str], on_start: Callable[[int], None] = lambda pid: None) -> None:
        """Start the program; `on_start` is told its process id at once, before it is loaded."""
        self._command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", bufsize=1
        )
        on_start(self._process.pid)
        self._take()  # it says when it is loaded

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Send a job and wait for its answer, with the CPU seconds its processes took added.

        Raises:
            EngineFailed: the process ended.
        """
        before = tree_cpu_s(self._process.pid)
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(job) + "\n")
        answer = self._take()
        answer["cpu_s"] = tree_cpu_s(self._process.pid) - before
        return answer

    def _take(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise EngineFailed(f"{' '.join(self._command)} ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the process end by closing its input; kill it if it does not."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Contender:
    """A side and the way it is asked; its name stands in every row and table."""

    name: str
    side: Side
    job: Job


def ours(model: str) -> Side:
    """Start our side."""
    return Side([sys.executable, "-m", "whisper_lambda.tools.sides.run_ours", model])


def faster_whisper(folder: str, threads: int) -> Side:
    """Start faster-whisper's side; 0 threads = its default."""
    program = "whisper_lambda.tools.sides.run_faster_whisper"
    return Side([sys.executable, "-m", program, folder, str(threads)])


def in_turn(
    contenders: Sequence[Contender],
    entries: Sequence[Entry],
    *,
    rounds: int = 1,
    warm: Sequence[Entry] = (),
    on_answer: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Ask every contender about every recording; who begins moves on by one each time.

    A contender's first answer pays for what it sets up lazily, so each is first asked about the
    recordings of `warm` (else the first of `entries`), whose answers are thrown away.
    """
    for entry in warm or entries[:1]:
        for contender in contenders:
            contender.side.ask({"audio": str(entry.path), **contender.job(entry)})
    rows: list[Row] = []
    for number in range(rounds):
        for turn, entry in enumerate(entries):
            for contender in _rotated(contenders, turn + number):
                row = {"round": number, **_row(contender, entry)}
                rows.append(row)
                if on_answer:
                    on_answer(row)
    return rows


def _rotated(contenders: Sequence[Contender], by: int) -> Iterator[Contender]:
    at = by % len(contenders)
    yield from (*contenders[at:], *contenders[:at])


def _row(contender: Contender, entry: Entry) -> Row:
    answer = contender.side.ask({"audio": str(entry.path), **contender.job(entry)})
    heard = judged(entry, _transcript(answer), answer["seconds"])
    return {
        "side": contender.name,
        "set": entry.set,
        "audio": entry.audio,
        "kind": entry.kind,
        "seconds": round(answer["seconds"], 5),
        "cpu_s": round(answer["cpu_s"], 3),
        "audio_s": round(entry.duration_s or heard.duration_s, 3),
        "error": answer.get("error", ""),
        "language": answer.get("language", ""),
        "loops": heard.loops,
        "in_order": heard.in_order,
        **_errors(heard),
        **_first_words(heard),
    }


def _errors(heard: Heard) -> Row:
    """Return the counts WER is made of; nothing where no reference is known."""
    if heard.entry.text is None:
        return {}
    reference, text = normalised(heard, numbers=True)
    if not reference:
        return {"false_words": len(text.split())}
    rate = error_rate([reference], [text])
    wrong = rate.substitutions + rate.insertions + rate.deletions
    return {"words": rate.words, "wrong": wrong, "deleted": rate.deletions}


def _first_words(heard: Heard) -> Row:
    if heard.first_words is None:
        return {}
    return {"late_s": [(f.utterance.start, round(f.late_s, 3), f.same) for f in heard.first_words]}


def _transcript(answer: Mapping[str, Any]) -> Transcript:
    """Return an answer as a transcript; the scores nobody looks at here are left at zero."""
    words = tuple(Word(start, end, text, 0.0) for start, end, text in answer.get("words", ()))
    segments = [Segment(start, end, text, 0.0, 0.0, 0.0) for start, end, text in answer.get("segments", ())]
    if segments and words:
        first = segments[0]
        segments[0] = Segment(first.start, first.end, first.text, 0.0, 0.0, 0.0, words=words)
    return Transcript(tuple(segments), answer.get("language", ""), answer.get("duration", 0.0))
