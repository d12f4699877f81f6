"""The recordings of tests/fixtures, and what is said in them."""

import json
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One recording of tests/fixtures, and what is said in it."""

    path: Path
    language: str
    text: str
    duration_s: float


def read_prompts() -> list[Prompt]:
    """Return every bundled recording, Spanish first."""
    lines = (FIXTURES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Prompt(
            path=FIXTURES / line["audio"],
            language=line["language"],
            text=line["text"],
            duration_s=line["duration_s"],
        )
        for line in map(json.loads, lines)
    ]
