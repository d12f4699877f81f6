"""The price book: dated figures with their sources in, dollars out. The only place prices are kept.

prices.json is one region's list; an operator's own file replaces entries of the same name and adds
others (setting `prices_file`). Nothing here asks the network: a price is as good as its date.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption

ARCHITECTURES = ("x86_64", "arm64")
MB_PER_GB = 1024  # AWS bills memory in binary gigabytes
FREE_STORAGE_MB = 512  # of /tmp
MONTH_S = 30 * 86_400.0  # the month every monthly figure of ours means


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a figure was read, and when."""

    title: str
    url: str
    read: str  # ISO date


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one unit of something costs."""

    name: str  # e.g. "lambda.arm64.gb_s"
    usd: float
    per: str  # the unit, in words
    source: str  # key of `PriceBook.sources`
    effective: str  # ISO date
    region: str = ""
    architecture: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What somebody else's transcription costs."""

    name: str
    title: str
    usd_per_audio_hour: float
    source: str
    effective: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Every price we reckon with."""

    as_of: str
    sources: Mapping[str, Source]
    prices: Mapping[str, Price]
    alternatives: tuple[Alternative, ...]

    def usd(self, name: str) -> float:
        """Return the price of one unit.

        Raises:
            BadOption: the book has no such price.
        """
        try:
            return self.prices[name].usd
        except KeyError:
            raise BadOption(f"the price book has no {name!r}; it has {', '.join(self.prices)}") from None

    def gb_s(self, architecture: str) -> float:
        """Return the price of a GB-second, on demand.

        Raises:
            BadOption: Lambda has no such architecture.
        """
        return self.usd(f"lambda.{checked_architecture(architecture)}.gb_s")

    def invocation_usd(
        self, billed_ms: int, memory_mb: int, architecture: str, *, storage_mb: int = FREE_STORAGE_MB
    ) -> float:
        """Return what one invocation costs, request included.

        Args:
            billed_ms: duration, already rounded up (see `billed_ms`).
            memory_mb: of the function.
            architecture: x86_64 or arm64.
            storage_mb: its /tmp.
        """
        seconds = billed_ms / 1000
        extra_gb = max(0, storage_mb - FREE_STORAGE_MB) / MB_PER_GB
        return (
            seconds * memory_mb / MB_PER_GB * self.gb_s(architecture)
            + seconds * extra_gb * self.usd("lambda.storage_gb_s")
            + self.usd("lambda.request")
        )


def billed_ms(seconds: float) -> int:
    """Return the duration AWS bills for: whole milliseconds, rounded up, one at least."""
    # A nanosecond of grace: 0.007 s times 1000 is 7.000000000000001 in floating point.
    return max(1, math.ceil(seconds * 1000 - 1e-6))


def checked_architecture(name: str) -> str:
    """Return the name, refusing what Lambda does not have.

    Raises:
        BadOption: there is no such architecture.
    """
    if name not in ARCHITECTURES:
        raise BadOption(f"an architecture is one of {', '.join(ARCHITECTURES)}, not {name!r}")
    return name


def price_book(settings: Settings | None = None) -> PriceBook:
    """Return the shipped book, with the operator's figures over it where the settings name a file.

    Raises:
        BadOption: the operator's file cannot be read as prices.
    """
    return _book(settings.prices_file if settings else None)


@cache
def _book(overrides: Path | None) -> PriceBook:
    shipped = json.loads(resources.files(__package__).joinpath("prices.json").read_text("utf-8"))
    if overrides is None:
        return _parsed(shipped)
    try:
        own = json.loads(overrides.read_text("utf-8"))
        return _parsed(_over(shipped, own))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as cause:
        raise BadOption(f"{overrides}: no price list can be read from it: {cause}") from cause


def _over(shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the shipped list with the operator's entries put over those of the same name."""
    unknown = own.keys() - {"as_of", "currency", "sources", "prices", "alternatives"}
    if unknown:
        raise ValueError(f"unknown members {', '.join(sorted(unknown))}")
    merged = dict(shipped)
    merged["as_of"] = own.get("as_of", shipped["as_of"])
    merged["sources"] = {**shipped["sources"], **own.get("sources", {})}
    for part in ("prices", "alternatives"):
        entries = {e["name"]: e for e in shipped[part]}
        for entry in own.get(part, ()):
            entries[entry["name"]] = {**entries.get(entry["name"], {}), **entry}
        merged[part] = list(entries.values())
    return merged


def _parsed(raw: Mapping[str, Any]) -> PriceBook:
    sources = {name: Source(**each) for name, each in raw["sources"].items()}
    prices = [Price(**each) for each in raw["prices"]]
    alternatives = tuple(Alternative(**each) for each in raw["alternatives"])
    _check([(p.name, p.usd, p.source) for p in prices], sources)
    _check([(a.name, a.usd_per_audio_hour, a.source) for a in alternatives], sources)
    return PriceBook(
        as_of=raw["as_of"],
        sources=MappingProxyType(sources),
        prices=MappingProxyType({p.name: p for p in prices}),
        alternatives=alternatives,
    )


def _check(figures: Iterable[tuple[str, object, str]], sources: Mapping[str, Source]) -> None:
    """Refuse a figure that is no price, or whose source nobody named."""
    for name, usd, source in figures:
        if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd < math.inf:
            raise ValueError(f"{name} costs {usd!r}, which is no price")
        if source not in sources:
            raise ValueError(f"{name} names the source {source!r}, which is not among the sources")
