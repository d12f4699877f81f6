"""What a request may cost and take; which tier keeps to it is estimated in estimates.py."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_lambda.errors import BadOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may cost and take, by our estimate. None = anything."""

    budget_usd: float | None = None
    max_latency_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse bounds nothing can be within.

        Raises:
            BadOption: a bound is not a number above 0.
        """
        for name in ("budget_usd", "max_latency_s"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not 0 < value < float("inf")):
                raise BadOption(f"{name} is a number above 0, not {value!r}")

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return self.budget_usd is not None or self.max_latency_s is not None
