import pytest

from whisper_lambda.audio.decode import Limits
from whisper_lambda.audio.sandbox import DecoderPool


@pytest.fixture(scope="module")
def decoders():
    with_decoders = DecoderPool(1)
    with_decoders.warm()
    yield with_decoders
    with_decoders.close()


@pytest.fixture
def limits():
    return Limits(max_seconds=600.0, max_bytes=100_000_000, timeout_s=20.0)
