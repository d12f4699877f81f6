"""Recordings in; what a small tier, a large one and the cascade of both say, and what each takes, out.

python -m whisper_lambda.tools.ladder MANIFEST... [--every N] prints the table of docs/decisions/0010.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.models.cascade import AUTO
from whisper_lambda.tools.evaluate import judged, normalised, pooled_short
from whisper_lambda.tools.manifest import Entry, read_manifests
from whisper_lambda.tools.scoring import error_rate
from whisper_lambda.types import Options, Samples


@dataclass(slots=True)
class Tier:
    """What one tier made of all recordings."""

    name: str
    words: int = 0
    wrong: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    escalated: int = 0  # recordings the last tier had to hear

    @property
    def wer(self) -> float:
        """Wrong words for each word of the references, in per cent."""
        return 100 * self.wrong / self.words if self.words else 0.0


def measured(entries: Sequence[Entry], ladder: Sequence[str]) -> list[Tier]:
    """Hear every recording by each tier of the ladder and by the cascade, turning about.

    Args:
        entries: recordings with references; the language is the manifest's.
        ladder: tiers, the cheapest first; `auto` runs over them.
    """
    tiers = [Tier(name) for name in (*ladder, AUTO)]
    settings = replace(Settings.from_env(), ladder=tuple(ladder), cache_mb=0)
    with build(settings) as service:
        for turn, entry in enumerate(entries):
            samples = service.decode(entry.path).samples
            if not turn:  # weights are loaded, arrays made
                for tier in tiers:
                    _heard(service, entry, Tier(tier.name), samples)
            for n in range(len(tiers)):
                _heard(service, entry, tiers[(n + turn) % len(tiers)], samples)
    return tiers


def _heard(service: Service, entry: Entry, tier: Tier, samples: Samples) -> None:
    options = Options(language=entry.language_hint)
    cpu, wall = time.process_time(), time.perf_counter()
    transcript = service.transcribe(samples, options, model=tier.name, tenant=None)
    tier.cpu_s += time.process_time() - cpu
    tier.wall_s += time.perf_counter() - wall
    tier.escalated += tier.name == AUTO and service.settings.ladder[-1] in transcript.served
    reference, text = normalised(judged(entry, transcript, 0.0), numbers=True)
    rate = error_rate([reference], [text])
    tier.words += rate.words
    tier.wrong += rate.substitutions + rate.insertions + rate.deletions


def table(tiers: Sequence[Tier], count: int) -> Iterator[str]:
    """Yield the Markdown table; times are also told as shares of the largest tier's."""
    largest = tiers[-2]
    yield f"| | WER % | processor time | {largest.name} = 1 | on the clock | heard twice |"
    yield "|---|---|---|---|---|---|"
    for t in tiers:
        again = f"{t.escalated} of {count}" if t.name == AUTO else ""
        yield (
            f"| {t.name} | {t.wer:.2f} | {t.cpu_s:.1f} s | {t.cpu_s / largest.cpu_s:.2f} | "
            f"{t.wall_s / largest.wall_s:.2f} | {again} |"
        )


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m whisper_lambda.tools.ladder")
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take each Nth short recording")
    parser.add_argument("--ladder", default="tiny.en,base", help="tiers, the cheapest first")
    given = parser.parse_args(arguments)
    ladder = given.ladder.split(",")
    entries = [e for e in pooled_short(read_manifests(given.manifests)) if e.text]
    if any(name.endswith(".en") for name in ladder):
        entries = [e for e in entries if e.language_hint == "en"]
    entries = entries[:: given.every]
    said = [f"{len(entries)} recordings, {sum(e.duration_s for e in entries):.0f} s"]
    said += table(measured(entries, ladder), len(entries))
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
