"""Whisper's encoder for full windows, at half the positions from its middle on, on ONNX Runtime.

CTranslate2 writes every score of 1,500 positions against 1,500 to memory, and that is half of what a
long recording costs. ONNX Runtime's attention keeps them in the cache. And the decoder is shown the
mean of two positions of a full window anyway (policy.POOL): taking the mean half-way through the
layers, instead of at the end, halves what the later ones compute and loses no words (docs/log.md,
2026-11-29; docs/decisions/0012).

The weights are the int8 rows CTranslate2 computes with. Their inputs are rounded to 8 bits, too: all
of a matrix's with one scale, but those of each feed-forward's second matrix with a scale for each
position, since a few of them dwarf the rest.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import inference
from whisper_lambda.engine.onnx_graph import MICROSOFT, Attribute, Graph
from whisper_lambda.models.manifest import Installed, verified_arrays

HALF = 127  # largest magnitude of a rounded number; the zero lies at HALF + 1
EPSILON = 1e-5  # of every normalisation, as in openai/whisper

Weights = Mapping[str, NDArray[np.generic]]  # names of model.bin, after `encoder/`


class FullWindows:
    """Encodes full windows; reads its weights with the first one, which costs 0.3 s for base.

    Safe to call from many threads; each call runs on its caller's.
    """

    def __init__(self, installed: Installed) -> None:
        """Hold the verified file open: it stays what it was if the model is replaced or removed."""
        self._installed = installed
        self._file = os.open(installed.path / "model.bin", os.O_RDONLY)
        self._shut = weakref.finalize(self, os.close, self._file)
        self._opening = threading.Lock()
        self._session: Any = None

    def encode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (1, frames / 4, width) for a log-mel spectrogram of shape (1, bins, frames).

        Raises:
            ModelCorrupt: the weights are no longer those that were verified.
        """
        with self._opening:
            if self._session is None:
                with os.fdopen(os.dup(self._file), "rb") as file:
                    weights = verified_arrays(self._installed, file, "encoder/")
                self._session = inference.opened(_network(weights))
                self._shut()
        encoded: NDArray[np.float32] = self._session.run(None, {"mel": mel})[0]
        return encoded

    def close(self) -> None:
        """Free the network."""
        self._session = None
        self._shut()


