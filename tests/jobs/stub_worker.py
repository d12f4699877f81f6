"""The command line with an engine that takes its time and says where it is: a real worker otherwise.

The engine is timed, not silent: a chunk takes DELAY_S, and every call is noted in a file.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine, fake_service
from whisper_lambda.cli import main


def build(settings):
    log = os.environ.pop("STUB_LOG", None)

    def note() -> None:
        if log:
            with Path(log).open("a") as file:  # one write: lines of several workers do not mix
                file.write(f"{os.getpid()}\n")

    engine = FakeEngine(delay_s=float(os.environ.get("STUB_DELAY_S", "0.1")), echo=True, began=note)
    return fake_service(engine, settings)


if __name__ == "__main__":
    main(build=build)
