"""A wished-for model in, a loaded engine out, and the truth about which model it is.

Engines stay loaded up to a budget of bytes; the one used longest ago leaves first, never one in use.
However many threads ask for a model that is not loaded, one loads it and the others wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable, StorageFull, UnknownModel
from whisper_lambda.models import catalogue
from whisper_lambda.models.cascade import AUTO, Cascade, Step
from whisper_lambda.models.catalogue import Tier
from whisper_lambda.models.sources import Progress, quiet
from whisper_lambda.models.store import Installed, Store, verify
from whisper_lambda.ports import Engine
from whisper_lambda.types import ModelChoice

_LONGEST_ALIAS_CHAIN = 8

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Slot:
    """A model being loaded or loaded, and how many calls hold it."""

    engine: Future[Engine] = field(default_factory=Future)
    users: int = 0
    used: int = 0  # the router's count of uses when it was last taken


class Router:
    """Holds the loaded engines. `load` is handed in, so that no engine is imported here."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Installed], Engine],
        *,
        store: Store | None = None,
        progress: Progress = quiet,
    ) -> None:
        self.store = store or Store(settings)
        self._settings = settings
        self._load = load
        self._progress = progress
        self._budget_bytes = settings.models_memory_mb * 1_000_000
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._uses = 0
        self._closed = False
        self._stand_ins: dict[str, ModelChoice] = {}  # wish -> what answered for it last

    def choose(self, model: str | None = None) -> ModelChoice:
        """Say which tier would answer now, without fetching or loading anything.

        Args:
            model: tier, alias, or name of a folder in `model_dir`; None = the settings' default.

        Raises:
            UnknownModel: no such tier or alias.
            ModelUnavailable: neither it nor any tier that may stand in for it can be had.
            ModelCorrupt: it is on this disk, but its manifest cannot be believed.
        """
        if rungs := self._ladder(model):
            return _together([self.choose(rung) for rung in rungs])
        return self._first(self._meant(model), self._place)[1]

    def check(self, model: str) -> None:
        """Refuse a name that is no model, at once: nothing is looked for on disk or network.

        Raises:
            UnknownModel: no such tier or alias.
        """
        for name in self._ladder(model) or (model,):
            self._meant(name)

    def at_most(self, model: str | None, *, english: bool) -> list[str]:
        """Return the tiers no larger than the wish that can be had now, the largest first.

        Args:
            model: as for `choose`; of `auto`, all its rungs.
            english: whether tiers that know English only will do.

        Raises:
            UnknownModel: no such tier or alias.
            ModelUnavailable: none can be had.
        """
        served = self.choose(model).served.split("+")
        largest = max((t for t in catalogue.TIERS if t.name in served), key=lambda t: t.size_mb, default=None)
        if largest is None:  # a folder of the operator's, of which nothing is known
            return served
        smaller = [
            tier
            for tier in sorted(catalogue.TIERS, key=lambda t: t.size_mb, reverse=True)
            if tier.size_mb <= largest.size_mb and (english or not tier.english_only)
        ]
        return [tier.name for tier in smaller if self._can_be_had(tier)]

    def _can_be_had(self, tier: Tier) -> bool:
        try:
            self._place(tier)
        except (ModelUnavailable, ModelCorrupt):
            return False
        return True

    @contextmanager
    def engine(self, model: str | None = None) -> Iterator[tuple[Engine, ModelChoice]]:
        """Hold a loaded engine for the wish; it is not freed while held.

        Raises:
            UnknownModel: no such tier or alias.
            ModelUnavailable: neither it nor any tier that may stand in for it can be had.
            ModelCorrupt: the weights on this disk are not those that were installed.
            EngineFailed: the weights would not load.
        """
        if rungs := self._ladder(model):
            with ExitStack() as held:
                taken = [held.enter_context(self.engine(rung)) for rung in rungs]
                steps = {choice.served: Step(choice.served, engine) for engine, choice in taken}
                yield Cascade(tuple(steps.values())), _together([choice for _, choice in taken])
            return
        slot, choice = self._first(self._meant(model), self._take)
        try:
            yield slot.engine.result(), choice
        finally:
            self._give_back(slot)

    @property
    def loaded(self) -> bool:
        """Whether any model is loaded or being loaded."""
        with self._lock:
            return bool(self._slots)

    @property
    def ready(self) -> bool:
        """Whether any model is loaded."""
        with self._lock:
            return any(_loaded(slot) for slot in self._slots.values())

    def close(self) -> None:
        """Free all engines; those in use are freed when their calls end."""
        with self._lock:
            self._closed = True
            idle = [slot for slot in self._slots.values() if not slot.users]
            self._slots.clear()
        _free(idle)

    def _ladder(self, model: str | None) -> tuple[str, ...]:
        """Return the rungs where `auto` is meant, directly or by way of aliases; else nothing.

        Raises:
            UnknownModel: the settings' ladder is empty, or a rung of it is the ladder again.
        """
        if not self._means_auto(model or "default"):
            return ()
        rungs = self._settings.ladder
        if not rungs or any(self._means_auto(rung) for rung in rungs):
            raise UnknownModel(f"the ladder of {AUTO} names tiers, not {', '.join(rungs) or 'nothing'}")
        return rungs

    def _means_auto(self, name: str) -> bool:
        for _ in range(_LONGEST_ALIAS_CHAIN):
            if name == AUTO:
                return True
            name = self._settings.model if name == "default" else self._settings.aliases.get(name, name)
        return False

    def _meant(self, model: str | None) -> Tier | Path:
        """Return the tier meant, or the folder of the operator's.

        A path is taken from the settings only: a name in a request must not walk the disk.
        """
        name, trusted = ("default", True) if model is None else (model, False)
        for _ in range(_LONGEST_ALIAS_CHAIN):
            if name == "default":
                name, trusted = self._settings.model, True
            elif name in self._settings.aliases:
                name, trusted = self._settings.aliases[name], True
            elif tier := catalogue.find(name):
                return tier
            elif folder := self.store.operators(name):
                return folder
            elif trusted and Path(name).name != name:
                return Path(name).expanduser().resolve()
            else:
                return catalogue.tier(name)  # raises, and says what is near
        raise UnknownModel(f"the alias {name[:80]!r} leads in a circle")

    def _first(self, wish: Tier | Path, attempt: Callable[[Tier | Path], T]) -> tuple[T, ModelChoice]:
        """Return what `attempt` gives for the wish, or else for the nearest tier it succeeds with."""
        if stand_in := self._standing_in(wish):
            return attempt(catalogue.tier(stand_in.served)), stand_in
        try:
            return attempt(wish), ModelChoice(requested=wish.name, served=wish.name)
        except ModelUnavailable as cause:
            if isinstance(wish, Path):
                raise
            unavailable = cause
        for other in catalogue.substitutes(wish):
            try:
                got = attempt(other)
            except ModelUnavailable:
                continue
            nearest = "nearest smaller" if other.size_mb <= wish.size_mb else "nearest larger"
            reason = f"{unavailable}; {other.name} is the {nearest} tier that can be had"
            choice = self._stand_ins[wish.name] = ModelChoice(wish.name, other.name, reason)
            return got, choice
        raise ModelUnavailable(f"{unavailable}; nor can any tier that could stand in for it") from unavailable

    def _standing_in(self, wish: Tier | Path) -> ModelChoice | None:
        """Return the choice already made for the wish, while what it chose is loaded.

        Else the first request after the hub came back would wait for a download of minutes. A tier
        that has meanwhile been pulled, by whomever, is on this disk and answers from then on.
        """
        choice = self._stand_ins.get(wish.name) if isinstance(wish, Tier) else None
        if not choice or choice.served not in self._slots or self.store.find(wish.name):
            return None
        return choice

    def _place(self, wanted: Tier | Path) -> None:
        """Raise ModelUnavailable where the model is not loaded and could not be had."""
        if _key(wanted) in self._slots:
            return
        if isinstance(wanted, Path):
            self.store.adoptable(wanted)
        else:
            self.store.whereabouts(wanted)

    def _take(self, wanted: Tier | Path) -> _Slot:
        """Return the model's slot, held and loaded; load it if nobody else is at it."""
        with self._lock:
            if self._closed:
                raise ModelUnavailable("the models are closed")
            slot = self._slots.get(_key(wanted))
            first = slot is None
            if slot is None:
                slot = self._slots[_key(wanted)] = _Slot()
            slot.users += 1
            self._uses += 1
            slot.used = self._uses
        try:
            if first:
                self._fill(slot, wanted)
            slot.engine.result()  # waits for whoever loads it; raises what went wrong there
        except BaseException:
            self._give_back(slot)
            raise
        return slot

    def _fill(self, slot: _Slot, wanted: Tier | Path) -> None:
        """Load the model into its slot; a failure goes to all who wait, and the next caller tries again."""
        try:
            installed = self._installed(wanted)
            verify(installed)
            _free(self._excess(installed.bytes))
            engine = self._load(installed)
        except BaseException as failure:
            with self._lock:
                self._slots.pop(_key(wanted), None)
            told = failure if isinstance(failure, Exception) else ModelUnavailable("loading was interrupted")
            slot.engine.set_exception(told)
            raise
        slot.engine.set_result(engine)
        _free(self._excess(0))

    def _installed(self, wanted: Tier | Path) -> Installed:
        if isinstance(wanted, Path):
            return self.store.adopt(wanted)
        if found := self.store.find(wanted.name):
            return found
        try:
            return self.store.obtain(wanted, progress=self._progress)
        except (ModelCorrupt, StorageFull) as cause:  # a bad source, not a bad store: another tier may do
            raise ModelUnavailable(str(cause)) from cause

    def _give_back(self, slot: _Slot) -> None:
        with self._lock:
            slot.users -= 1
            orphan = not slot.users and slot not in self._slots.values()
        if orphan:
            _free([slot])
        _free(self._excess(0))

    def _excess(self, coming_bytes: int) -> list[_Slot]:
        """Take out the slots that must go so that `coming_bytes` more fit, longest unused first.

        What was used last stays when nothing is coming, even if it alone is over the budget:
        loading it for every request would be worse.
        """
        with self._lock:
            loaded = {key: slot for key, slot in self._slots.items() if _loaded(slot)}
            total = coming_bytes + sum(_memory_bytes(slot) for slot in loaded.values())
            newest = None if coming_bytes else self._uses
            idle = sorted((k for k, s in loaded.items() if not s.users), key=lambda k: loaded[k].used)
            leaving = []
            for key in idle:
                if total <= self._budget_bytes or loaded[key].used == newest:
                    break
                total -= _memory_bytes(loaded[key])
                leaving.append(self._slots.pop(key))
            return leaving


def _together(choices: list[ModelChoice]) -> ModelChoice:
    """Return the choice for a cascade of these: it serves all of them, and tells of every stand-in."""
    served = "+".join(dict.fromkeys(choice.served for choice in choices))
    reasons = [f"{c.served} answers for {c.requested}: {c.reason}" for c in choices if c.reason]
    return ModelChoice(AUTO, served, "; ".join(reasons))


def _key(wanted: Tier | Path) -> str:
    """Name the slot: tiers by their name, folders by their path."""
    return wanted.name if isinstance(wanted, Tier) else str(wanted)


def _memory_bytes(slot: _Slot) -> int:
    """Return what a loaded slot costs; 0 while it loads or after it failed."""
    return slot.engine.result().memory_bytes if _loaded(slot) else 0


def _loaded(slot: _Slot) -> bool:
    return slot.engine.done() and slot.engine.exception() is None


def _free(slots: list[_Slot]) -> None:
    for slot in slots:
        if _loaded(slot):
            slot.engine.result().close()
