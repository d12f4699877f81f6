"""The Hugging Face hub: a tier in, its files at the pinned revision out, within time limits.

huggingface_hub names the addresses, reads the repository's list and maps its errors. The bodies are
streamed here: its own download starts from nothing on every call (2.4: a new temporary file each
time) and waits without limit on a server that sends a byte now and then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable
from whisper_lambda.models import catalogue
from whisper_lambda.models.catalogue import Tier
from whisper_lambda.models.sources import NEEDED, VOCABULARIES, Fetched, Progress, quiet

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REMEMBER_S = 600.0  # how long a hub that failed is not asked again
_LISTING_S = 60.0  # how long a repository's list of files stays good; it is pinned, but may vanish
_PATIENCE = 5.0  # time-outs without MIN_BYTES_PER_S before a download that crawls is given up
MIN_BYTES_PER_S = 4096
_RESUMES = 3  # times a broken connection is taken up again within one fetch
_FULL_REVISION = 40  # hex digits
_MOST_SMALL_BYTES = 64_000_000  # for a file whose size the hub does not tell
_AGENT = "whisper-lambda"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as the hub's list tells of it."""

    name: str
    bytes: int | None
    sha256: str | None  # of files in large storage
    git_sha1: str | None  # of the others: git's name for the blob


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one revision."""

    revision: str
    files: tuple[_Listed, ...]


class Hub:
    """Asks the hub, and remembers for a while (also on disk, for the next process) when it failed."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._on = settings.hub
        self._endpoint = settings.hub_endpoint
        self._timeout_s = settings.hub_timeout_s
        self._stamps = settings.home / "models" / ".hub.json"
        self._clock = clock
        self._asking = threading.Lock()
        self._listings: dict[str, tuple[float, Listing]] = {}
        self._failures: dict[str, tuple[float, str]] = {}  # endpoint or repository -> (until, why)

    def listing(self, tier: Tier) -> Listing:
        """Return the tier's repository at the pinned revision, asking at most one time-out long.

        Raises:
            ModelUnavailable: the hub is switched off, cannot be reached, or does not give the tier.
        """
        if not self._on:
            raise ModelUnavailable("the hub is switched off")
        with self._asking:  # threads that ask at once share one question
            at, known = self._listings.get(tier.name, (0.0, None))
            if known and 0 <= self._clock() - at < _LISTING_S:
                return known
            self._refuse_remembered(tier)
            listing = self._ask(tier)
            self._listings[tier.name] = (self._clock(), listing)
            return listing

    def seems_to_give(self, tier: Tier) -> None:
        """Ask the hub once for all tiers, and trust that a hub that answers has them.

        Raises:
            ModelUnavailable: the hub is switched off, cannot be reached, or refused this tier of late.
        """
        try:
            self.listing(catalogue.tier("base"))
        except ModelUnavailable:
            self._refuse_remembered(catalogue.tier("base"), of_repo=False)
            if not self._on:
                raise
        self._refuse_remembered(tier)

    def fetch(self, tier: Tier, into: Path, progress: Progress = quiet) -> Fetched:
        """Bring the tier's files into `into`, going on where an earlier try stopped.

        Raises:
            ModelUnavailable: the hub cannot be reached, is too slow, or does not give the tier.
            ModelCorrupt: what it gave is not what its own list says; the bad file is gone again.
        """
        listing = self.listing(tier)
        parts: dict[str, tuple[Path, ...]] = {}
        for file in listing.files:
            path = into / f"{file.name}.{listing.revision[:12]}"
            try:
                self._download(tier, listing, file, path, progress)
            except ModelUnavailable as cause:
                self._remember(tier.repo, str(cause))
                raise
            self._check(tier, file, path)
            parts[file.name] = (path,)
        return Fetched(f"hub {tier.repo}@{listing.revision[:12]}", parts)

    def forget(self) -> None:
        """Forget all failures, in memory and on disk: the operator asks for another try."""
        self._failures.clear()
        self._listings.clear()
        with contextlib.suppress(OSError):  # a store nobody may write holds no stamp of ours
            self._stamps.unlink()

    def _refuse_remembered(self, tier: Tier, *, of_repo: bool = True) -> None:
        now = self._clock()
        for key in (self._key(), *([tier.repo] if of_repo else [])):
            until, why = max(self._failures.get(key, (0.0, "")), self._stamped(key))
            if now < until <= now + REMEMBER_S:  # a stamp from the future is a clock put back
                raise ModelUnavailable(why)

    def _ask(self, tier: Tier) -> Listing:
        """Ask for the list of files; whatever goes wrong becomes a sentence and is remembered."""
        try:
            started = time.monotonic()
            api = self._api()
            # the import is not the hub's doing, but the caller waits for both
            left_s = max(self._timeout_s / 2, self._timeout_s - (time.monotonic() - started))
            return within(left_s, lambda: _listed(api, tier, left_s))
        except ModelUnavailable as cause:
            self._remember(tier.repo, str(cause))
            raise
        except Exception as cause:
            status = getattr(getattr(cause, "response", None), "status_code", None)
            if status in {401, 403, 404}:
                why, key = f"the hub does not give {tier.repo} (HTTP {status})", tier.repo
            elif status:
                why, key = f"the hub answers with an error (HTTP {status})", self._key()
            else:
                why, key = f"the hub cannot be reached ({_short(cause)})", self._key()
            self._remember(key, why)
            raise ModelUnavailable(why) from cause

    def _download(self, tier: Tier, listing: Listing, file: _Listed, path: Path, progress: Progress) -> None:
        """Bring one file here, whole; its bytes are not checked yet."""
        most = (
            next((f.bytes for f in tier.files if f.name == file.name), None)
            or file.bytes
            or _MOST_SMALL_BYTES
        )
        if path.exists() and path.stat().st_size == file.bytes:
            return
        body = _Body(file.name, path, most, progress)
        url = _address(tier.repo, file.name, listing.revision, self._endpoint)
        for left in range(_RESUMES, -1, -1):
            before = body.done
            if not (failure := self._broken(body, url)):
                return
            if not left or body.done == before:
                raise ModelUnavailable(
                    f"the hub broke off {file.name} of {tier.repo} after {body.done:,} of {most:,} bytes "
                    f"({_short(failure)}); the next try goes on from there"
                ) from failure

    def _broken(self, body: _Body, url: str) -> Exception | None:
        """Stream the body; return what broke the connection, raise what no second try would mend."""
        try:
            self._watched(body, url)
        except ModelUnavailable:
            raise
        except Exception as cause:
            if isinstance(cause, OSError) and not _of_network(cause):
                raise  # the disk's fault, not the hub's
            return cause
        return None

    def _watched(self, body: _Body, url: str) -> None:
        """Stream the body in a thread, and give up when it crawls.

        A socket's own time-out starts again with every byte, so it never ends a server that drips.
        """
        window_s = _PATIENCE * self._timeout_s
        task = _Task(lambda: body.stream(url, self._timeout_s))
        try:
            while True:
                before = body.done
                if task.wait(window_s):
                    task.result()
                    return
                if body.done - before < MIN_BYTES_PER_S * window_s:
                    raise ModelUnavailable(
                        f"the hub sends {body.name} too slowly: "
                        f"{body.done - before:,} bytes in {window_s:g} s"
                    )
        finally:
            body.abandoned = True

    def _check(self, tier: Tier, file: _Listed, path: Path) -> None:
        """Compare with the catalogue, or where it names no hash, with the hub's own list."""
        published = next((f.sha256 for f in tier.files if f.name == file.name), None)
        sha256, git_sha1 = _hashes(path)
        expected = published or file.sha256
        if (expected and sha256 != expected) or (
            not expected and file.git_sha1 and git_sha1 != file.git_sha1
        ):
            path.unlink()
            why = f"{file.name} from the hub ({tier.repo}) is not the published one: its sha256 is {sha256}"
            self._remember(tier.repo, why)
            raise ModelCorrupt(why + (f", it should be {expected}" if expected else ""))

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi, constants

        constants.HF_HUB_DISABLE_TELEMETRY = True
        # never a token: everything in the catalogue is public, and a mirror is not to be handed one
        return HfApi(endpoint=self._endpoint, token=False, library_name=_AGENT)

    def _key(self) -> str:
        return self._endpoint or "hub"

    def _remember(self, key: str, why: str) -> None:
        """Keep a failure in memory and, where the store can be written, for the next process."""
        until = self._clock() + REMEMBER_S
        self._failures[key] = (until, why)
        stamps = {**self._read_stamps(), key: [until, why]}
        try:
            self._stamps.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._stamps.with_name(f".hub-{os.getpid()}-{threading.get_ident()}.json")
            fresh.write_text(json.dumps(stamps))
            fresh.replace(self._stamps)
        except OSError:
            return  # a store nobody may write still serves what it holds; memory has to do

    def _stamped(self, key: str) -> tuple[float, str]:
        match self._read_stamps().get(key):
            case [float(until), str(why)]:
                return until, why
        return 0.0, ""

    def _read_stamps(self) -> dict[str, Any]:
        try:
            stamps = json.loads(self._stamps.read_text())
        except (OSError, ValueError):
            return {}
        return stamps if isinstance(stamps, dict) else {}


