"""What chunks said, as JSON and back, to the last bit: what a cache or a job keeps of them."""

from __future__ import annotations

import json

from whisper_lambda.plain import from_plain, to_plain
from whisper_lambda.types import ChunkResult, LanguageGuess, Outline, Remembered

_KINDS = {"chunk": ChunkResult, "language": LanguageGuess, "outline": Outline}


def to_json(value: Remembered) -> str:
    """Return the value as one line of JSON; floats come back as they were."""
    kind = next(name for name, made in _KINDS.items() if isinstance(value, made))
    return json.dumps({kind: to_plain(value)}, separators=(",", ":"))


def from_json(text: str | bytes) -> Remembered:
    """Return the value `to_json` was given.

    Raises:
        ValueError: the text is not what `to_json` writes.
    """
    try:
        [(kind, plain)] = json.loads(text).items()
        return from_plain(_KINDS[kind], plain)
    except (KeyError, AttributeError, TypeError) as cause:
        raise ValueError("this is no stored result") from cause
