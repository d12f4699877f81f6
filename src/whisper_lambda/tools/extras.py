"""The libraries of the extra `bench`: imported when first needed, missed with a clear word."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def needed(module: str, *, extra: str = "bench") -> ModuleType:
    """Import an optional library.

    Raises:
        ModuleNotFoundError: it is not installed; the message says which extra brings it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as cause:
        raise ModuleNotFoundError(
            f"{module} is not installed; it comes with: pip install 'whisper-lambda[{extra}]'",
            name=cause.name,
        ) from cause
