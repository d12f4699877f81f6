"""A whole model of 100 kB, real in form: what the room does to a model it does to this one."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

from whisper_lambda.models import int8
from whisper_lambda.models.catalogue import Tier, WeightsFile
from whisper_lambda.models.manifest import Installed, InstalledFile, render_manifest
from whisper_lambda.tools.random_weights import Shape, write_random_model

SHAPE = Shape(width=8, heads=2, encoder_layers=1, decoder_layers=2, vocabulary=100)
REVISION = "0123456789abcdef0123456789abcdef01234567"


def write_published(folder: Path, *, seed: int = 0) -> Path:
    """Write a small fp16 model as a publisher would, and return its folder."""
    like = folder.parent / f"{folder.name}-like"
    like.mkdir(parents=True, exist_ok=True)
    (like / "config.json").write_text("{}")
    (like / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": seed}}, "added_tokens": []}))
    (like / "vocabulary.txt").write_text("\n".join(f"token{n}" for n in range(SHAPE.vocabulary)))
    write_random_model(folder, SHAPE, like, seed=seed)
    return folder


def tier_of(folder: Path, name: str = "wee", *, hashed: tuple[str, ...] = ("model.bin",), **changes) -> Tier:
    """Return the catalogue's row for a published folder."""
    files = tuple(
        WeightsFile(
            p.name,
            hashlib.sha256(p.read_bytes()).hexdigest() if p.name in hashed else None,
            p.stat().st_size,
        )
        for p in sorted(folder.iterdir())
    )
    row = {
        "name": name,
        "languages": 99,
        "mel_bins": 80,
        "repo": f"people/{name}",
        "revision": REVISION,
        "files": files,
        "int8_mb": 1,
    }
    return Tier(**{**row, **changes})


def put_in_folder(parent: Path, name: str, published: Path) -> Path:
    """Lay a converted model with its manifest into a folder of the operator's, ready to be used there."""
    folder = parent / name
    folder.mkdir(parents=True)
    converted = io.BytesIO()
    int8.rewrite((published / "model.bin",), converted)
    for file in published.iterdir():
        (folder / file.name).write_bytes(
            converted.getvalue() if file.name == "model.bin" else file.read_bytes()
        )
    files = tuple(
        InstalledFile(p.name, p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest())
        for p in sorted(folder.iterdir())
    )
    installed = Installed(
        name=name,
        path=folder,
        mel_bins=80,
        english_only=False,
        origin="a test",
        revision=REVISION,
        files=files,
    )
    (folder / "manifest.json").write_bytes(render_manifest(installed))
    return folder
