"""The weights on this disk: a tier in, a verified folder that CTranslate2 can load out.

    home/models/base/            model.bin (int8), config.json, tokenizer.json, vocabulary.*, manifest.json
    home/models/.partial/base/   what of a download is here already; the next try goes on from it
    home/models/.incoming-*      an install under way; it becomes a tier by one rename, or nothing

The rule not to break: no byte reaches CTranslate2 that was not just compared with the manifest, and
no byte enters the store that was not compared with the catalogue.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable, StorageFull
from whisper_lambda.models import int8, sources
from whisper_lambda.models.beside import check_beside
from whisper_lambda.models.catalogue import Tier
from whisper_lambda.models.hub import REMEMBER_S, Hub
from whisper_lambda.models.manifest import (
    MANIFEST,
    Installed,
    InstalledFile,
    corrupt,
    read_manifest,
    render_manifest,
    sha256_of,
    verify,
)
from whisper_lambda.models.sources import Fetched, Progress, quiet

__all__ = ["Installed", "Store", "check_published", "verify"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}")
_ENGLISH_VOCABULARY = 51_864  # tokens; a model with more speaks more than English
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})


class Store:
    """The folders weights are kept in, and the ways to fill them. Several processes may share one."""

    def __init__(self, settings: Settings, *, hub: Hub | None = None) -> None:
        self.root = settings.home / "models"
        self.hub = hub or Hub(settings)
        self._settings = settings
        self._index_failed: dict[str, tuple[float, str]] = {}  # tier -> (until, why); pip is slow to fail

    def find(self, name: str) -> Installed | None:
        """Return the model of that name if it is on this disk, in the operator's folder or in ours.

        Raises:
            ModelCorrupt: its manifest cannot be believed.
        """
        for folder in (self.operators(name), self.root / name):
            if folder is not None and (folder / MANIFEST).is_file():
                installed = read_manifest(folder)
                if installed.name != name:
                    raise corrupt(name, folder, f"holds the model {installed.name}")
                return installed
        return None

    def whereabouts(self, tier: Tier) -> str:
        """Say where the tier would come from now: folder, store, package, hub or index.

        Costs at most the hub's time-out, and that only when nobody tried of late.

        Raises:
            ModelUnavailable: from nowhere; the message says why for each source.
            ModelCorrupt: it is here, but its manifest cannot be believed.
        """
        return self._place(tier, self.hub.listing)

    def offered(self, tier: Tier) -> str:
        """Say the same from one question to the hub for all tiers: for a table of them."""
        return self._place(tier, self.hub.seems_to_give)

    def _place(self, tier: Tier, ask_hub: Callable[[Tier], object]) -> str:
        if found := self.find(tier.name):
            return "store" if found.path.parent == self.root else "folder"
        if self.operators(tier.name):
            return "folder"
        if self._settings.packages and sources.installed_wheels(tier):
            return "package"
        try:
            ask_hub(tier)
        except ModelUnavailable as cause:
            if why := self._no_index(tier):
                raise ModelUnavailable(f"{tier.name} is not in the store, {cause} and {why}") from cause
            return "index"
        return "hub"

    def obtain(self, tier: Tier, *, progress: Progress = quiet, force: bool = False) -> Installed:
        """Return the tier, fetching and converting it first where it is not here yet.

        Of several processes (or threads) that ask at once one works, the others wait and use what
        it made.

        Args:
            tier: which model.
            progress: told of bytes as they arrive.
            force: fetch even what is here.

        Raises:
            ModelUnavailable: no source could give it; the message says why for each.
            ModelCorrupt: a source gave other bytes than the published ones.
            StorageFull: there is no room for it.
        """
        if not force and (found := self.find(tier.name)):
            return found
        with self._alone(tier.name):
            if not force and (found := self.find(tier.name)):
                return found
            return self._fetch(tier, progress)

    def adopt(self, folder: Path) -> Installed:
        """Return the model in a folder of the operator's own, converted into the store on first use.

        A folder that carries our manifest is used where it lies. The operator's word stands in for
        a published hash: what is adopted is what was there, and a later change is adopted anew.

        Raises:
            ModelUnavailable: there is no such folder, or it lacks a file.
            ModelCorrupt: its model.bin is not a Whisper model, or its manifest cannot be believed.
        """
        folder = folder.expanduser().resolve()
        if (folder / MANIFEST).is_file():
            return read_manifest(folder)
        fetched = self.adoptable(folder)
        stamp = hashlib.sha256(repr([(n, *_stamps(p)) for n, p in sorted(fetched.parts.items())]).encode())
        place = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
        name = f"folder-{re.sub('[^A-Za-z0-9]+', '-', folder.name)[:40]}-{place}"
        with self._alone(name):
            found = self.find(name)
            if found and found.revision == stamp.hexdigest():
                return found
            return self._write(name, fetched, stamp.hexdigest(), None)

    def adoptable(self, folder: Path) -> Fetched:
        """Return the files of a folder of the operator's own, if it has all that a model needs.

        Raises:
            ModelUnavailable: there is no such folder, or it lacks a file.
        """
        return sources.from_folder(folder.expanduser().resolve())

    def installed(self) -> tuple[str, ...]:
        """Return the names of all models on this disk, the operator's and ours, sound or not."""
        folders = [f for f in (self._settings.model_dir, self.root) if f is not None and f.is_dir()]
        found = {p.name for f in folders for p in f.iterdir() if (p / MANIFEST).is_file()}
        return tuple(sorted(n for n in found if _PLAIN_NAME.fullmatch(n)))

    def remove(self, name: str) -> bool:
        """Take a model out of our store, with what was downloaded of it. False if it was not there."""
        if not _PLAIN_NAME.fullmatch(name) or not (self.root / name).is_dir():
            return False
        with self._alone(name):
            self._discard(self.root / name)
            shutil.rmtree(self.root / ".partial" / name, ignore_errors=True)
        return True

    def operators(self, name: str) -> Path | None:
        """Return the operator's folder for a model of that name, if there is one.

        Only a plain name can be one: names arrive in requests and must not walk the disk.
        """
        parent = self._settings.model_dir
        if parent is None or not _PLAIN_NAME.fullmatch(name):
            return None
        return parent / name if (parent / name).is_dir() else None

    def _fetch(self, tier: Tier, progress: Progress) -> Installed:
        """Try the sources in order; the first whose bytes are the published ones wins."""
        wip = self.root / ".partial" / tier.name
        failures: list[ModelUnavailable | ModelCorrupt] = []
        for source in self._sources(tier, wip, progress):
            try:
                fetched = source()
                done = self._write(tier.name, fetched, tier.revision, tier)
            except (ModelUnavailable, ModelCorrupt) as failure:
                failures.append(failure)
            else:
                shutil.rmtree(wip, ignore_errors=True)
                return done
        message = f"{tier.name} is not in the store, " + " and ".join(map(str, failures))
        kind = ModelCorrupt if any(isinstance(f, ModelCorrupt) for f in failures) else ModelUnavailable
        raise kind(message) from (failures[-1] if failures else None)

    def _sources(self, tier: Tier, wip: Path, progress: Progress) -> Iterator[Callable[[], Fetched]]:
        """Yield the ways to get the tier's files, cheapest and most wanted first."""
        if folder := self.operators(tier.name):
            yield lambda: sources.from_folder(folder)
        if self._settings.packages and (here := sources.installed_wheels(tier)):
            yield lambda: here
        wip.mkdir(parents=True, exist_ok=True)
        yield lambda: self.hub.fetch(tier, wip, progress)
        yield lambda: self._from_index(tier, wip, progress)

    def _from_index(self, tier: Tier, wip: Path, progress: Progress) -> Fetched:
        """Let pip try, unless there is no use in it."""
        if why := self._no_index(tier):
            raise ModelUnavailable(why)
        try:
            return sources.downloaded_wheels(tier, wip, progress)
        except ModelUnavailable as cause:
            self._index_failed[tier.name] = (time.monotonic() + REMEMBER_S, str(cause))
            raise

    def _no_index(self, tier: Tier) -> str:
        """Say why the package index will not give the tier; "" if it may."""
        if not tier.wheels:
            return "no package carries it"
        if not self._settings.packages:
            return "packages are switched off"
        until, why = self._index_failed.get(tier.name, (0.0, ""))
        return why if time.monotonic() < until else ""

    def _write(self, name: str, fetched: Fetched, revision: str, tier: Tier | None) -> Installed:
        """Verify what a source gave, convert it, and make it appear in the store all at once."""
        if tier:
            check_published(fetched, tier)
        incoming = Path(tempfile.mkdtemp(dir=self.root, prefix=f".incoming-{name}-"))
        try:
            installed = _convert(fetched, incoming, name, revision)
            _durable(incoming / MANIFEST, lambda out: out.write(render_manifest(installed)))
            _sync_folder(incoming)
            target = self.root / name
            self._discard(target)
            incoming.chmod(0o755)
            incoming.rename(target)
            _sync_folder(self.root)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        return read_manifest(target)

    def _discard(self, folder: Path) -> None:
        """Make a folder vanish at once, then free its room."""
        if folder.exists():
            doomed = Path(tempfile.mkdtemp(dir=self.root, prefix=f".old-{folder.name}-"))
            folder.rename(doomed / folder.name)
            shutil.rmtree(doomed, ignore_errors=True)

    def forget(self) -> None:
        """Forget that the hub and the index failed of late: the operator asks for another try."""
        self.hub.forget()
        self._index_failed.clear()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Be the only one, in this process or any other, who changes that model; clear old wrecks."""
        with _storage(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / f".{name}.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # the system drops it when its holder dies
                for wreck in (*self.root.glob(f".incoming-{name}-*"), *self.root.glob(f".old-{name}-*")):
                    shutil.rmtree(wreck, ignore_errors=True)
                yield


def check_published(fetched: Fetched, tier: Tier) -> None:
    """Refuse files that are not, byte for byte, what the tier's publisher made.

    Raises:
        ModelCorrupt: names the file, where it came from, and the hash it should have.
    """
    for file in tier.files:
        if file.name not in fetched.parts:
            raise ModelCorrupt(f"{fetched.origin} lacks {file.name}")
        seen = sha256_of(fetched.parts[file.name])
        if file.sha256 and seen != file.sha256:
            raise ModelCorrupt(
                f"{file.name} from {fetched.origin} is not the published one: "
                f"its sha256 is {seen}, it should be {file.sha256}"
            )


def _convert(fetched: Fetched, folder: Path, name: str, revision: str) -> Installed:
    """Write the int8 model and the files beside it into `folder`."""
    facts: list[int8.Facts] = []
    model = _durable(
        folder / "model.bin", lambda out: facts.append(int8.rewrite(fetched.parts["model.bin"], out))
    )
    check_beside(fetched.parts, facts[0])
    files = [model]
    for file, parts in fetched.parts.items():
        if file != "model.bin":
            files.append(_durable(folder / file, partial(_copy, parts)))
    return Installed(
        name=name,
        path=folder,
        mel_bins=facts[0].mel_bins,
        english_only=facts[0].vocabulary <= _ENGLISH_VOCABULARY,
        origin=fetched.origin,
        revision=revision,
        files=tuple(sorted(files, key=lambda f: f.name)),
    )


def _durable(path: Path, write: Callable[[IO[bytes]], object]) -> InstalledFile:
    """Create a file, push it to the disk and return what it then is."""
    with path.open("wb") as out:
        write(out)
        out.flush()
        os.fsync(out.fileno())
    return InstalledFile(path.name, path.stat().st_size, sha256_of((path,)))


def _copy(parts: tuple[Path, ...], out: IO[bytes]) -> None:
    for part in parts:
        with part.open("rb") as source:
            shutil.copyfileobj(source, out, 1 << 20)


def _stamps(parts: tuple[Path, ...]) -> tuple[int, ...]:
    """Return what tells that a file of the operator's was replaced since it was adopted."""
    found = [p.stat() for p in parts]
    return tuple(n for s in found for n in (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _storage(root: Path) -> Iterator[None]:
    """Say in our words that the disk is full or closed to us."""
    try:
        yield
    except OSError as cause:
        if cause.errno in _FULL:
            raise StorageFull(
                f"no room in {root} for the model; free some, or set WHISPER_LAMBDA_HOME"
            ) from cause
        if cause.errno in _CLOSED:
            where = cause.filename or root
            raise ModelUnavailable(f"{where} cannot be read or written: {cause.strerror}") from cause
        raise
