"""Seams where two real adapters exist, as Protocols; the contract is in the docstrings."""

from __future__ import annotations

from typing import Protocol

from whisper_lambda.types import Chunk, ChunkResult, LanguageGuess, Options


class Engine(Protocol):
    """Turns one chunk of audio into segments. Holds the model; safe to call from many threads.

    Calls made at the same time may share a decode batch. That changes no word: the result is a
    function of (samples, options, version) and of nothing else.
    """

    @property
    def version(self) -> str:
        """Library, model digest and decoding policy. Changes whenever the text could change."""

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes (as Whisper spells them) this model understands."""

    @property
    def memory_bytes(self) -> int:
        """What keeping this engine loaded costs, for the router's budget."""

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        """Name the language spoken in `chunk`.

        Args:
            chunk: up to 30 s of audio.
            candidates: codes to choose from; empty means all the model knows.

        Raises:
            EngineFailed: the model raised; the cause is chained.
        """

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        """Return segments with times counted from the start of `chunk`, inside [0, duration], ordered.

        Silence gives no segments, never an invented sentence. `options.language` must be set
        unless `options.multilingual` or the model speaks one language only.

        Raises:
            UnknownLanguage: the model does not speak `options.language`.
            BadOption: the options do not fit the model (e.g. translate with an English-only one).
            EngineFailed: the model raised; the cause is chained.
        """

    def close(self) -> None:
        """Free the model. Calls under way finish first; later calls raise EngineFailed."""
