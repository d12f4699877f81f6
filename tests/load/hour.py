"""A live session that lasts: looped speech with pauses, as fast as it decodes; then an hour of silence.

python tests/load/hour.py --minutes 60 --out docs/live-hour.md
"""

import argparse
import json
import resource
import statistics
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from whisper_lambda.bootstrap import build
from whisper_lambda.config import Settings
from whisper_lambda.live.pace import PACES
from whisper_lambda.live.session import Committed, Session
from whisper_lambda.tools.scoring import error_rate, loops, normalise
from whisper_lambda.types import SAMPLE_RATE, Options

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ("es-tt-allbusy", "en-tt-allbusy")
STATUS = Path("/proc/self/status")


def rss_mb() -> float:
    """Memory of this process now."""
    if STATUS.exists():
        line = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=60.0)
    asked.add_argument("--pause", type=float, default=2.0, help="seconds between one voice and the next")
    asked.add_argument("--out", type=Path, default=Path("docs/live-hour.md"))
    how = asked.parse_args()
    rows = map(json.loads, (FIXTURES / "prompts.jsonl").read_text().splitlines())
    known = {Path(row["audio"]).stem: row["text"] for row in rows}
    with build(Settings(model="base", threads=1)) as service, service.router.engine("base") as (engine, _):
        pause = np.zeros(round(how.pause * SAMPLE_RATE), np.float32)
        voices = [service.decode(FIXTURES / f"{name}.flac").samples for name in NAMES]
        turn = np.concatenate([part for voice in voices for part in (voice, pause)])
        turn_s = len(turn) / SAMPLE_RATE
        turns = max(3, round(how.minutes * 60 / turn_s))
        session = Session(engine, Options(), pace=PACES["low"])
        words, memory, began = [], [], time.process_time()
        for n in range(turns):
            for at in range(0, len(turn), 1600):
                words += [
                    w for e in session.feed(turn[at : at + 1600]) if isinstance(e, Committed) for w in e.words
                ]
            memory.append(rss_mb())
            print(f"\r{n + 1}/{turns} turns, {memory[-1]:.0f} MB", end="", flush=True)
        cpu_s = time.process_time() - began
        silent = Session(engine, Options())
        asked_of, began = [], time.process_time()
        for _ in range(3600):
            asked_of += silent.feed(np.zeros(SAMPLE_RATE, np.float32))
        silent_s = time.process_time() - began
    found = figures(words, memory, turn_s, " ".join(known[n] for n in NAMES))
    found["processor seconds per audio second"] = (f"{cpu_s / (turns * turn_s):.3f}", "")
    share = 100 * silent_s / 3600
    found["an hour of silence: events, share of a core"] = (f"{len(asked_of)}, {share:.2f} %", "0, < 2 %")
    rows = "\n".join(f"| {what} | {value} | {bar} |" for what, (value, bar) in found.items())
    how.out.write_text(
        HEAD.format(
            minutes=turns * turn_s / 60, pause=how.pause, date=time.strftime("%Y-%m-%d", time.gmtime())
        )
        + rows
        + "\n",
        encoding="utf-8",
    )
    print(f"\n{how.out}")


HEAD = """# A live session that lasts
<!-- Written by tests/load/hour.py (`make live-hour`). -->

{minutes:.0f} minutes of a Spanish and an English voice in turn, with pauses of {pause:.0f} s, the language
heard for each utterance, model base, delay `low`, as fast as it decodes. {date}.

| what | measured | bar |
|---|---|---|
"""


def figures(words, memory, turn_s, reference) -> dict[str, tuple[str, str]]:
    """Return what was measured and its bar, by name."""
    turns = len(memory)
    of_turn = defaultdict(list)
    for word in words:
        of_turn[int(word.start // turn_s)].append(word)
    said = [" ".join(w.text.strip() for w in of_turn[n]) for n in range(turns)]
    wanted = normalise(reference, "es")
    wers = [100 * error_rate([wanted], [normalise(text, "es")]).wer for text in said]
    # A word's place in its turn is the same in every turn, unless the clock drifts.
    places = defaultdict(list)
    for n in range(turns):
        for i, word in enumerate(of_turn[n]):
            places[i, word.text].append(word.start - n * turn_s)
    # Windows fall differently in each turn, and a word that is heard in two ways has two places: medians of a
    # quarter of the turns tell a clock that moves from a word that hops.
    some = max(3, turns // 4)
    drifts = [
        1000 * abs(statistics.median(seen[-some:]) - statistics.median(seen[:some]))
        for seen in places.values()
        if len(seen) > turns / 2
    ]
    later = memory[len(memory) // 4 :]
    slope = float(np.polyfit(np.arange(len(later)) * turn_s / 3600, later, 1)[0])
    looping = sum(loops(text, "es") for text in said)
    ordered = all(a.start <= b.start for a, b in pairwise(words))
    return {
        "memory: slope after the first quarter": (
            f"{slope:+.1f} MB an hour ({memory[0]:.0f} MB after a turn, {memory[-1]:.0f} MB at the end)",
            "flat",
        ),
        "drift of word times, first quarter of turns against last: median, worst": (
            f"{statistics.median(drifts):.0f} ms, {max(drifts):.0f} ms of {len(drifts)} words",
            "< 100 ms",
        ),
        "repetition loops": (str(looping), "0"),
        "words in order": (f"{'yes' if ordered else 'NO'} ({len(words)} words)", "yes"),
        "WER of a turn: first, median, last": (
            f"{wers[0]:.1f}, {statistics.median(wers):.1f}, {wers[-1]:.1f}",
            "the same",
        ),
    }


if __name__ == "__main__":
    main()
