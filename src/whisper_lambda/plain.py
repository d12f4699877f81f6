"""Frozen values in, what JSON can hold out, and back: for what is stored or moved to another machine.

Only types named by the annotations of the class asked for are ever made: reading a value runs no
code that the value names.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Json = Any  # dicts with text keys, lists, text, numbers, booleans, None


def to_plain(value: object) -> Json:
    """Return the value as JSON holds it; fields that have their defaults are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: to_plain(getattr(value, f.name))
            for f in fields(value)
            if getattr(value, f.name) != f.default
        }
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def from_plain(kind: type[T], plain: Json) -> T:
    """Return a `kind` from what `to_plain` made of one.

    Raises:
        ValueError: it was made of something else, or is damaged.
    """
    try:
        made: T = _read(kind, plain)
    except (TypeError, KeyError, AttributeError) as cause:
        raise ValueError(f"this is no {getattr(kind, '__name__', kind)}") from cause
    return made


def _read(kind: Any, plain: Json) -> Any:  # noqa: ANN401 - of the kind
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(plain, dict):
            raise ValueError(f"a {kind.__name__} is a JSON object")
        hints = _hints(kind)
        return kind(**{name: _read(hints[name], item) for name, item in plain.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        inner = [a for a in arguments if a is not NoneType]
        return None if plain is None else _read(inner[0], plain)
    if origin is tuple:
        return tuple(_read(arguments[0], item) for item in _listed(plain))
    if origin is Literal:
        if plain not in arguments:
            raise ValueError(f"{plain!r} is not one of {arguments}")
        return plain
    return _simple(kind, plain)


def _simple(kind: Any, plain: Json) -> Any:  # noqa: ANN401 - as above
    if kind is bytes:
        return base64.b64decode(plain, validate=True)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if kind in {str, int, float, bool} and type(plain) is not kind:
        raise ValueError(f"{plain!r} is no {kind.__name__}")
    return plain


def _listed(plain: Json) -> list[Json]:
    if not isinstance(plain, list):
        raise TypeError("a list was expected")
    return plain


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
