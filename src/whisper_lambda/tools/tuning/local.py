"""Recordings and sides in; what each memory size would bill here out, asked in turn.

The machine is this one: ratios between sizes and sides carry over to Lambda, milliseconds only as
far as its processors are like ours.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from whisper_lambda.audio.decode import Limits, decode_blocks
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.errors import BadOption
from whisper_lambda.tools.baselines import base_folder
from whisper_lambda.tools.contest import Side
from whisper_lambda.tools.random_weights import SHAPES, write_random_model
from whisper_lambda.tools.tuning.quota import cores, held_to, threads
from whisper_lambda.types import MAX_CHUNK_S, SAMPLE_RATE

TOKENS_A_SECOND = 4.0  # fluent speech in our sets gives 3 to 5


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one side at one size."""

    side: str
    memory_mb: int
    enforced: str  # how the size's processor time was
    seconds: tuple[float, ...]  # wall clock of each run
    cpu_s: tuple[float, ...]
    audio_s: float  # of one run
    threads: int = 0  # it decoded with; 0 = as many as the size is worth

    @property
    def reckoned_s(self) -> tuple[float, ...]:
        """What the clock would say on a machine that is ours alone: processor seconds over cores granted.

        With one thread that is so; two threads that wait for each other are flattered.
        """
        granted = min(cores(self.memory_mb), self.threads or threads(self.memory_mb))
        return tuple(c / granted for c in self.cpu_s)


def ours(model: str | Path, count: int = 0) -> Callable[[int], list[str]]:
    """Return our side's command for a size, with as many threads as that is worth.

    Args:
        model: a tier, or a model's folder; what is made of that is written beside it.
        count: decoding threads whatever the size; 0 = as many as it is worth.
    """
    own: tuple[str, ...] = ()
    if isinstance(model, Path):
        own = tuple(f"WHISPER_LAMBDA_{name}={model.parent}" for name in ("HOME", "MODEL_DIR"))
        model = model.name
    return lambda memory_mb: [
        *("env", f"WHISPER_LAMBDA_THREADS={count or threads(memory_mb)}", *own),
        *(sys.executable, "-m", "whisper_lambda.tools.sides.run_ours", model),
    ]


def faster_whisper(folder: str) -> Callable[[int], list[str]]:
    """Return faster-whisper's command for a size, likewise."""
    program = "whisper_lambda.tools.sides.run_faster_whisper"
    return lambda memory_mb: [sys.executable, "-m", program, folder, str(threads(memory_mb))]


@contextmanager
def random_model(tier: str, audio_s: float, home: Path) -> Iterator[Path]:
    """Write a model of a tier's true shape that says as much as somebody speaking for so long.

    It says that in each window, whatever the window holds: recordings longer than a window should be much
    longer, or each side's last and shorter one counts for too much.

    Raises:
        BadOption: the tier's shape is not known.
        ModelUnavailable: the packages that carry base, and with it the tokenizer, are not installed.
    """
    if tier not in SHAPES:
        raise BadOption(f"no shape is known of {tier!r}; of {', '.join(SHAPES)}")
    with tempfile.TemporaryDirectory(prefix="whisper-lambda-tune-") as folder:
        says = max(1, round(min(audio_s, MAX_CHUNK_S) * TOKENS_A_SECOND))
        made = Path(folder) / f"random-{tier}"
        write_random_model(made, SHAPES[tier], base_folder(home), says=says)
        yield made


def sweep(
    sides: Mapping[str, Callable[[int], Sequence[str]]],
    sizes_mb: Sequence[int],
    jobs: Sequence[Mapping[str, Any]],
    *,
    audio_s: float,
    rounds: int = 5,
    wishes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    on_run: Callable[[str, int, float], None] = lambda side, size, seconds: None,
) -> list[Measured]:
    """Ask every side at every size for all jobs, `rounds` times, turning about.

    Args:
        sides: a name and the command that serves at a size (see `sides/turns.py` for how it talks).
        sizes_mb: memory sizes.
        jobs: what one run consists of, one after the other; each side is asked once before.
        audio_s: how much audio a run is.
        rounds: runs of each.
        wishes: what a side is asked for beside that, by its name.
        on_run: told of each run's side, size and seconds.
    """
    with ExitStack() as held:
        asked: list[tuple[str, int, str, Side]] = []
        for size in sizes_mb:
            for name, command in sides.items():
                enter, enforced = held.enter_context(held_to(size, f"{len(asked)}"))
                side = held.enter_context(Side(command(size), on_start=enter))
                asked.append((name, size, enforced, side))
        runs: dict[int, list[tuple[float, float]]] = {n: [] for n in range(len(asked))}
        for name, _, _, side in asked:
            side.ask({**jobs[0], **wishes.get(name, {})})
        for turn in range(rounds):
            for n in _turned(len(asked), turn):
                name, size, _, side = asked[n]
                answers = [side.ask({**job, **wishes.get(name, {})}) for job in jobs]
                runs[n].append((sum(a["seconds"] for a in answers), sum(a["cpu_s"] for a in answers)))
                on_run(name, size, runs[n][-1][0])
    return [
        Measured(name, size, enforced, tuple(s for s, _ in runs[n]), tuple(c for _, c in runs[n]), audio_s)
        for n, (name, size, enforced, _) in enumerate(asked)
    ]


def _turned(count: int, by: int) -> list[int]:
    return [(n + by) % count for n in range(count)]


def duration_s(path: Path) -> float:
    """Return how long a recording is, by decoding it.

    Raises:
        BadAudio: it holds no audio we can decode (and its kin).
        OSError: it cannot be read.
    """
    limits = Limits(max_seconds=24 * 3600.0, max_bytes=1 << 40, timeout_s=600.0)
    with closing(DecoderPool(1)) as decoders:
        return sum(len(block) for block in decode_blocks(path, limits, decoders)) / SAMPLE_RATE
