"""A function whose parameters are flags in, the arguments to call it with out.

typer reads the same flags for help, completion and complaints. It also imports pydantic: 0.1 s
before a recording is even opened, which a well-formed command line need not pay (docs/log.md). So
the reader here takes what is plainly right, and leaves everything else to typer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Flag:
    """How one parameter is written on the command line. Without names it is what stands alone."""

    names: tuple[str, ...]  # "--stream/--no-stream" gives a switch its opposite
    text: str
    panel: str = ""  # heading in the help
    value: str = ""  # what follows the flag, in the help; empty for a switch
    minimum: int | None = None
    default: str = ""  # how the help calls the default; "-" = not at all, empty = as it is
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the function, with its flag and its kind."""

    name: str
    flag: Flag
    kind: Any  # str, int, float, bool, Path, a Literal or list[str]; None is taken out
    annotation: Any  # as written, without the flag
    default: Any  # inspect.Parameter.empty = must be given

    @property
    def is_switch(self) -> bool:
        """Whether no value follows the flag."""
        return self.kind is bool

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write the flag, opposites left out."""
        return tuple(name.split("/")[0] for name in self.flag.names)

    @property
    def opposite(self) -> str:
        """The flag that says no, or nothing."""
        return next((name.split("/")[1] for name in self.flag.names if "/" in name), "")


@cache
def parameters(function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return the parameters that are flags, in order."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        flag = next((m for m in getattr(hints[name], "__metadata__", ()) if isinstance(m, Flag)), None)
        if flag is not None:
            annotation = hints[name].__origin__
            kinds = [annotation] if get_origin(annotation) in {list, Literal} else get_args(annotation)
            kind = next((k for k in kinds if k is not NoneType), annotation)
            found.append(Parameter(name, flag, kind, annotation, parameter.default))
    return tuple(found)


def read(function: Callable[..., object], args: Sequence[str]) -> dict[str, Any] | None:
    """Return the keyword arguments the command line gives, or None where typer should have a look."""
    known = {spelling: p for p in parameters(function) for spelling in p.spellings}
    opposites = {p.opposite: p for p in parameters(function) if p.opposite}
    [alone] = (p.name for p in parameters(function) if not p.flag.names)
    values: dict[str, Any] = {}
    left = list(args)
    while left:
        token = left.pop(0)
        if token == "--":
            values.setdefault(alone, []).extend(left)
            break
        if token == "-" or not token.startswith("-"):
            values.setdefault(alone, []).append(token)
        elif token in opposites:
            values[opposites[token].name] = False
        elif token in known and known[token].is_switch:
            values[known[token].name] = True
        elif not _take_value(known, token, left, values):
            return None
    return values if values.get(alone) else None


def _take_value(known: dict[str, Parameter], token: str, left: list[str], values: dict[str, Any]) -> bool:
    name, equals, text = token.partition("=")
    parameter = known.get(name)
    if parameter is None or parameter.is_switch or not (equals or left):
        return False
    value = _converted(parameter, text if equals else left.pop(0))
    if value is None:
        return False
    if parameter.kind == list[str]:
        values.setdefault(parameter.name, []).append(value)
    else:
        values[parameter.name] = value
    return True


def _converted(parameter: Parameter, text: str) -> Any:  # noqa: ANN401 - of the parameter's kind
    """Return the value, or None for a text that needs a second thought."""
    kind, least = parameter.kind, parameter.flag.minimum
    if kind is float:
        return float(text) if _NUMBER.fullmatch(text) else None
    if kind is int:
        return int(text) if _WHOLE.fullmatch(text) and int(text) >= (least or 0) else None
    if get_origin(kind) is Literal:
        return text if text in get_args(kind) else None
    return Path(text) if kind is Path else text
