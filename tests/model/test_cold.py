"""A cold start of the command line: what it does without."""

import subprocess
import sys
from pathlib import Path

FIXTURE = Path(__file__).parents[1] / "fixtures" / "en-tt-allbusy.flac"
CODE = (
    "import sys\nfrom whisper_lambda.cli import run\nrun(sys.argv[1:])\n"
    "print(*sorted(sys.modules), file=sys.stderr)"
)
# Each was once imported by a recording that had no use for it; together a fifth of all importing.
UNUSED = {
    "numpy.ma",
    "onnxruntime",
    "whisper_lambda.adapters.dynamodb_ledger",
    "whisper_lambda.adapters.s3",
    "whisper_lambda.economy.prices",
    "whisper_lambda.live",
    "rich",
    "typer",
}


def test_a_short_recording_imports_nothing_it_has_no_use_for() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, "transcribe", "--no-cache", "--model", "base", str(FIXTURE)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "representatives" in ran.stdout
    assert not UNUSED.intersection(ran.stderr.split())
