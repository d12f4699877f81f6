"""Live events in, text on the screen and in a file as it goes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from whisper_lambda.cli.terminal import one_line
from whisper_lambda.errors import BadOption, StorageFull
from whisper_lambda.live.session import Committed, Ended, Event, Tentative
from whisper_lambda.transcript.formats import renderer
from whisper_lambda.types import Segment, Transcript, Word

SUFFIXES = (".srt", ".vtt", ".jsonl", ".txt")
_DIM, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[0m", "\x1b[J"


class Screen:
    """Shows committed words plain, one line an utterance, and on a terminal tentative ones dimmed."""

    def __init__(self, out: TextIO, file: TextIO | None, suffix: str) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._file = file
        self._suffix = suffix
        self._line = ""  # committed words of the open utterance
        self._words: list[Word] = []
        self._segments: list[Segment] = []
        self._dimmed = 0  # characters shown beyond the committed ones

    def show(self, events: Iterable[Event]) -> None:
        """Show what happened."""
        for event in events:
            if isinstance(event, Committed):
                self._commit(event)
            elif isinstance(event, Tentative) and self._terminal:
                self._hint("".join(w.text for w in event.words))
            elif isinstance(event, Ended):
                self._end()
        self._out.flush()

    def _commit(self, event: Committed) -> None:
        text = one_line("".join(w.text for w in event.words))
        self._unhint()
        self._out.write(text if self._line else text.lstrip())
        self._line += text
        self._words += event.words
        if self._file and self._suffix == ".jsonl":
            for w in event.words:
                row = {"word": w.text, "start": w.start, "end": w.end, "probability": w.probability}
                self._file.write(json.dumps({**row, "language": event.language}, ensure_ascii=False) + "\n")
            self._file.flush()

    def _hint(self, text: str) -> None:
        self._unhint()
        room = shutil.get_terminal_size().columns - len(self._line) % shutil.get_terminal_size().columns - 1
        text = one_line(text)[: max(0, room)]  # one line only: it must be possible to take back
        self._dimmed = len(text)
        self._out.write(f"{_DIM}{text}{_PLAIN}")

    def _unhint(self) -> None:
        if self._dimmed:
            self._out.write(f"\x1b[{self._dimmed}D{_CLEAR}")
            self._dimmed = 0

    def _end(self) -> None:
        self._unhint()
        if self._line:
            self._out.write("\n")
            self._write()
        self._line, self._words = "", []

    def _write(self) -> None:
        """Add the utterance to the file; the cues so far never change."""
        if self._file is None or self._suffix == ".jsonl":
            return
        if self._suffix == ".txt":
            self._file.write(self._line.strip() + "\n")
        else:
            words = tuple(self._words)
            text = "".join(w.text for w in words)
            self._segments.append(Segment(words[0].start, words[-1].end, text, 0.0, 0.0, 1.0, words=words))
            whole = Transcript(tuple(self._segments), "", words[-1].end)
            self._file.seek(0)
            self._file.write(renderer(self._suffix[1:])(whole))
        self._file.flush()


@contextmanager
def screen(out: TextIO, output: Path | None) -> Iterator[Screen]:
    """Open the screen, and the file beside it.

    Raises:
        BadOption: the file's name says no format that can be written as it goes, or it cannot be opened.
        StorageFull: there is no room for the file.
    """
    if output is None:
        yield Screen(out, None, "")
        return
    if output.suffix not in SUFFIXES:
        raise BadOption(f"--output ends in one of {', '.join(SUFFIXES)}, not {output.suffix!r}")
    try:
        file = output.open("w", encoding="utf-8")
    except OSError as cause:
        raise BadOption(f"--output {output}: {cause.strerror}") from cause
    try:
        with file:
            yield Screen(out, file, output.suffix)
    except OSError as cause:
        raise StorageFull(f"{output} cannot be written: {cause.strerror}") from cause
