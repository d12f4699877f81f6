import contextlib
import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_weights import SHAPE

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models import int8, model_bin
from whisper_lambda.tools.random_weights import Shape, random_spec


def rewritten(path) -> bytes:
    out = io.BytesIO()
    int8.rewrite((path,), out)
    return out.getvalue()


def serialized(spec, path) -> bytes:
    spec._serialize(str(path))
    return path.read_bytes()


def optimized(spec, shape, quantization=None):
    """What CTranslate2's own converter does, its convolutions left alone."""
    spec.register_vocabulary([str(n) for n in range(shape.vocabulary)])
    spec.validate()
    spec._alias_variables()
    spec._quantize(quantization, variable_filter=lambda name: "conv" not in name)
    return spec


@pytest.mark.parametrize("block_bytes", [1, 100, 4 << 20])
def test_what_is_written_is_what_ctranslate2_writes_byte_for_byte(tmp_path, monkeypatch, block_bytes):
    shape = Shape(width=16, heads=2, encoder_layers=2, decoder_layers=1, vocabulary=123)
    specs = [random_spec(shape, seed=7) for _ in range(2)]
    for spec in specs:
        spec.decoder.layer[0].ffn.linear_0.weight[3] = 0  # a row of zeros has no scale of its own
        spec.decoder.layer[0].ffn.linear_0.weight[4] = 6e-8  # the least an fp16 holds
    plain = serialized(optimized(specs[0], shape), tmp_path / "plain.bin")
    theirs = serialized(optimized(specs[1], shape, "int8"), tmp_path / "theirs.bin")

    monkeypatch.setattr(int8, "BLOCK_BYTES", block_bytes)

    assert rewritten(tmp_path / "plain.bin") == theirs
    assert theirs != plain


def test_a_float32_model_is_rewritten_alike(tmp_path):
    specs = [random_spec(SHAPE) for _ in range(2)]
    for spec in specs:
        spec.register_vocabulary([str(n) for n in range(SHAPE.vocabulary)])
        spec.validate()
        spec._quantize("float32")
        spec._alias_variables()
    specs[1]._quantize("int8", variable_filter=lambda name: "conv" not in name)
    serialized(specs[0], tmp_path / "plain.bin")

    assert rewritten(tmp_path / "plain.bin") == serialized(specs[1], tmp_path / "theirs.bin")


def test_what_is_int8_already_is_copied(tmp_path, published):
    once = rewritten(published / "model.bin")
    (tmp_path / "once.bin").write_bytes(once)

    assert rewritten(tmp_path / "once.bin") == once


def test_parts_are_read_as_one_file(tmp_path, published):
    whole = (published / "model.bin").read_bytes()
    parts = [tmp_path / f"part{n}" for n in range(4)]
    for part, content in zip(parts, (whole[:7], b"", whole[7:5000], whole[5000:]), strict=True):
        part.write_bytes(content)
    out = io.BytesIO()

    int8.rewrite(tuple(parts), out)

    assert out.getvalue() == rewritten(published / "model.bin")


def test_the_facts_come_from_the_weights(published):
    assert int8.rewrite((published / "model.bin",), io.BytesIO()) == int8.Facts(
        mel_bins=80, vocabulary=100, decoder_layers=2, decoder_heads=2
    )


def test_memory_stays_bounded_by_the_block_not_by_the_matrix(tmp_path, monkeypatch):
    shape = Shape(width=512, heads=2, encoder_layers=1, decoder_layers=1, vocabulary=20_000)
    serialized(optimized(random_spec(shape), shape), tmp_path / "big.bin")
    monkeypatch.setattr(int8, "BLOCK_BYTES", 1 << 18)
    tracemalloc.start()
    try:
        with (tmp_path / "out.bin").open("wb") as out:
            int8.rewrite((tmp_path / "big.bin",), out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 * (1 << 18)  # the embeddings alone are 20 MB


@given(st.data())
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, published, data):
    whole = (published / "model.bin").read_bytes()
    cut = tmp_path_factory.mktemp("cut") / "model.bin"
    cut.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])

    with pytest.raises(ModelCorrupt):
        rewritten(cut)


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_crafted_bytes_give_a_model_or_a_refusal_never_another_error(tmp_path_factory, published, at, junk):
    """Headers are believed by nobody: lengths, dimensions and counts may say anything."""
    whole = bytearray((published / "model.bin").read_bytes())
    whole[at : at + len(junk)] = junk
    crafted = tmp_path_factory.mktemp("crafted") / "model.bin"
    crafted.write_bytes(whole)

    with contextlib.suppress(ModelCorrupt):
        rewritten(crafted)


def test_a_claim_of_four_gigabytes_allocates_nothing(tmp_path):
    head = struct.pack("<I", 6) + model_bin.string("WhisperSpec") + struct.pack("<II", 3, 1)
    variable = model_bin.string("a/weight") + struct.pack("<BIIBI", 2, 65_535, 65_536, 1, 65_535 * 65_536)
    (tmp_path / "bomb.bin").write_bytes(head + variable + b"x")
    tracemalloc.start()
    try:
        with pytest.raises(ModelCorrupt, match="ends in the middle"):
            rewritten(tmp_path / "bomb.bin")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "ends in the middle"),
        (b"PK\x03\x04" + b"x" * 100, "version 6"),
        (
            struct.pack("<I", 6) + model_bin.string("TransformerSpec") + struct.pack("<II", 3, 1),
            "not a Whisper model",
        ),
        (
            struct.pack("<I", 6) + model_bin.string("WhisperSpec") + struct.pack("<II", 2, 1),
            "not a Whisper model",
        ),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path, content, complaint):
    (tmp_path / "model.bin").write_bytes(content)

    with pytest.raises(ModelCorrupt, match=complaint):
        rewritten(tmp_path / "model.bin")


@pytest.mark.parametrize("size", [0, 1, 7, 9, 17, 4_000_000_000])
@pytest.mark.parametrize("name", ["a/weight", "a/bias"])
def test_a_variable_whose_size_is_not_its_shapes_is_refused(tmp_path, name, size):
    head = struct.pack("<I", 6) + model_bin.string("WhisperSpec") + struct.pack("<II", 3, 1)
    variable = model_bin.string(name) + struct.pack("<BIIBI", 2, 2, 2, 4, size)  # 2 x 2 of fp16: 8 bytes
    (tmp_path / "model.bin").write_bytes(head + variable + b"x" * min(size, 100))

    with pytest.raises(ModelCorrupt, match="which its shape"):
        rewritten(tmp_path / "model.bin")


def test_bytes_after_the_model_are_refused(tmp_path, published):
    (tmp_path / "model.bin").write_bytes((published / "model.bin").read_bytes() + b"\0")

    with pytest.raises(ModelCorrupt, match="goes on"):
        rewritten(tmp_path / "model.bin")


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    spec = random_spec(SHAPE)
    spec.encoder.layer[0].ffn.linear_0.weight[1, 1] = np.float16("nan")
    serialized(optimized(spec, SHAPE), tmp_path / "nan.bin")

    with pytest.raises(ModelCorrupt, match="not numbers"):
        rewritten(tmp_path / "nan.bin")
