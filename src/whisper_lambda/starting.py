"""Settings in; models and decoders out, what takes long already on its way: a cold start's first step.

Hashing and loading weights holds no lock of Python's, importing does. So this module imports no more
than loading needs, and whoever calls `ahead` imports the rest of the program meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from functools import partial

from whisper_lambda import machine
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.config import Settings
from whisper_lambda.errors import WhisperLambdaError
from whisper_lambda.models.router import Router
from whisper_lambda.models.sources import Progress, quiet
from whisper_lambda.models.store import Installed
from whisper_lambda.ports import Engine


@dataclass(frozen=True, slots=True)
class Started:
    """What a service is built on."""

    router: Router
    decoders: DecoderPool


def start(settings: Settings, *, progress: Progress = quiet) -> Started:
    """Return models and decoders; nothing is loaded and no process started before it is needed.

    Args:
        settings: what the operator decided.
        progress: told of weights as they are fetched, on whichever thread fetches them.
    """
    machine.few_arenas(1)  # before the first thread: it would get a heap of its own
    machine.lean_heap()  # the engine says when what is freed is worth keeping
    machine.one_product_thread()
    router = Router(settings, partial(_engine, settings), progress=progress)
    return Started(router, DecoderPool(settings.decoders, settings.scratch))


def ahead(started: Started, model: str | None = None, *, fetch: bool = False) -> None:
    """Start the decoding process and begin to load the model; return once the engine's code is here.

    Whoever asks the router for the model waits for that load; if it fails, asking again says why.

    Args:
        started: what `start` gave.
        model: tier or alias wished for; None = the settings' default.
        fetch: load the model even if it must be fetched first; else only what is on this disk.
    """
    started.decoders.warm()
    threading.Thread(target=_load, args=(started.router, model, fetch), name="load", daemon=True).start()
    from whisper_lambda.engine.ctranslate2 import library  # beside the hashing of the weights

    library()


def _load(router: Router, model: str | None, fetch: bool) -> None:
    with contextlib.suppress(WhisperLambdaError):
        if fetch or router.here(model):
            with router.engine(model):
                pass


def _engine(settings: Settings, installed: Installed) -> Engine:
    from whisper_lambda.engine.ctranslate2 import Ctranslate2Engine

    return Ctranslate2Engine(installed, settings)
