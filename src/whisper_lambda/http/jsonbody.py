"""A request's JSON in; the same names and texts a form would have carried out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from whisper_lambda.errors import BadOption, BrokenRequest
from whisper_lambda.http.fields import blamed


def pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield each member as a form would send it; a list as so many fields, an object as its JSON.

    Raises:
        BrokenRequest: the body is no JSON object.
        BadOption: a list holds more than plain values.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise BrokenRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BrokenRequest("the body is JSON, but no object")
    for name, value in given.items():
        if isinstance(value, list):
            if any(isinstance(item, dict | list) for item in value):
                raise blamed(BadOption(f"{name[:64]} is a list of plain values"), name[:64])
            yield from ((f"{name}[]", _text(item)) for item in value)
        elif value is not None:
            yield name, _text(value)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return value if isinstance(value, str) else json.dumps(value)
