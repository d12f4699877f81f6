"""The network for full windows against CTranslate2's encoder, on real weights and a real recording."""

from difflib import SequenceMatcher

import numpy as np
import pytest

from samples import bundled
from weights import loaded
from whisper_lambda import machine
from whisper_lambda.config import Settings
from whisper_lambda.types import Chunk, Options

pytestmark = pytest.mark.model


def test_a_full_window_says_the_same_whichever_encoder_hears_it() -> None:
    if not machine.has_vnni():
        pytest.skip("this processor has one encoder only")
    recording = np.concatenate(bundled()[:3])[: 28 * 16_000]
    heard = []
    for onnx in (True, False):
        with loaded("base", Settings(onnx_encoder=onnx)) as engine:
            assert ("onnxruntime" in engine.version) is onnx
            heard.append(engine.transcribe(Chunk(recording, 0.0), Options(language="es", times="words")))

    words = [[w for s in h.segments for w in s.words] for h in heard]
    matcher = SequenceMatcher(None, *[[w.text.lower() for w in said] for said in words], autojunk=False)
    assert matcher.ratio() > 0.9
    same = [(a + n, b + n) for a, b, length in matcher.get_matching_blocks() for n in range(length)]
    assert len(same) > 40
    apart_s = [abs(words[0][a].start - words[1][b].start) for a, b in same]
    assert np.median(apart_s) <= 0.06
    assert np.quantile(apart_s, 0.9) <= 0.25
