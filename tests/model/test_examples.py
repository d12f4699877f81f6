"""Every file of examples/ runs as its docstring says, on the bundled recordings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[2]
EXAMPLES = {  # what each prints somewhere; sentences that every engine hears alike
    "transcribe_folder.py": "en-ss-noservice.flac [en] The number you have dialed is not in service",
    "word_times.py": "teléfono",
}


def test_every_example_is_run() -> None:
    assert {p.name for p in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs_from_anywhere(example: str, tmp_path: Path) -> None:
    env = os.environ | {"WHISPER_LAMBDA_MODEL": "base", "WHISPER_LAMBDA_HUB": "false"}
    command = [sys.executable, str(ROOT / "examples" / example)]
    run = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
    )

    assert run.returncode == 0, run.stderr
    assert EXAMPLES[example] in run.stdout
