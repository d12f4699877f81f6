"""What a Lambda environment begins first: what takes long and needs no application.

Importing the application and loading the weights take about as long as each other, and neither waits
for the other. So this module imports no application: it is what the entry point imports first.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from whisper_lambda import starting
from whisper_lambda.audio import vad
from whisper_lambda.config import Settings
from whisper_lambda.errors import WhisperLambdaError

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service

# What a function is for is its image's command. Those that hear load the model before their first event.
ROLES = ("api", "events", "plan", "chunk", "merge")
HEARING = frozenset({"api", "chunk"})


def on_lambda(settings: Settings) -> Settings:
    """Return the settings as they must be where processes are frozen and copied."""
    return replace(
        settings,
        probe_every_s=0.0,  # a frozen process probes nothing; warm-ups do
        live_secret=settings.live_secret or settings.keys or "",  # what all environments have in common
    )


def begin(settings: Settings, role: str) -> Service:
    """Return the service; where the role hears, its model is being loaded meanwhile.

    Whoever asks the router for an engine waits for that load; if it fails, asking again says why.
    """
    settings = on_lambda(settings)
    started = starting.start(settings)
    if role in HEARING:
        starting.ahead(started, fetch=True)
        threading.Thread(target=_voices, name="voices", daemon=True).start()
    from whisper_lambda.bootstrap import build

    return build(settings, started=started)


def _voices() -> None:
    with contextlib.suppress(WhisperLambdaError):
        vad.warm()
