"""How eagerly a session decodes: OpenAI's `delay` as step, agreement and how soon age settles a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a window is decoded again, and when its words are committed."""

    step_s: float  # new audio that makes a step due
    depth: int  # hypotheses that must agree on a word
    settled_s: float  # a word that ended so long before the window's end needs no second hypothesis
    held: int = 1  # last words of a hypothesis, likeliest to be cut short, that wait for the next step
    edge_s: float = 0.0  # nor is a word committed that ends so close to the window's end
    kept_s: float = 4.0  # committed audio kept in the window at least
    trim_s: float = 7.0  # and at most: then the window is cut


PACES: Mapping[Delay, Pace] = MappingProxyType(
    {
        "minimal": Pace(step_s=0.4, depth=2, settled_s=1.5, held=0),
        "low": Pace(step_s=0.8, depth=2, settled_s=2.5, edge_s=0.5),
        "medium": Pace(step_s=1.1, depth=2, settled_s=3.0, edge_s=0.5),
        "high": Pace(step_s=1.5, depth=2, settled_s=5.0, edge_s=0.5),
        "xhigh": Pace(step_s=2.2, depth=3, settled_s=8.0, edge_s=0.5),
    }
)
