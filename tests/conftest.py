"""What every test may ask for: the recordings, here and beside the repository."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from prompts import Prompt, read_prompts

# A suite started in the background of a script inherits "ignore" for Ctrl-C, and so would every process
# it starts: those that must obey one would not.
signal.signal(signal.SIGINT, signal.default_int_handler)


# The same examples in every run, and no bound on time: what a run says is to depend on the code alone, not
# on luck or on how busy the machine is. `make properties` looks for examples nobody has tried yet.
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("new", deadline=None, suppress_health_check=SLOW, print_blob=True)
settings.load_profile("new" if "PROPERTIES" in os.environ else "same")

ROOT = Path(__file__).parents[1]
SPEECH = ROOT.parent / "shared" / "speech"
VENV_AWS = ROOT / ".venv-aws"


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    """The bundled recordings, Spanish first."""
    return read_prompts()


@pytest.fixture(scope="session")
def spanish() -> Prompt:
    """The Spanish recording `make run` transcribes: 14.7 s, 16 kHz."""
    return read_prompts()[0]


@pytest.fixture(scope="session")
def english() -> Prompt:
    """The English recording `make run` transcribes: 9.0 s, 16 kHz."""
    return next(p for p in read_prompts() if p.language == "en")


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
    os.environ["WHISPER_LAMBDA_CACHE_MB"] = "0"  # of programs started here: what they say is to be heard now


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `speech` or `aws` where what it needs is absent."""
    needs = {
        "speech": (SPEECH, "the evaluation recordings (../shared/speech) are not here"),
        "aws": (VENV_AWS / "bin" / "ministack", "needs .venv-aws: make test-aws"),
    }
    for name, (path, reason) in needs.items():
        for item in items if not path.exists() else ():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
