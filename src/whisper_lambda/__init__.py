"""Whisper transcription that costs nothing while nobody speaks.

Names are resolved on first use: importing the package loads no model, no FFmpeg and no
ONNX runtime (bar: 0.4 s, see docs/benchmarks.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whisper_lambda.api import stream, transcribe
    from whisper_lambda.client.client import AsyncClient, Client
    from whisper_lambda.errors import WhisperLambdaError
    from whisper_lambda.types import Options, Segment, Transcript, Word

__version__ = "0.1.0"

_HOME = {
    "AsyncClient": "client.client",
    "Client": "client.client",
    "Options": "types",
    "Segment": "types",
    "Transcript": "types",
    "WhisperLambdaError": "errors",
    "Word": "types",
    "stream": "api",
    "transcribe": "api",
}

__all__ = [
    "AsyncClient",
    "Client",
    "Options",
    "Segment",
    "Transcript",
    "WhisperLambdaError",
    "Word",
    "stream",
    "transcribe",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have every type
    """Load a public name from its home on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"whisper_lambda.{_HOME[name]}"), name)
