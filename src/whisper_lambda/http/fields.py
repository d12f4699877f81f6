"""The fields a route takes: one table reads, checks and documents them.

A value is checked the moment it has arrived, which is before the recording does wherever a client
sends its fields first, as the SDKs do.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_lambda import errors
from whisper_lambda.errors import BadOption, ClientError, UnknownField

LONGEST_VALUE = 64 * 1024  # bytes of one field; a prompt keeps its last 223 tokens
MOST_VALUES = 200  # of all fields together
_WHOLE = re.compile("-?[0-9]{1,11}")
_BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read, and how OpenAPI describes it."""

    read: Callable[[str], Any]  # raises ClientError, its message without the field's name
    schema: Mapping[str, Any]
    blank: bool = False  # an empty text is a value; else a form that sends one has left the field out


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form or query."""

    name: str
    kind: Kind
    help: str
    many: bool = False  # a list: `name` and `name[]` are both read, any number of times
    required: bool = False

    @property
    def wire_name(self) -> str:
        """The name the SDKs send."""
        return f"{self.name}[]" if self.many else self.name


class Values:
    """A request's fields as they come in. `add` refuses what is wrong at once, by name."""

    def __init__(self, table: Sequence[Field]) -> None:
        self._known = {f.name: f for f in table}
        self._given: dict[str, Any] = {}
        self._count = 0

    def add(self, wire_name: str, text: str) -> None:
        """Take one field.

        Raises:
            UnknownField: the route has none of that name.
            BadOption: the value is out of its range, or given twice (or the kind's own refusal).
        """
        self._count += 1
        if self._count > MOST_VALUES:
            raise BadOption(f"more than {MOST_VALUES} fields were sent")
        field = self.expected(wire_name)
        if len(text) > LONGEST_VALUE:
            raise blamed(BadOption(f"{field.name} is longer than {LONGEST_VALUE} characters"), field.name)
        if not text and not field.kind.blank:
            return
        try:
            value = field.kind.read(text)
        except ClientError as refused:
            if type(refused) is BadOption:
                raise blamed(BadOption(f"{field.name}: {refused}"), field.name) from None
            raise blamed(refused, field.name) from None
        if field.many:
            self._given.setdefault(field.name, []).append(value)
        elif field.name in self._given:
            raise blamed(BadOption(f"{field.name} was sent twice; send it once"), field.name)
        else:
            self._given[field.name] = value

    def expected(self, wire_name: str) -> Field:
        """Return the field of that name.

        Raises:
            UnknownField: the route has none; the message names what is near.
        """
        plain = wire_name.removesuffix("[]")
        field = self._known.get(wire_name) or self._known.get(plain)
        if field is None or (wire_name.endswith("[]") and not field.many):
            near = difflib.get_close_matches(plain[:64], self._known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(self._known)}"
            raise blamed(UnknownField(f"there is no field {wire_name[:64]!r}; {hint}"), wire_name[:64])
        return field

    def finished(self) -> dict[str, Any]:
        """Return what was given, by name.

        Raises:
            MissingField: a field the route needs is not there.
        """
        for field in self._known.values():
            if field.required and field.name not in self._given:
                raise blamed(errors.MissingField(f"{field.name} is missing: {field.help}"), field.name)
        return self._given


def blamed(error: ClientError, param: str) -> ClientError:
    """Return the error with the field it is about."""
    error.param = param
    return error


def text(longest: int = LONGEST_VALUE) -> Kind:
    """Any text up to so many characters, none of them NUL."""

    def read(given: str) -> str:
        if len(given) > longest:
            raise BadOption(f"at most {longest} characters are read, {len(given)} were sent")
        if "\0" in given:  # Postgres keeps none
            raise BadOption("a text holds no NUL")
        return given

    return Kind(read, {"type": "string", "maxLength": longest}, blank=True)


def boolean() -> Kind:
    """True or false, as forms spell it."""

    def read(given: str) -> bool:
        try:
            return _BOOLEANS[given.strip().lower()]
        except KeyError:
            raise BadOption(f"{given[:40]!r} is neither true nor false") from None

    return Kind(read, {"type": "boolean"})


def number(low: float, high: float) -> Kind:
    """A number from low to high, both allowed."""

    def read(given: str) -> float:
        value = _real(given)
        if not low <= value <= high:
            raise BadOption(f"{given[:40]!r} is no number from {low:g} to {high:g}")
        return value

    return Kind(read, {"type": "number", "minimum": low, "maximum": high})


def above_zero(high: float) -> Kind:
    """A number above 0, high allowed."""

    def read(given: str) -> float:
        value = _real(given)
        if not 0.0 < value <= high:
            raise BadOption(f"{given[:40]!r} is no number above 0, at most {high:g}")
        return value

    return Kind(read, {"type": "number", "exclusiveMinimum": 0, "maximum": high})


def _real(given: str) -> float:
    """Return the number, or NaN, which is within no limits."""
    try:
        return float(given)
    except ValueError:
        return math.nan


def whole(low: int, high: int) -> Kind:
    """A whole number from low to high, both allowed."""

    def read(given: str) -> int:
        short = given.strip()
        value = int(short) if _WHOLE.fullmatch(short) else low - 1
        if not low <= value <= high:
            raise BadOption(f"{given[:40]!r} is no whole number from {low} to {high}")
        return value

    return Kind(read, {"type": "integer", "minimum": low, "maximum": high})


def choice(values: Sequence[str], refuse: Callable[[str], ClientError] = BadOption) -> Kind:
    """One of a few words."""

    def read(given: str) -> str:
        if given not in values:
            raise refuse(f"{given[:40]!r} is not one of {', '.join(values)}")
        return given

    return Kind(read, {"type": "string", "enum": list(values)})


def schema(table: Sequence[Field], recording: str | None) -> dict[str, Any]:
    """Return the JSON schema of a form with these fields.

    Args:
        table: the fields.
        recording: name of the file's part; None where the form has none.
    """
    properties: dict[str, Any] = {}
    if recording:
        properties[recording] = {"type": "string", "format": "binary", "description": "the recording"}
    for field in table:
        one = dict(field.kind.schema)
        described = {"type": "array", "items": one} if field.many else one
        properties[field.wire_name] = {**described, "description": field.help}
    needed = [f.wire_name for f in table if f.required] + ([recording] if recording else [])
    return {
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": False,
    }