class _Body:
    """One file on its way from the hub to the disk."""

    def __init__(self, name: str, path: Path, most: int, progress: Progress) -> None:
        self.name = name
        self.done = path.stat().st_size if path.exists() else 0
        self.abandoned = False  # nobody waits any more: stop writing
        self._path = path
        self._most = most
        self._progress = progress

    def stream(self, url: str, timeout_s: float) -> None:
        """Ask for what is missing and append it as it comes."""
        from huggingface_hub import get_session

        headers = {"user-agent": _AGENT, "accept-encoding": "identity"}
        if self.done:
            headers["range"] = f"bytes={self.done}-"
        self.abandoned = False
        with get_session().stream(
            "GET", url, headers=headers, timeout=timeout_s, follow_redirects=True
        ) as response:
            if response.status_code == 416:  # noqa: PLR2004 - "range not satisfiable": what is here is no part of it
                self._path.unlink()
                self.done = 0
                raise ConnectionError("what was here did not fit")  # the next round starts anew
            if response.is_error:
                raise ModelUnavailable(f"the hub does not give {self.name} (HTTP {response.status_code})")
            resumed = response.headers.get("content-range", "").startswith(f"bytes {self.done}-")
            with self._path.open("ab" if self.done and resumed else "wb") as out:
                self.done = out.tell()
                for block in response.iter_raw():
                    self._append(block, out)

    def _append(self, block: bytes, out: IO[bytes]) -> None:
        if self.abandoned:
            raise ModelUnavailable("given up")
        if self.done + len(block) > self._most:
            raise ModelUnavailable(f"the hub sends more of {self.name} than the {self._most:,} bytes it has")
        out.write(block)
        self.done += len(block)
        self._progress(self.name, self.done, self._most)


