"""Run the `openai` SDK's own tests of audio and models against this server: `make test-sdk`.

python tests/sdk/suite.py FOLDER [PYTHON]

FOLDER is the unpacked source distribution of the SDK, PYTHON an interpreter that has it and pytest-asyncio.
The engine is the tests' fake one: what is proven is the shapes the SDK reads, loosely and strictly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "http"), str(HERE)]

from placeholders import Profile  # noqa: E402

from fakes import FakeEngine, fake_service  # noqa: E402
from serving import served, wav  # noqa: E402
from whisper_lambda.http.app import create_app  # noqa: E402

TESTS = [
    "tests/api_resources/audio/test_transcriptions.py",
    "tests/api_resources/audio/test_translations.py",
    "tests/api_resources/test_models.py",
]
# No model of ours is the client's to delete, and there is no such route.
NOT_OURS = "not (delete and not path_params)"


def main() -> int:
    """Serve, run the suite, and pass on its exit code."""
    folder = Path(sys.argv[1])
    python = Path(sys.argv[2] if len(sys.argv) > 2 else sys.executable).absolute()
    with fake_service(FakeEngine()) as service:
        app = create_app(service, service.settings)
        with served(Profile(app, wav())) as address:
            command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", NOT_OURS, *TESTS]
            env = os.environ | {"TEST_API_BASE_URL": f"{address}/v1"}
            return subprocess.run(command, cwd=folder, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
