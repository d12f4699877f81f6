"""Silero's network by numpy: what ONNX Runtime makes of the same file, and nothing of another file."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from samples import bundled
from whisper_lambda.audio import silero
from whisper_lambda.audio.silero import CONTEXT, FRAME, Network, network, tensors
from whisper_lambda.errors import EngineFailed
from whisper_lambda.types import SAMPLE_RATE

FILE = silero.weights_file()


def rows(count: int) -> np.ndarray:
    """Frames of real speech, loud and quiet ones."""
    speech = np.concatenate(bundled())
    at = np.linspace(0, len(speech) - FRAME - CONTEXT, count).astype(int)
    return np.stack([speech[i : i + FRAME + CONTEXT] for i in at]).astype(np.float32)


@pytest.mark.parametrize("streams", [1, 7])
def test_the_network_hears_what_onnx_runtime_hears(streams: int) -> None:
    session = onnxruntime.InferenceSession(str(FILE), providers=["CPUExecutionProvider"])
    rate = np.array(SAMPLE_RATE, np.int64)
    state = np.zeros((2, streams, silero.STATE), np.float32)
    theirs = state
    for frames in rows(streams * 40).reshape(40, streams, -1):
        ours, state = network().heard(frames, state)
        expected, theirs = session.run(None, {"input": frames, "state": theirs, "sr": rate})
        assert ours == pytest.approx(expected[:, 0], abs=1e-4)
        assert state == pytest.approx(theirs, abs=1e-3)
    assert ours.dtype == state.dtype == np.float32


def test_deafening_noise_gives_a_probability_and_no_warning() -> None:
    loud = np.full((1, FRAME + CONTEXT), 1e6, np.float32)
    speech, _ = network().heard(loud, np.zeros((2, 1, silero.STATE), np.float32))
    assert 0 <= speech[0] <= 1


@pytest.mark.parametrize("cut", [1, 100, 300_000])
def test_a_file_cut_off_is_refused_by_name(cut: int) -> None:
    with pytest.raises(EngineFailed, match="voice detector"):
        Network(tensors(FILE.read_bytes()[:cut]))


def test_weights_of_another_shape_are_refused_by_name() -> None:
    weights = tensors(FILE.read_bytes())
    weights["model.decoder.rnn.bias_ih"] = np.zeros(3, np.float32)
    with pytest.raises(EngineFailed, match=r"rnn\.bias_ih"):
        Network(weights)


def test_its_products_run_on_the_thread_that_asks() -> None:
    """In a process of its own: others have told the library before."""
    libraries = sorted(Path(np.__file__).parents[1].glob("numpy.libs/libscipy_openblas*"))
    if not libraries or not hasattr(ctypes.CDLL(str(libraries[0])), "scipy_openblas_get_num_threads64_"):
        pytest.skip("numpy multiplies with another library here")
    code = (
        "import ctypes; from whisper_lambda.audio.silero import network; network()\n"
        f"print(ctypes.CDLL({str(libraries[0])!r}).scipy_openblas_get_num_threads64_())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "1"