class _Task:
    """A call under way in a thread that nobody has to wait for, not even the process's end."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._ended = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, daemon=True, name="hub").start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Return whether it ended within `seconds`."""
        return self._ended.wait(seconds)

    def result(self) -> Any:  # noqa: ANN401 - whatever the call returns
        """Return or raise what the call did."""
        if self._error:
            raise self._error
        return self._value


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns, or raise TimeoutError after `seconds` whatever it is stuck in.

    Looking up a name can block far longer than any time-out a client takes.
    """
    task = _Task(call)
    if not task.wait(seconds):
        raise TimeoutError(f"no answer within {seconds:.1f} s")
    result: T = task.result()
    return result


def _listed(api: HfApi, tier: Tier, timeout_s: float) -> Listing:
    revision = tier.revision
    if len(revision) < _FULL_REVISION:
        revision = _resolved(api, tier)
    info = api.model_info(tier.repo, revision=revision, timeout=timeout_s, files_metadata=True)
    if info.sha != revision:
        raise ModelUnavailable(f"the hub answers with another revision of {tier.repo} than the pinned one")
    names = [s.rfilename for s in info.siblings or ()]
    vocabulary = [name for name in VOCABULARIES if name in names][:1]
    wanted = (*NEEDED, *vocabulary)
    if not vocabulary or any(name not in names for name in wanted):
        raise ModelUnavailable(f"{tier.repo} on the hub lacks a file the model needs")
    files = [
        _Listed(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None, s.blob_id if not s.lfs else None)
        for s in info.siblings or ()
        if s.rfilename in wanted
    ]
    return Listing(revision, tuple(files))


def _resolved(api: HfApi, tier: Tier) -> str:
    """Return the one revision that begins as the catalogue says; the beginning is all that is published."""
    fitting = {c.commit_id for c in api.list_repo_commits(tier.repo) if c.commit_id.startswith(tier.revision)}
    if len(fitting) != 1:
        raise ModelUnavailable(f"{tier.repo} on the hub has no single revision {tier.revision}…")
    return fitting.pop()


def _address(repo: str, name: str, revision: str, endpoint: str | None) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, name, revision=revision, endpoint=endpoint)


def _hashes(path: Path) -> tuple[str, str]:
    """Return a file's sha256 and git's sha1 for it (over a header and the bytes)."""
    sha256, git = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    git.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            sha256.update(block)
            git.update(block)
    return sha256.hexdigest(), git.hexdigest()


def _of_network(error: OSError) -> bool:
    """Whether an OSError is the connection's and not the disk's: those carry the file's name or ENOSPC."""
    return isinstance(error, ConnectionError | TimeoutError) or error.errno is None


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
