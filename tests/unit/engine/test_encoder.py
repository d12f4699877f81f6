"""The network for full windows: what it computes, and that it computes with verified weights only."""

import math
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

from whisper_lambda import inference, machine
from whisper_lambda.engine.encoder import FullWindows
from whisper_lambda.engine.onnx_graph import Graph
from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models.manifest import Installed, InstalledFile, sha256_of, verified_arrays
from whisper_lambda.tools.random_weights import Shape, random_spec

SHAPE = Shape(width=32, heads=4, encoder_layers=4, decoder_layers=1, vocabulary=100)
FRAMES = 200
erf = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A small model of random int8 weights, with what its manifest would promise."""
    from whisper_lambda.models import int8

    folder = tmp_path_factory.mktemp("encoder")
    spec = random_spec(SHAPE, seed=3)
    for layer in spec.encoder.layer:  # loud enough that each one tells
        for linear in (*layer.self_attention.linear, layer.ffn.linear_0, layer.ffn.linear_1):
            linear.weight = linear.weight * np.float16(10)
    spec.register_vocabulary([str(n) for n in range(SHAPE.vocabulary)])
    spec.validate()
    spec.optimize()
    spec._serialize(str(folder / "published.bin"))
    with (folder / "model.bin").open("wb") as out:
        int8.rewrite((folder / "published.bin",), out)
    (folder / "published.bin").unlink()
    return of(folder)


def of(folder):
    path = folder / "model.bin"
    file = InstalledFile("model.bin", path.stat().st_size, sha256_of((path,)))
    return Installed("wee", folder, SHAPE.mel_bins, False, "a test", "1", (file,))


@pytest.fixture(scope="module")
def mel():
    return np.random.default_rng(7).normal(size=(1, SHAPE.mel_bins, FRAMES)).astype(np.float32)


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def conv(w, x, name, stride):
    """Three taps over (time, channels), then GELU."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    taps = np.stack([padded[k : k + len(x)] for k in range(3)], axis=2)[::stride]  # (time, in, tap)
    return gelu(np.einsum("tik,oik->to", taps, w[f"{name}/weight"].astype(np.float64)) + w[f"{name}/bias"])


def float_encoder(w, mel, *, halve_at):
    """Whisper's encoder in float64, with the mean of two positions taken before a layer."""

    def matrix(name):
        return w[f"{name}/weight"] / w[f"{name}/weight_scale"][:, None].astype(np.float64)

    def linear(x, name):
        return x @ matrix(name).T + w[f"{name}/bias"]

    def norm(x, name):
        centred = x - x.mean(1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}/gamma"] + w[f"{name}/beta"]

    x = conv(w, conv(w, mel[0].T.astype(np.float64), "conv1", 1), "conv2", 2)
    x = x + w["position_encodings/encodings"][: len(x)]
    for n in range(SHAPE.encoder_layers):
        if n == halve_at:
            x = x.reshape(-1, 2, SHAPE.width).mean(1)
        a = f"layer_{n}/self_attention"
        q, k, v = np.split(linear(norm(x, f"{a}/layer_norm"), f"{a}/linear_0"), 3, axis=1)
        heads = []
        for part in np.split(np.arange(SHAPE.width), SHAPE.heads):
            scores = q[:, part] @ k[:, part].T / math.sqrt(len(part))
            likely = np.exp(scores - scores.max(1, keepdims=True))
            heads.append(likely / likely.sum(1, keepdims=True) @ v[:, part])
        x = x + linear(np.concatenate(heads, axis=1), f"{a}/linear_1")
        f = f"layer_{n}/ffn"
        x = x + linear(gelu(linear(norm(x, f"{f}/layer_norm"), f"{f}/linear_0")), f"{f}/linear_1")
    return norm(x, "layer_norm")


@pytest.mark.skipif(
    not machine.has_vnni(), reason="8-bit products overflow on this processor: not used on it"
)
def test_it_is_whispers_encoder_at_half_the_positions_from_its_middle_on(installed, mel):
    with (installed.path / "model.bin").open("rb") as file:
        weights = verified_arrays(installed, file, "encoder/")
    wanted = float_encoder(weights, mel, halve_at=2)
    network = FullWindows(installed)

    encoded = network.encode(mel)
    network.close()

    assert encoded.shape == (1, FRAMES // 4, SHAPE.width)
    off = np.linalg.norm(encoded[0] - wanted) / np.linalg.norm(wanted)
    assert off < 0.02
    again = {**weights, "layer_2/ffn/linear_1/weight": -weights["layer_2/ffn/linear_1/weight"]}
    other = float_encoder(again, mel, halve_at=2)  # one matrix wrong: what the bound must tell
    assert np.linalg.norm(other - wanted) / np.linalg.norm(wanted) > 0.04


def test_weights_changed_after_the_model_was_loaded_are_refused(installed, mel, tmp_path):
    folder = tmp_path / "wee"
    shutil.copytree(installed.path, folder)
    network = FullWindows(of(folder))
    with (folder / "model.bin").open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)
        file.seek(-1000, 2)
        file.write(bytes([byte[0] ^ 1]))

    with pytest.raises(ModelCorrupt, match=r"model\.bin is not the file that was installed"):
        network.encode(mel)
    network.close()


def test_a_model_removed_while_it_is_loaded_still_hears(installed, mel, tmp_path):
    folder = tmp_path / "wee"
    shutil.copytree(installed.path, folder)
    network = FullWindows(of(folder))
    shutil.rmtree(folder)

    assert network.encode(mel).shape == (1, FRAMES // 4, SHAPE.width)
    network.close()


def test_a_graph_is_what_onnx_runtime_reads():
    graph = Graph()
    x = graph.add("Mul", ["x", graph.constant("two", np.array([2.0], np.float32))], "doubled")
    x = graph.add("ReduceSum", [x, graph.constant("last", np.array([-1], np.int64))], "sum", keepdims=0)
    long = graph.constant("long", np.arange(300, dtype=np.float32))  # a length of more than one byte
    session = inference.opened(graph.model({"x": (1, "any", 3)}, graph.add("Add", [x, long], "out")))

    given = np.arange(900, dtype=np.float32).reshape(1, 300, 3)
    (out,) = session.run(None, {"x": given})

    assert_allclose(out, 2 * given.sum(-1) + np.arange(300))


def test_a_processors_flags_tell_whether_8_bit_products_overflow(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    for flags, wanted in (
        ("avx2 avx512f", False),
        ("avx2 avx_vnni", True),
        ("avx512f avx512_vnni", True),
        ("", False),
    ):
        cpuinfo.write_text(f"flags\t\t: fpu {flags}\n")
        assert machine.has_vnni(cpuinfo) is wanted
