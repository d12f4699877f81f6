"""A request's JSON in; its members, or the same names and texts a form would have carried, out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from whisper_lambda.errors import BadOption, BrokenRequest
from whisper_lambda.http.fields import blamed


def members(body: bytes | str) -> dict[str, Any]:
    """Return a JSON object that can be said back as it came.

    Numbers that JSON has no word for, and halves of characters, can be read and not written:
    what says them back, or keeps them, would fail.

    Raises:
        BrokenRequest: it is none.
    """
    try:
        given = json.loads(body if isinstance(body, str) else body.decode("utf-8-sig"))
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BrokenRequest("the body is not JSON") from None
    if not isinstance(given, dict):
        raise BrokenRequest("the body is JSON, but no object")
    return given


def pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield each member as a form would send it; a list as so many fields, an object as its JSON.

    Raises:
        BrokenRequest: the body is no JSON object.
        BadOption: a list holds more than plain values.
    """
    for name, value in members(body).items():
        if isinstance(value, list):
            if any(isinstance(item, dict | list) for item in value):
                raise blamed(BadOption(f"{name[:64]} is a list of plain values"), name[:64])
            yield from ((f"{name}[]", _text(item)) for item in value)
        elif value is not None:
            yield name, _text(value)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return value if isinstance(value, str) else json.dumps(value)
