"""What every test may ask for: the recordings, here and beside the repository."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: how long one example takes says more about a busy machine than about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
SPEECH = ROOT.parent / "shared" / "speech"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One recording of tests/fixtures, and what is said in it."""

    path: Path
    language: str
    text: str
    duration_s: float


def _prompts() -> list[Prompt]:
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


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """The bundled recordings, Spanish first."""
    return _prompts()


@pytest.fixture(scope="session")
def spanish() -> Prompt:
    """The Spanish recording `make run` transcribes: 14.7 s, 16 kHz."""
    return _prompts()[0]


@pytest.fixture(scope="session")
def english() -> Prompt:
    """The English recording `make run` transcribes: 9.0 s, 16 kHz."""
    return next(p for p in _prompts() if p.language == "en")


@pytest.fixture(scope="session")
def speech() -> Path:
    """The evaluation recordings kept beside the repository."""
    if not SPEECH.is_dir():
        pytest.skip("the evaluation recordings (../shared/speech) are not here")
    return SPEECH


def pytest_configure() -> None:
    """Forget the operator's settings: a test that needs one sets it."""
    for name in [n for n in os.environ if n.startswith("WHISPER_LAMBDA_")]:
        del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `speech` where those recordings are absent."""
    if SPEECH.is_dir():
        return
    absent = pytest.mark.skip(reason="the evaluation recordings (../shared/speech) are not here")
    for item in items:
        if item.get_closest_marker("speech"):
            item.add_marker(absent)
