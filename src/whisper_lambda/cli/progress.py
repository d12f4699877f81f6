"""How far the work is, on stderr: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whisper_lambda.cli.terminal import one_line, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# A bar gone before it can be read only flickers, and importing rich for it costs 0.1 s.
SHOW_AFTER_S = 0.7
LINE_EVERY_S = 30.0
LINE_EVERY_VERBOSE_S = 5.0
WIDEST_NAME = 40  # columns
BYTES_PER_MB = 1_000_000


class _Fetching:
    """What is said of weights on their way. Told on another thread, shown on ours at the next tick."""

    def __init__(self) -> None:
        self._now = ""

    def fetched(self, what: str, done: int, total: int) -> None:
        """Learn that `done` of `total` bytes (0 = nobody knows how many) are here."""
        if done >= total > 0:
            self._now = ""
        elif total > BYTES_PER_MB:
            self._now = f"fetching {what}: {done / BYTES_PER_MB:.0f} of {total / BYTES_PER_MB:.0f} MB"
        else:
            self._now = f"fetching {what}"

    def told(self, what: str) -> None:
        """Learn in words what goes on."""
        self._now = what

    @property
    def preparing(self) -> str:
        """What goes on before the recording is decoded."""
        return self._now or "preparing"


class LineDisplay(_Fetching):
    """Says a line now and then. `every_s` infinite says nothing at all."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._name = ""
        self._duration = 0.0
        self._heard = 0.0
        self._planned_at = self._said_at = 0.0

    def begin(self, name: str) -> None:
        """Open a recording of unknown length."""
        self._name, self._duration, self._heard = name, 0.0, 0.0
        self._said_at = time.monotonic()

    def planned(self, duration: float) -> None:
        """Learn its length, in seconds."""
        self._duration = duration
        self._planned_at = time.monotonic()

    def heard(self, until: float) -> None:
        """Learn that everything before `until` seconds is transcribed."""
        self._heard = until
        self.tick()

    def tick(self) -> None:
        """Say where we are, if it is time to."""
        now = time.monotonic()
        if now - self._said_at < self._every_s:
            return
        self._said_at = now
        if not self._duration:
            say(f"{self._name}: {self.preparing}")
        elif self._heard:
            done = min(1.0, self._heard / self._duration)
            left_s = (now - self._planned_at) * (1 - done) / done
            say(f"{self._name}: {done:.0%} of {clock(self._duration)}, about {clock(left_s)} left")
        else:
            say(f"{self._name}: 0% of {clock(self._duration)}")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Let something else be printed."""
        yield

    def end(self) -> None:
        """Close the recording."""


class BarDisplay(_Fetching):
    """Draws a bar with the time left, and wipes it away when the recording is done."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._begun_at = 0.0
        self._duration: float | None = None
        self._heard = 0.0

    def begin(self, name: str) -> None:
        """Open a recording of unknown length."""
        shown = one_line(name)
        self._name = shown if len(shown) <= WIDEST_NAME else "…" + shown[1 - WIDEST_NAME :]
        self._begun_at = time.monotonic()
        self._duration, self._heard = None, 0.0

    def planned(self, duration: float) -> None:
        """Learn its length, in seconds."""
        self._duration = duration
        self.tick()

    def heard(self, until: float) -> None:
        """Learn that everything before `until` seconds is transcribed."""
        self._heard = until
        self.tick()

    def tick(self) -> None:
        """Draw the bar, once the recording has taken long enough to be worth one."""
        if self._bar is None:
            if time.monotonic() - self._begun_at < SHOW_AFTER_S:
                return
            self._bar = _bar()
            self._task = self._bar.add_task(self._name, total=None, position="")
            self._bar.start()
        assert self._task is not None
        position = f"{clock(self._heard)} of {clock(self._duration)}" if self._duration else self.preparing
        self._bar.update(self._task, total=self._duration, completed=self._heard, position=position)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Wipe the bar while something else is printed, then draw it again below."""
        if self._bar:
            self._bar.stop()
        yield
        if self._bar:
            self._bar.start()

    def end(self) -> None:
        """Wipe the bar."""
        if self._bar:
            self._bar.stop()
        self._bar = self._task = None


def clock(seconds: float) -> str:
    """Return 1:02:03, or 2:03 below an hour."""
    whole = math.ceil(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # a file may be called [bold]
        BarColumn(),
        TextColumn("{task.fields[position]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # stdout is the transcript's: rich would print it on stderr
        redirect_stderr=False,
    )
