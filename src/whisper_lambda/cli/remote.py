"""`transcribe --server`: recordings to a server, what it writes to stdout or into files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from whisper_lambda.cli.inputs import Recording, read_input, reason
from whisper_lambda.cli.outputs import file_bases, write_whole
from whisper_lambda.cli.progress import BYTES_PER_MB, BarDisplay, LineDisplay
from whisper_lambda.cli.terminal import say, show
from whisper_lambda.client.asking import Asking, texts
from whisper_lambda.client.client import Client
from whisper_lambda.client.replies import warnings
from whisper_lambda.client.steps import Progress, Reply
from whisper_lambda.errors import (
    BadOption,
    InvalidKey,
    MissingKey,
    ServerUnreachable,
    UnknownLanguage,
    UnknownModel,
    WhisperLambdaError,
)
from whisper_lambda.transcript.formats import Renderer
from whisper_lambda.types import Options

LARGEST_PIPE_BYTES = 1 << 31
# These would fail every other recording in the same way.
HOPELESS = (BadOption, MissingKey, InvalidKey, ServerUnreachable, UnknownLanguage, UnknownModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One call of the command, of which the hearing is done elsewhere."""

    client: Client
    model: str | None
    options: Options
    renderers: Sequence[Renderer]
    budget_usd: float | None
    max_latency_s: float | None
    display: BarDisplay | LineDisplay
    quiet: bool


def transcribe_remotely(errand: Errand, found: Sequence[Recording], folder: Path | None) -> bool:
    """Have each recording transcribed by the server; return whether all went well.

    Raises:
        WhisperLambdaError: of the kinds that would fail every recording alike.
        KeyboardInterrupt: the process is asked to end; the server is told to stop.
    """
    suffixes = [r.suffix for r in errand.renderers]
    bases: list[Path] | list[None] = file_bases(found, folder, suffixes) if folder else [None] * len(found)
    failed = 0
    with errand.client:
        for recording, base in zip(found, bases, strict=True):
            if len(found) > 1 and not base and not errand.quiet:
                say(f"==> {recording.name} <==")
            try:
                deliver(errand, recording, _written(errand, recording), base)
            except HOPELESS:
                raise
            except (WhisperLambdaError, OSError) as failure:
                failed += 1
                say(f"error: {recording.name}: {reason(failure, recording)}")
            finally:
                errand.display.end()
    if failed and len(found) > 1:
        say(f"{failed} of {len(found)} recordings failed")
    return not failed


def _written(errand: Errand, recording: Recording) -> dict[str, str]:
    errand.display.begin(recording.name)
    asking = Asking(
        formats=[r.name for r in errand.renderers],
        model=errand.model,
        layout=errand.renderers[0].layout,
        budget_usd=errand.budget_usd,
        max_latency_s=errand.max_latency_s,
        tell=lambda progress: _show(errand.display, progress),
    )
    source = read_input(recording, max_bytes=LARGEST_PIPE_BYTES)
    written = errand.client.carried(source, asking, **asdict(errand.options))
    warn(errand, recording, next(iter(written.bodies.values())))
    return texts(written)


def warn(errand: Delivery, recording: Recording, answer: Reply) -> None:
    """Say what a transcript's answer warns of, as where it is heard here."""
    errand.display.end()
    for warning in () if errand.quiet else warnings(answer):
        say(f"{recording.name}: warning: {warning}")


def _show(display: BarDisplay | LineDisplay, progress: Progress) -> None:
    if progress.stage == "hearing" and progress.total:
        display.planned(progress.total)
        display.heard(progress.done)
        return
    if progress.stage == "sending":
        display.told(f"sending: {progress.done / BYTES_PER_MB:.1f} of {progress.total / BYTES_PER_MB:.1f} MB")
    elif progress.stage == "encoding":
        display.told(f"encoding: {progress.done:.0f} s")
    else:
        display.told("waiting for its turn")
    display.tick()


class Delivery(Protocol):
    """What a command knows of where its texts go."""

    @property
    def renderers(self) -> Sequence[Renderer]:
        """How they are written."""

    @property
    def display(self) -> BarDisplay | LineDisplay:
        """What is shown meanwhile."""

    @property
    def quiet(self) -> bool:
        """Whether only errors are said."""


def deliver(errand: Delivery, recording: Recording, texts: dict[str, str], base: Path | None) -> None:
    """Print what the server wrote, or write its files."""
    errand.display.end()
    if base is None:
        show(texts[errand.renderers[0].name])
        return
    paths = [base.with_name(base.name + r.suffix) for r in errand.renderers]
    for path, renderer in zip(paths, errand.renderers, strict=True):
        write_whole(path, texts[renderer.name])
    if not errand.quiet:
        say(f"{recording.name} -> {', '.join(map(str, paths))}")