def _network(weights: Weights) -> bytes:
    writer = _Writer(weights)
    layers = len({name.split("/")[0] for name in weights if name.startswith("layer_")} - {"layer_norm"})
    x = writer.stem()
    for layer in range(layers):
        x = writer.layer(f"layer_{layer}", writer.halved(x) if layer == layers // 2 else x)
    writer.graph.add("Identity", [writer.as_batch(writer.normalised(x, "layer_norm"))], "encoded")
    return writer.graph.model({"mel": (1, writer.bins, "frames")}, "encoded")


class _Writer:
    """Writes the network down, part by part; between its parts stand (positions, width) numbers."""

    def __init__(self, weights: Weights) -> None:
        self.graph = Graph()
        self._weights = weights
        self.width, self.bins, _ = weights["conv1/weight"].shape
        self._heads = int(weights["num_heads"])
        self._count = 0

    def stem(self) -> str:
        """Two convolutions, the second of stride two, and where each position lies."""
        x = "mel"
        for conv, stride in ("conv1", 1), ("conv2", 2):
            parts = [x, self._own(f"{conv}/weight"), self._own(f"{conv}/bias")]
            x = self._add("Conv", parts, kernel_shape=(3,), pads=(1, 1), strides=(stride,))
            x = self._add(f"{MICROSOFT}.Gelu", [x])
        x = self._add("Reshape", [self._add("Transpose", [x], perm=(0, 2, 1)), self._sizes(-1, self.width)])
        count = self._add("Shape", [x], start=0, end=1)
        zero = self.graph.constant("zero", np.array([0], np.int64))
        places = self._own("position_encodings/encodings")
        return self._add("Add", [x, self._add("Slice", [places, zero, count, zero])])

    def halved(self, x: str) -> str:
        """Put the mean of each two positions in their place."""
        pairs = self._add("Reshape", [x, self._sizes(-1, 2, self.width)])
        return self._add("ReduceMean", [pairs, self._sizes(1)], keepdims=0)

    def layer(self, name: str, x: str) -> str:
        """Attention, then feed-forward, each added to what it was given."""
        h = self.normalised(x, f"{name}/self_attention/layer_norm")
        h = self.as_batch(self._rounded_once(h, f"{name}/self_attention/linear_0"), 3 * self.width)
        parts = [f"{name}/{part}" for part in ("queries", "keys", "values")]
        self.graph.add("Split", [h], parts, axis=2, num_outputs=3)
        h = self._add(f"{MICROSOFT}.MultiHeadAttention", parts, num_heads=self._heads)
        h = self._add("Reshape", [h, self._sizes(-1, self.width)])
        x = self._add("Add", [x, self._rounded_once(h, f"{name}/self_attention/linear_1")])
        h = self.normalised(x, f"{name}/ffn/layer_norm")
        h = self._add(f"{MICROSOFT}.Gelu", [self._rounded_once(h, f"{name}/ffn/linear_0")])
        return self._add("Add", [x, self._rounded_by_position(h, f"{name}/ffn/linear_1")])

    def normalised(self, x: str, name: str) -> str:
        """Each position's numbers with mean 0 and variance 1, then scaled and moved as was learned."""
        parts = [x, self._own(f"{name}/gamma"), self._own(f"{name}/beta")]
        return self._add("LayerNormalization", parts, axis=-1, epsilon=EPSILON)

    def as_batch(self, x: str, width: int = 0) -> str:
        """The same numbers as a batch of one."""
        return self._add("Reshape", [x, self._sizes(1, -1, width or self.width)])

    def _rounded_once(self, x: str, name: str) -> str:
        """A linear step whose input has one scale."""
        parts = [x, self._matrix(name), self._scales(name), "", self._own(f"{name}/bias")]
        return self._add(f"{MICROSOFT}.DynamicQuantizeMatMul", parts)

    def _rounded_by_position(self, x: str, name: str) -> str:
        """A linear step whose input has a scale for each position."""
        across = self._sizes(1)
        highest = self._add("ReduceMax", [x, across], keepdims=1)
        lowest = self._add("Neg", [self._add("ReduceMin", [x, across], keepdims=1)])
        least = self.graph.constant("least", np.array(1e-6, np.float32))
        largest = self._add("Max", [highest, lowest, least])
        scales = self._add("Mul", [largest, self.graph.constant("step", np.array(1 / HALF, np.float32))])
        zero = self.graph.constant("middle", np.array(HALF + 1, np.uint8))
        flat = self._add("Reshape", [scales, self._sizes(-1)])
        zeros = self._add("Expand", [zero, self._add("Shape", [flat])])
        rounded = self._add("QuantizeLinear", [x, flat, zeros], axis=0)
        one = self.graph.constant("one", np.array(1, np.float32))
        parts = [rounded, self._matrix(name), one, self._scales(name), zero]
        product = self._add("Mul", [self._add(f"{MICROSOFT}.MatMulIntegerToFloat", parts), scales])
        return self._add("Add", [product, self._own(f"{name}/bias")])

    def _matrix(self, name: str) -> str:
        matrix = np.ascontiguousarray(self._weights[f"{name}/weight"].T)
        return self.graph.constant(f"{name}/weight", matrix)

    def _scales(self, name: str) -> str:
        """What a step of each column's integers is worth: CTranslate2 keeps the inverse."""
        scales = self._weights[f"{name}/weight_scale"].astype(np.float32)
        return self.graph.constant(f"{name}/scales", np.float32(1) / scales)

    def _own(self, name: str) -> str:
        return self.graph.constant(name, self._weights[name].astype(np.float32))

    def _sizes(self, *sizes: int) -> str:
        return self.graph.constant(f"sizes {sizes}", np.array(sizes, np.int64))

    def _add(self, operator: str, inputs: Sequence[str], **attributes: Attribute) -> str:
        self._count += 1
        return self.graph.add(operator, inputs, f"{operator} {self._count}", **attributes)
