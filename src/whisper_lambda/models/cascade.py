"""Several engines in, one Engine out: the small one hears first, the next only what is in doubt.

To everybody else it is an engine like any other: its version names all of its tiers and how it
doubts, so that a chunk's text stays a function of (samples, options, engine version), may be
cached, and may be heard on another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.ports import Engine
from whisper_lambda.types import Chunk, ChunkResult, Continuation, LanguageGuess, Options, Window

AUTO = "auto"  # the wish for it, wherever a model is named
POLICY = "1"  # part of the version: changes with every change that could change a word

# A chunk whose likeliest text is less likely than this is heard again by the next tier.
# Source: docs/log.md, 2026-11-25, tiny.en against base on every English set pooled.
TRUSTED_LOGPROB = -0.3


@dataclass(frozen=True, slots=True)
class Step:
    """One tier of a cascade."""

    name: str
    engine: Engine


class Cascade:
    """Implements the Engine port over a ladder of engines, the cheapest first.

    The router makes one for a request out of engines it holds, and never closes it.
    """

    def __init__(self, steps: Sequence[Step], trusted_logprob: float = TRUSTED_LOGPROB) -> None:
        """Put engines together.

        Args:
            steps: at least one; the last one's word is final.
            trusted_logprob: mean log-probability of a token, below which a text is in doubt.
        """
        self._steps = tuple(steps)
        self._trusted = trusted_logprob

    @property
    def version(self) -> str:
        """All the tiers, and what makes one hand over to the next."""
        tiers = " > ".join(step.engine.version for step in self._steps)
        return f"cascade policy {POLICY} below {self._trusted:g}: {tiers}"

    @property
    def languages(self) -> frozenset[str]:
        """What any of the tiers understands."""
        return frozenset().union(*(step.engine.languages for step in self._steps))

    @property
    def memory_bytes(self) -> int:
        """All tiers together."""
        return sum(step.engine.memory_bytes for step in self._steps)

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        """Ask the first tier that knows more than one language; see the port."""
        return self._polyglot().engine.detect_language(chunk, candidates)

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        """Return what the first tier says that is sure of it, else what the last one says; see the port."""
        language = options.language or self.detect_language(chunk, options.languages).language
        options = replace(options, language=language)
        steps = self._speaking(language, options)
        for step in steps[:-1]:
            heard = step.engine.transcribe(chunk, options)
            if self.trusts(heard):
                return replace(heard, model=step.name)
        return replace(steps[-1].engine.transcribe(chunk, options), model=steps[-1].name)

    def listen(self, window: Window, options: Options) -> Continuation:
        """Let the cheapest tier that speaks the language go on; nobody waits for a second one live."""
        able = self._speaking(options.language, options)[0] if options.language else self._polyglot()
        return able.engine.listen(window, options)

    def _polyglot(self) -> Step:
        return next((s for s in self._steps if len(s.engine.languages) > 1), self._steps[-1])

    def _speaking(self, language: str, options: Options) -> tuple[Step, ...]:
        """Return the tiers that can do it, cheapest first.

        Raises:
            UnknownLanguage: none of them can.
        """
        able = [
            step
            for step in self._steps
            if language in step.engine.languages
            and (options.task == "transcribe" or len(step.engine.languages) > 1)
        ]
        if not able:
            raise UnknownLanguage(f"none of {', '.join(s.name for s in self._steps)} speaks {language!r}")
        return tuple(able)

    def trusts(self, heard: ChunkResult) -> bool:
        """Tell whether a tier's word can be final: it left nothing out, and is sure of the rest.

        Nothing at all is doubted too: what the voice detector took for speech should say something.
        """
        likely = all(segment.avg_logprob >= self._trusted for segment in heard.segments)
        return bool(heard.segments) and not heard.dropped and likely

    def close(self) -> None:
        """Free every tier; see the port."""
        for step in self._steps:
            step.engine.close()
