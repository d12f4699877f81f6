"""A live session that lasts: looped speech with pauses, as fast as it decodes; then an hour of silence.

python tests/load/hour.py --minutes 60 --out docs/live-hour.md
"""

import argparse
import json
import resource
import statistics
import time
from collections import defaultdict
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
PAUSE_S = 2.0
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
    asked.add_argument("--out", type=Path, default=Path("docs/live-hour.md"))
    how = asked.parse_args()
    known = {
        Path(r["audio"]).stem: r for r in map(json.loads, (FIXTURES / "prompts.jsonl").read_text().splitlines())
    }
    with build(Settings(model="base", threads=1)) as service, service.router.engine("base") as (engine, _):
        pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
        voices = [service.decode(FIXTURES / f"{name}.flac").samples for name in NAMES]
        turn = np.concatenate([part for voice in voices for part in (voice, pause)])
        turn_s = len(turn) / SAMPLE_RATE
        turns = max(3, round(how.minutes * 60 / turn_s))
        session = Session(engine, Options(), pace=PACES["medium"])
        words, memory, began = [], [], time.process_time()
        for n in range(turns):
            for at in range(0, len(turn), 1600):
                words += [w for e in session.feed(turn[at : at + 1600]) if isinstance(e, Committed) for w in e.words]
            memory.append(rss_mb())
            print(f"\r{n + 1}/{turns} turns, {memory[-1]:.0f} MB", end="", flush=True)
        cpu_s = time.process_time() - began
        silent = Session(engine, Options())
        asked_of, began = [], time.process_time()
        for _ in range(3600):
            asked_of += silent.feed(np.zeros(SAMPLE_RATE, np.float32))
        silent_s = time.process_time() - began
    write(how.out, words, memory, turn_s, turns, cpu_s, len(asked_of), silent_s, [known[n] for n in NAMES])


def write(out, words, memory, turn_s, turns, cpu_s, silent_events, silent_s, references) -> None:
    """Write the page."""
    of_turn = defaultdict(list)
    for word in words:
        of_turn[int(word.start // turn_s)].append(word)
    said = [" ".join(w.text.strip() for w in of_turn[n]) for n in range(turns)]
    reference = normalise(" ".join(r["text"] for r in references), "es")
    wers = [100 * error_rate([reference], [normalise(text, "es")]).wer for text in said]
    # A word's place in its turn is the same in every turn, unless the clock drifts.
    places = defaultdict(list)
    for n in range(turns):
        for i, word in enumerate(of_turn[n]):
            places[i, word.text].append((n, word.start - n * turn_s))
    drifts = [
        abs(statistics.median(s for _, s in seen[-3:]) - statistics.median(s for _, s in seen[:3]))
        for seen in places.values()
        if len(seen) > turns / 2
    ]
    half = memory[len(memory) // 4 :]
    slope = float(np.polyfit(np.arange(len(half)) * turn_s / 3600, half, 1)[0])
    looping = sum(loops(text, "es") for text in said)
    ordered = all(a.start <= b.start for a, b in zip(words, words[1:], strict=False))
    out.write_text(
        f"""# A live session that lasts
<!-- Written by tests/load/hour.py (`make live-hour`). -->

{turns * turn_s / 60:.0f} minutes of a Spanish and an English voice in turn, with pauses of {PAUSE_S:.0f} s, the language heard
for each utterance, model base, delay `medium`, as fast as it decodes ({time.strftime("%Y-%m-%d", time.gmtime())}).

| what | measured | bar |
|---|---|---|
| memory: slope after the first quarter | {slope:+.1f} MB an hour ({memory[0]:.0f} MB after a turn, {memory[-1]:.0f} MB at the end) | flat |
| drift of word times, first turns against last: median, worst | {1000 * statistics.median(drifts):.0f} ms, {1000 * max(drifts):.0f} ms of {len(drifts)} words | < 100 ms |
| repetition loops | {looping} | 0 |
| words in order | {"yes" if ordered else "NO"} ({len(words)} words) | yes |
| WER of a turn: first, median, last | {wers[0]:.1f}, {statistics.median(wers):.1f}, {wers[-1]:.1f} | the same |
| processor seconds per audio second | {cpu_s / (turns * turn_s):.3f} | |
| an hour of silence: events, share of a core | {silent_events}, {100 * silent_s / 3600:.2f} % | 0, < 2 % |
""",
        encoding="utf-8",
    )
    print(f"\n{out}")


if __name__ == "__main__":
    main()
