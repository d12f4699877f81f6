"""A real voice for what listens to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import fake_service
from whisper_lambda.types import Samples

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="session")
def voice() -> Samples:
    """Somebody speaking Spanish for 14.7 s, 16 kHz."""
    with fake_service() as service:
        return service.decode(FIXTURES / "es-tt-allbusy.flac").samples
