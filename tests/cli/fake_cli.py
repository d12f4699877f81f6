"""`whisper-lambda` as its users start it, with a FakeEngine inside. FAKE_* in the environment set it up."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine, fake_service
from whisper_lambda.cli import main


def say_busy():
    os.write(2, b"busy\n")


def build(settings):
    env = os.environ
    engine = FakeEngine(
        text=env.get("FAKE_TEXT", " Hola a todos."),
        delay_s=float(env.get("FAKE_DELAY_S", "0")),
        quick_s=float(env.get("FAKE_QUICK_S", "0")),
        serial="FAKE_SERIAL" in env,
        echo="FAKE_ECHO" in env,
        fails="FAKE_FAILS" in env,
        drops="FAKE_DROPS" in env,
        began=say_busy if "FAKE_SAYS_BUSY" in env else lambda: None,
    )
    return fake_service(engine, settings, served=env.get("FAKE_SERVED", ""))


if __name__ == "__main__":
    main(build=build)
