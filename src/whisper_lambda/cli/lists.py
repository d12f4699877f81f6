"""A flag's list with commas in, its numbers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from whisper_lambda.errors import BadOption

LAMBDA_MB = (128, 10_240)  # the memory sizes Lambda offers
MOST_HOURS = 1e9  # of audio a day: more than mankind speaks into machines

N = TypeVar("N", int, float)


def numbers(flag: str, text: str, bounds: tuple[N, N], kind: Callable[[str], N]) -> list[N]:
    """Return the numbers of the list in their order, each once.

    Raises:
        BadOption: there are none, one is no number of that kind, or one is out of the bounds.
    """
    least, most = bounds
    try:
        found = list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        found = []
    if not found or not all(least <= number <= most for number in found):
        raise BadOption(f"{flag} lists numbers from {least:.12g} to {most:.12g} with commas, not {text!r}")
    return found
