"""A model folder with random weights of a true shape: for speed and memory, never for words.

`small` and larger are on no package index; their time and memory depend on shapes alone.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whisper_lambda.tools.extras import needed

SPREAD = 0.02  # standard deviation; small enough that no layer overflows fp16
_LOUD = 1500.0  # a position's own vector, in embeddings: far above what all layers add to it
_SURE = 20.0  # logit of the token called for; the others' have a deviation of SPREAD times that
_ENGLISH, _END, _FIRST_TIME = 50_259, 50_257, 50_364  # tokens of the multilingual vocabulary
_PROMPT = 4  # start, language, task, no timestamps
_PLAIN_TEXT = (1_000, 40_000)  # tokens that are words and parts of words
_ENCODER_POSITIONS, _DECODER_POSITIONS = 1500, 448


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that make a Whisper model the size it is."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mel_bins: int = 80
    vocabulary: int = 51_865


SHAPES = {
    "tiny": Shape(384, 6, 4, 4),
    "base": Shape(512, 8, 6, 6),
    "small": Shape(768, 12, 12, 12),
    "medium": Shape(1024, 16, 24, 24),
    "large-v3": Shape(1280, 20, 32, 32, mel_bins=128, vocabulary=51_866),
    "turbo": Shape(1280, 20, 32, 4, mel_bins=128, vocabulary=51_866),
}


def write_random_model(folder: Path, shape: Shape, like: Path, *, seed: int = 0, says: int = 0) -> None:
    """Write an fp16 model folder of that shape, with the tokenizer of another one.

    Args:
        folder: made if it is not there; its files are replaced.
        shape: one of SHAPES, or a smaller one for a test.
        like: a model folder with the same vocabulary; config.json, tokenizer.json and
            vocabulary.* are copied from it.
        seed: the same seed gives the same bytes.
        says: of whatever it hears, so many tokens, sure of each: what a program decodes then takes as
            long as real words would, with nothing to doubt. 0 = whatever comes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = random_spec(shape, seed=seed)
    if says:
        _say(spec, says, seed)
    spec.register_vocabulary([str(n) for n in range(shape.vocabulary)])  # only counted: `like` has the words
    spec.validate()
    spec.optimize()  # ties the projection to the embeddings, as in every Whisper
    spec._serialize(str(folder / "model.bin"))
    for beside in like.iterdir():
        if beside.name in {"tokenizer.json", "vocabulary.txt", "vocabulary.json"}:
            shutil.copyfile(beside, folder / beside.name)
    config = json.loads((like / "config.json").read_text())
    # the last half of the decoder's layers, as in models for which nobody chose alignment heads
    layers = range(shape.decoder_layers // 2, shape.decoder_layers)
    config["alignment_heads"] = [[layer, head] for layer in layers for head in range(shape.heads)]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def random_spec(shape: Shape, *, seed: int = 0) -> Any:  # noqa: ANN401 - ctranslate2 publishes no types
    """Return a `ctranslate2.specs.WhisperSpec` of that shape, all its weights random fp16."""
    random = np.random.default_rng(seed)
    spec = needed("ctranslate2.specs").WhisperSpec(
        shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads
    )
    width = shape.width

    def fill(part: Any, *dims: int) -> None:  # noqa: ANN401
        part.weight = _normal(random, dims)
        part.bias = _normal(random, dims[:1])

    def norm(part: Any) -> None:  # noqa: ANN401
        part.gamma, part.beta = np.ones(width, np.float16), np.zeros(width, np.float16)

    fill(spec.encoder.conv1, width, shape.mel_bins, 3)
    fill(spec.encoder.conv2, width, width, 3)
    spec.encoder.position_encodings.encodings = _normal(random, (_ENCODER_POSITIONS, width))
    spec.decoder.position_encodings.encodings = _normal(random, (_DECODER_POSITIONS, width))
    spec.decoder.embeddings.weight = _normal(random, (shape.vocabulary, width))
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    for part in (spec.encoder, spec.decoder):
        norm(part.layer_norm)
        for layer in part.layer:
            attentions = [layer.self_attention, *([layer.attention] if part is spec.decoder else [])]
            for block in (*attentions, layer.ffn):
                norm(block.layer_norm)
            for linear, rows in zip(attentions[0].linear, (3, 1), strict=True):
                fill(linear, rows * width, width)
            for linear, rows in zip(attentions[1].linear if attentions[1:] else (), (1, 2, 1), strict=False):
                fill(linear, rows * width, width)
            fill(layer.ffn.linear_0, 4 * width, width)
            fill(layer.ffn.linear_1, width, 4 * width)
    return spec


def _say(spec: Any, tokens: int, seed: int) -> None:  # noqa: ANN401
    """Let each place of the decoder's context call for a token of its own, and then for the end.

    The projection is the embeddings, so a place whose vector is a token's embedding, only louder than
    anything the layers add, makes that token the likeliest after it.
    """
    words = np.random.default_rng(seed + 1).choice(np.arange(*_PLAIN_TEXT), tokens, replace=False)
    called = np.full(_DECODER_POSITIONS, _END)
    called[:_PROMPT] = (_ENGLISH, _END, _FIRST_TIME, words[0])
    called[_PROMPT : _PROMPT + tokens - 1] = words[1:]
    embeddings = spec.decoder.embeddings.weight.astype(np.float32)
    spec.decoder.position_encodings.encodings = (embeddings[called] * _LOUD).astype(np.float16)
    sure = _SURE / (SPREAD * embeddings.shape[1])  # the likeliest logit is the vector's length, normalised
    spec.decoder.layer_norm.gamma = (spec.decoder.layer_norm.gamma * sure).astype(np.float16)


def _normal(random: np.random.Generator, dims: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float16]]:
    return (random.standard_normal(dims, np.float32) * np.float32(SPREAD)).astype(np.float16)
