"""`whisper-lambda` as its users start it, with a FakeEngine inside. FAKE_* in the environment set it up."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine, fake_service
from whisper_lambda.cli import main


def build(settings):
    engine = FakeEngine(
        text=os.environ.get("FAKE_TEXT", " Hola a todos."),
        delay_s=float(os.environ.get("FAKE_DELAY_S", "0")),
        drops="FAKE_DROPS" in os.environ,
    )
    return fake_service(engine, settings, served=os.environ.get("FAKE_SERVED", ""))


if __name__ == "__main__":
    main(build=build)
