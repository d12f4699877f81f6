"""The parts of a benchmark: each asks the sides about some recordings and returns plain JSON.

`setup` says what is compared; `results` holds what earlier parts found, of which only the thread
counts that serve faster-whisper best are used.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from whisper_lambda.tools.baselines import write_openai_whisper
from whisper_lambda.tools.contest import Contender, Job, Row, Side, faster_whisper, in_turn, ours
from whisper_lambda.tools.extras import needed
from whisper_lambda.tools.manifest import Entry, read_utterances
from whisper_lambda.tools.processes import run_cold
from whisper_lambda.tools.setup import (
    COLD_S,
    FASTER,
    MODEL,
    OPENAI,
    OPENAI_CLIPS_S,
    OURS,
    THEIR_WORD_TIMES,
    WORD_TIMES,
    Setup,
    batched,
    every,
    fastest,
    hinted,
    our_command,
    shortest,
    with_options,
)
from whisper_lambda.tools.wordtimes import onset_s

Results = dict[str, Any]  # part name -> what it found

_SIDES = Path(__file__).parent / "sides"

Part = Callable[[Setup, Results], Row]


def threads(setup: Setup, results: Results) -> Row:
    """Find which thread count serves faster-whisper best, for each way it is used."""
    clips = every(setup.short, 24 if setup.quick else 6)
    recording = shortest(setup.of("longform"))  # none: the short clips decide for long ones too
    with ExitStack() as open_sides:
        sides = {n: open_sides.enter_context(faster_whisper(str(setup.weights.base), n)) for n in (0, 1)}
        short = [Contender(str(n), side, hinted) for n, side in sides.items()]
        long = [Contender(f"batched {n}", side, batched) for n, side in sides.items()]
        if not setup.quick:
            long += [Contender(f"sequential {n}", side, hinted) for n, side in sides.items()]
        rows = {"short": _rows(setup, short, clips), "long": _rows(setup, long, recording, warm=clips[:1])}
    best = fastest(rows["short"], "")
    return {
        "rows": rows,
        "short": best,
        "sequential": fastest(rows["long"], "sequential ", best),
        "batched": fastest(rows["long"], "batched ", best),
    }


def short(setup: Setup, results: Results) -> Row:
    """Run the short clips one at a time, warm, the language given."""
    clips = every(setup.short, 10 if setup.quick else setup.every_nth)
    with ours(MODEL) as us, faster_whisper(str(setup.weights.base), results["threads"]["short"]) as them:
        pair = [Contender(OURS, us, hinted), Contender(FASTER, them, hinted)]
        return {"rows": _rows(setup, pair, clips, rounds=setup.rounds)}


def detect(setup: Setup, results: Results) -> Row:
    """Run a sixth of the short clips with the language left to be detected."""
    clips = every(setup.short, 24 if setup.quick else 6)
    with ours(MODEL) as us, faster_whisper(str(setup.weights.base), results["threads"]["short"]) as them:
        pair = [Contender(OURS, us, lambda _: {}), Contender(FASTER, them, lambda _: {})]
        return {"rows": _rows(setup, pair, clips, rounds=setup.rounds)}


def quality(setup: Setup, results: Results) -> Row:
    """Run a sixth of the short clips at each of our qualities."""
    clips = every(setup.short, 24 if setup.quick else 6)
    with ours(MODEL) as us:
        all_three = [
            Contender(f"{OURS} {name}", us, with_options(quality=name))
            for name in ("fast", "balanced", "best")
        ]
        return {"rows": _rows(setup, all_three, clips, rounds=setup.rounds)}


def long(setup: Setup, results: Results) -> Row:
    """Run the long recordings: faster-whisper in order, with its VAD, and batched."""
    recordings = shortest(setup.of("longform")) if setup.quick else setup.of("longform")
    chosen = results["threads"]
    with (
        ours(MODEL) as us,
        faster_whisper(str(setup.weights.base), chosen["sequential"]) as one,
        faster_whisper(str(setup.weights.base), chosen["batched"]) as many,
    ):
        contenders = [
            Contender(OURS, us, hinted),
            Contender(FASTER, one, hinted),
            Contender(f"{FASTER} vad_filter", one, with_options(vad_filter=True)),
            Contender(f"{FASTER} batched", many, batched),
            Contender(WORD_TIMES, us, with_options(times="word")),
            Contender(THEIR_WORD_TIMES, one, with_options(word_timestamps=True)),
        ]
        rows = _rows(setup, contenders, recordings, rounds=setup.rounds, warm=setup.short[:1])
    return {"rows": rows, "onsets": {e.audio: _onsets(e) for e in recordings if e.utterances}}


def _onsets(entry: Entry) -> dict[str, float]:
    """Return for each utterance, by its start, how many seconds later its voice can be heard."""
    samples = np.asarray(needed("faster_whisper.audio").decode_audio(str(entry.path)), np.float32)
    utterances = read_utterances(entry.utterances) if entry.utterances else ()
    return {str(u.start): round(onset_s(samples, u), 2) for u in utterances}


def music(setup: Setup, results: Results) -> Row:
    """Run songs and speech over music: our three ways to find voices, faster-whisper without VAD."""
    recordings = every(setup.music, 4 if setup.quick else 1)
    with ours(MODEL) as us, faster_whisper(str(setup.weights.base), results["threads"]["short"]) as them:
        contenders = [*_vad_modes(us), Contender(FASTER, them, hinted)]
        return {"rows": _rows(setup, contenders, recordings, rounds=setup.rounds, warm=setup.short[:1])}


def modes(setup: Setup, results: Results) -> Row:
    """Run everything with each of our ways to find voices; what other parts heard is not heard again."""
    speech = every(
        [e for e in setup.entries if e.set not in ("formats", "nonspeech")], 30 if setup.quick else 1
    )
    wanted = {(e.set, e.audio) for e in speech}
    known = [row for row in _heard_before(results) if (row["set"], row["audio"]) in wanted]
    found = {(row["side"], row["set"], row["audio"]) for row in known}
    with ours(MODEL) as us:
        for contender in _vad_modes(us):
            left = [e for e in speech if (contender.name, e.set, e.audio) not in found]
            known += _rows(setup, [contender], left, warm=setup.short[:1]) if left else []
    return {"rows": known}


def _heard_before(results: Results) -> Iterator[Row]:
    """Yield the rows of other parts that tell how we do with a `vad` mode; `auto` is the default."""
    for part in ("short", "long", "music"):
        for row in results[part]["rows"] if part in results and not results[part]["quick"] else ():
            if row["round"] == 0 and row["side"] == OURS:
                yield row | {"side": f"{OURS} vad=auto"}
            elif row["round"] == 0 and row["side"].startswith(f"{OURS} vad="):
                yield row


def nonspeech(setup: Setup, results: Results) -> Row:
    """Run recordings nobody speaks in; any text is a false alarm."""
    recordings = every(setup.of("nonspeech"), 3 if setup.quick else 1)
    with ours(MODEL) as us, faster_whisper(str(setup.weights.base), results["threads"]["short"]) as them:
        pair = [Contender(OURS, us, hinted), Contender(FASTER, them, hinted)]
        return {"rows": _rows(setup, pair, recordings, warm=setup.short[:1])}


def formats(setup: Setup, results: Results) -> Row:
    """Run every container and codec; figures.py says whether each did what its manifest expects."""
    recordings = every(setup.of("formats"), 4 if setup.quick else 1)
    with ours(MODEL) as us:
        us.ask({"audio": str(setup.short[0].path)})
        return {
            "answers": {e.audio: {"expect": e.expect, "text": e.text, **_heard(us, e)} for e in recordings}
        }


def _heard(side: Side, entry: Entry) -> Row:
    answer = side.ask({"audio": str(entry.path), **hinted(entry)})
    text = "".join(text for _, _, text in answer.get("segments", ())).strip()
    return {"heard": text, "error": answer.get("error", ""), "seconds": round(answer["seconds"], 4)}


def cold(setup: Setup, results: Results) -> Row:
    """Time whole processes, from start to text on standard output, in turn; memory in runs apart."""
    clip = min(setup.entries, key=lambda e: abs(e.duration_s - COLD_S) + (e.language is None) * 1e3)
    language = clip.language or "en"
    commands = {
        OURS: [
            *our_command(),
            *("transcribe", "--no-cache", str(clip.path), "--language", language, "--model", MODEL),
        ],
        FASTER: [
            sys.executable,
            str(_SIDES / "cold_faster_whisper.py"),
            str(setup.weights.base),
            str(clip.path),
            language,
        ],
    }
    pairs = 3 if setup.quick else 9
    for command in commands.values():
        run_cold(command)  # files into the page cache, bytecode on disk
    timed = [{name: _cost(command) for name, command in commands.items()} for _ in range(pairs)]
    weighed = [{name: _cost(command, memory=True) for name, command in commands.items()} for _ in range(3)]
    return {
        "audio": f"{clip.set}/{clip.audio}",
        "audio_s": clip.duration_s,
        "timed": timed,
        "weighed": weighed,
    }


def imports(setup: Setup, results: Results) -> Row:
    """Time `import` in fresh processes, less the start of Python itself."""
    found: dict[str, list[float]] = {"nothing": [], "whisper_lambda": [], "faster_whisper": []}
    for _ in range(3 if setup.quick else 9):
        for name, seconds in found.items():
            statement = "pass" if name == "nothing" else f"import {name}"
            seconds.append(round(run_cold([sys.executable, "-c", statement]).seconds, 4))
    return found


def openai(setup: Setup, results: Results) -> Row:
    """Run a few clips through openai-whisper, fp32, with its own defaults; it is slow."""
    shortest_s, longest_s = OPENAI_CLIPS_S
    fitting = [e for e in setup.short if shortest_s <= e.duration_s <= longest_s]
    clips = every(fitting, 48 if setup.quick else 12)
    decode = needed("faster_whisper.audio").decode_audio
    with tempfile.TemporaryDirectory(prefix="whisper-lambda-bench-") as folder:
        weights = Path(folder, "base.npz")
        write_openai_whisper(setup.weights.base, weights)
        program = str(_SIDES / "run_openai_whisper.py")
        for number, clip in enumerate(clips):
            np.asarray(decode(str(clip.path)), np.float32).tofile(Path(folder, f"{number}.f32"))
        samples = {clip.path: str(Path(folder, f"{n}.f32")) for n, clip in enumerate(clips)}
        with ours(MODEL) as us, Side([setup.openai_python, program, str(weights)]) as them:

            def ask(**how: Any) -> Job:  # noqa: ANN401 - fields of a job
                return lambda e: {"samples": samples[e.path], **hinted(e), **how}

            contenders = [Contender(OURS, us, hinted), Contender(f"{OPENAI} greedy", them, ask())]
            contenders.append(Contender(f"{OPENAI} beam 5", them, ask(beam_size=5)))
            return {"rows": _rows(setup, contenders, clips)}


def speed(setup: Setup, results: Results) -> Row:
    """Measure loading, encoding and decoding of `base` and of the true shape of `small`."""
    found = []
    for name, folder in (("base", setup.weights.int8), ("small, random weights", setup.weights.small)):
        for count in (1,) if setup.quick else (1, 2):
            program = "whisper_lambda.tools.sides.run_speed"
            cost = run_cold([sys.executable, "-m", program, str(folder), str(count), "80"])
            size_mb = Path(str(folder), "model.bin").stat().st_size / 1e6
            found.append({"model": name, "int8_mb": round(size_mb, 1), **json.loads(cost.output)})
    return {"measured": found}


def _vad_modes(side: Side) -> Iterable[Contender]:
    return [Contender(f"{OURS} vad={vad}", side, with_options(vad=vad)) for vad in ("auto", "on", "off")]


def _cost(command: Sequence[str], *, memory: bool = False) -> Row:
    cost = run_cold(command, memory=memory)
    found: Row = {
        "seconds": round(cost.seconds, 4),
        "cpu_s": round(cost.cpu_s, 3),
        "text": bool(cost.output.strip()),
    }
    if memory:
        found |= {"peak_rss_mb": round(cost.peak_rss_mb, 1), "peak_pss_mb": round(cost.peak_pss_mb, 1)}
    return found


def _rows(
    setup: Setup,
    contenders: Sequence[Contender],
    entries: Sequence[Entry],
    *,
    rounds: int = 1,
    warm: Sequence[Entry] = (),
) -> list[Row]:
    done = 0

    def told(row: Row) -> None:
        nonlocal done
        done += 1
        if done % len(contenders) == 0:
            setup.say(f"\r{done // len(contenders)}/{len(entries) * rounds}")

    return in_turn(contenders, entries, rounds=rounds, warm=warm, on_answer=told)


# What a part cannot do without; others run on any speech.
RECORDINGS: Mapping[str, Callable[[Setup], Sequence[Entry]]] = {
    "long": lambda setup: setup.of("longform"),
    "music": lambda setup: setup.music,
    "nonspeech": lambda setup: setup.of("nonspeech"),
    "formats": lambda setup: setup.of("formats"),
}

PARTS: Mapping[str, Part] = {
    "threads": threads,
    "short": short,
    "detect": detect,
    "quality": quality,
    "long": long,
    "music": music,
    "nonspeech": nonspeech,
    "modes": modes,
    "formats": formats,
    "cold": cold,
    "imports": imports,
    "openai": openai,
    "speed": speed,
}
