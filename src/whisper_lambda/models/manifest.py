"""What an installed model promises, and whether its folder keeps the promise.

The manifest beside the weights tells the sha256 of every file; it is written in one way only, and
sealed, so that a changed byte of its own shows too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models import catalogue, int8, model_bin

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of an installed model, as it was when it was written."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A model in a folder, with everything the manifest beside it promises."""

    name: str  # tier, or the folder's name for a model of the operator's own
    path: Path
    mel_bins: int
    english_only: bool
    origin: str
    revision: str
    files: tuple[InstalledFile, ...]

    @property
    def digest(self) -> str:
        """Name of exactly these bytes: the same on every machine, another for any other weights."""
        lines = "".join(f"{f.sha256} {f.name}\n" for f in sorted(self.files, key=lambda f: f.name))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(f.bytes for f in self.files)


def verify(installed: Installed) -> None:
    """Refuse a folder that is not, byte for byte, what its manifest says. Call before every load.

    Every byte is read each time: a file's size, times and inode can all be put back after a change,
    so a remembered verdict cannot promise that no flipped byte loads. It costs 0.9 ms of processor
    time a megabyte, 0.07 s for base (docs/models.md).

    Raises:
        ModelCorrupt: names the file and says what to do.
    """
    if read_manifest(installed.path) != installed:
        raise corrupt(installed.name, installed.path / MANIFEST, "was changed")
    expected = {f.name for f in installed.files} | {MANIFEST}
    if extra := sorted(p.name for p in installed.path.iterdir() if p.name not in expected):
        # CTranslate2 prefers some file names over others: a stray one could replace a verified one
        raise corrupt(installed.name, installed.path / extra[0], "does not belong there")
    for file in installed.files:
        path = installed.path / file.name
        if not path.is_file():
            raise corrupt(installed.name, path, "is missing")
        if path.stat().st_size != file.bytes or sha256_of((path,)) != file.sha256:
            raise corrupt(installed.name, path, "is not the file that was installed")


def verified_arrays(installed: Installed, weights: BinaryIO, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Read variables out of an open model.bin, refusing one that is not what the manifest says.

    Raises:
        ModelCorrupt: names the file and says what to do.
    """
    weights.seek(0)
    hashed = _Hashed(weights)
    path = installed.path / "model.bin"
    found = model_bin.arrays(hashed, path, prefix)
    (promised,) = [f.sha256 for f in installed.files if f.name == "model.bin"]
    if hashed.digest.hexdigest() != promised:
        raise corrupt(installed.name, path, "is not the file that was installed")
    return found


class _Hashed:
    """Reads on, and hashes what it read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, n: int, /) -> bytes:
        block = self._source.read(n)
        self.digest.update(block)
        return block


def corrupt(name: str, path: Path, what: str) -> ModelCorrupt:
    """Return the refusal of a model on this disk, with the command that mends it."""
    if catalogue.find(name):
        cure = f"run: whisper-lambda models pull {name} --force (or copy the folder again, if it is yours)"
    else:
        cure = f"run: whisper-lambda models rm {name} (or copy the folder again, if it is yours)"
    return ModelCorrupt(f"{path} {what}; nothing was loaded; {cure}")


def render_manifest(installed: Installed) -> bytes:
    """Return the manifest's bytes: one way to write it, so that any changed byte shows."""
    body: dict[str, Any] = {
        "name": installed.name,
        "mel_bins": installed.mel_bins,
        "english_only": installed.english_only,
        "origin": installed.origin,
        "revision": installed.revision,
        "recipe": int8.RECIPE,
        "files": {f.name: {"bytes": f.bytes, "sha256": f.sha256} for f in installed.files},
    }
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**body, "seal": seal}, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(folder: Path) -> Installed:
    """Return what the manifest in `folder` promises.

    Raises:
        ModelCorrupt: it is not byte for byte a manifest we would write.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        body = json.loads(raw)
        installed = Installed(
            name=body["name"],
            path=folder,
            mel_bins=body["mel_bins"],
            english_only=body["english_only"],
            origin=body["origin"],
            revision=body["revision"],
            files=tuple(InstalledFile(n, f["bytes"], f["sha256"]) for n, f in body["files"].items()),
        )
        sound = render_manifest(installed) == raw
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise corrupt(folder.name, path, "cannot be read") from cause
    if not sound:
        raise corrupt(installed.name, path, "was changed, or was written by another version")
    return installed


def sha256_of(parts: tuple[Path, ...]) -> str:
    """Return the sha256 of several files read as one."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
