"""What a Lambda environment begins first: what takes long and needs no application.

Importing the application and loading the weights take about as long as each other, and neither waits
for the other. So this module imports no application: it is what the entry point imports first.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from whisper_lambda.audio import vad
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.errors import WhisperLambdaError

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
    service = build(on_lambda(settings))
    if role in HEARING:
        service.decoders.warm()
        threading.Thread(target=_load, args=(service,), name="load", daemon=True).start()
    return service


def _load(service: Service) -> None:
    with contextlib.suppress(WhisperLambdaError), service.router.engine():
        pass
    with contextlib.suppress(WhisperLambdaError):
        vad.warm()
