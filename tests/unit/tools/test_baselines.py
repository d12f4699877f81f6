from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from whisper_lambda.errors import ModelCorrupt, ModelUnavailable
from whisper_lambda.tools.baselines import (
    BASE_SHA256,
    base_folder,
    openai_whisper_dimensions,
    openai_whisper_from_ct2,
    read_model,
)
from whisper_lambda.tools.random_weights import Shape, write_random_model

WIDTH = 64
SHAPE = Shape(width=WIDTH, heads=1, encoder_layers=2, decoder_layers=3, vocabulary=100)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    like = tmp_path_factory.mktemp("like")
    (like / "config.json").write_text("{}")
    folder = tmp_path_factory.mktemp("tiny")
    write_random_model(folder, SHAPE, like)
    return read_model(folder / "model.bin")


def test_the_dimensions_are_read_off_the_shapes(variables: dict[str, np.ndarray]) -> None:
    found = openai_whisper_dimensions(variables)

    assert (found["n_mels"], found["n_audio_state"], found["n_vocab"]) == (80, WIDTH, 100)
    assert (found["n_audio_layer"], found["n_text_layer"], found["n_text_head"]) == (2, 3, 1)
    assert (found["n_audio_ctx"], found["n_text_ctx"]) == (1500, 448)


def test_every_number_arrives_once_under_its_own_name(variables: dict[str, np.ndarray]) -> None:
    state = openai_whisper_from_ct2(variables)

    fused = variables["decoder/layer_2/self_attention/linear_0/weight"]
    assert np.array_equal(state["decoder.blocks.2.attn.query.weight"], fused[:WIDTH])
    assert np.array_equal(state["decoder.blocks.2.attn.key.weight"], fused[WIDTH : 2 * WIDTH])
    assert np.array_equal(state["decoder.blocks.2.attn.value.weight"], fused[2 * WIDTH :])
    cross = variables["decoder/layer_0/attention/linear_1/bias"]
    assert np.array_equal(state["decoder.blocks.0.cross_attn.value.bias"], cross[WIDTH:])
    assert not any(name.endswith("key.bias") for name in state)
    blocks = 2 * 15 + 3 * 24  # tensors of openai-whisper's encoder and decoder blocks
    assert len(state) == blocks + 11
    assert all(array.dtype == np.float32 for array in state.values())


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(struct.pack("<IH", 5, 5) + b"Spec\0" + struct.pack("<II", 1, 0))

    with pytest.raises(ModelCorrupt, match="not a Whisper model of version 6"):
        read_model(tmp_path / "model.bin")


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"whisper-lambda\[weights\]"):
        base_folder(tmp_path, ["no-such-package-anywhere"])


@pytest.mark.model
def test_the_packages_give_the_published_weights_and_a_spoilt_copy_is_replaced(tmp_path: Path) -> None:
    try:
        folder = base_folder(tmp_path)
    except ModelUnavailable as why:
        pytest.skip(str(why))
    with (folder / "model.bin").open("r+b") as file:
        file.write(b"spoilt")

    folder = base_folder(tmp_path)

    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    assert digest == BASE_SHA256
    assert {p.name for p in folder.iterdir()} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    }
