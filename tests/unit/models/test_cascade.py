"""The cascade over engines that say what they are told to: who is asked, who is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.models.cascade import Cascade, Step
from whisper_lambda.types import (
    Chunk,
    ChunkResult,
    Continuation,
    Dropped,
    LanguageGuess,
    Options,
    Segment,
    Window,
)

ENGLISH = Options(language="en")
CHUNK = Chunk(np.zeros(16_000, np.float32), 7.0)


@dataclass
class Scripted:
    """Says one segment of a given likelihood for each number of its script; None is silence."""

    name: str
    logprobs: Sequence[float] = (-0.1,)
    languages: frozenset[str] = frozenset({"en", "es"})
    dropped: tuple[Dropped, ...] = ()
    memory_bytes: int = 5
    asked: list[Options] = field(default_factory=list)
    closed: bool = False

    @property
    def version(self) -> str:
        return f"{self.name}/1"

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        self.asked.append(Options())
        return LanguageGuess("es", 0.7)

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        self.asked.append(options)
        segments = tuple(Segment(0.0, 1.0, f" {self.name}", p, 0.0, 1.0) for p in self.logprobs)
        return ChunkResult(chunk.start, 1.0, segments, self.dropped, options.language)

    def listen(self, window: Window, options: Options) -> Continuation:
        self.asked.append(options)
        return Continuation((), self.name)

    def close(self) -> None:
        self.closed = True


def cascade(*engines: Scripted) -> Cascade:
    return Cascade([Step(e.name, e) for e in engines], trusted_logprob=-0.5)


def tiny(*logprobs: float, **changes: object) -> Scripted:
    return replace(Scripted("tiny.en", logprobs, frozenset({"en"})), **changes)


def test_what_the_small_one_is_sure_of_the_large_one_never_hears() -> None:
    small, large = tiny(-0.1, -0.5), Scripted("base")

    heard = cascade(small, large).transcribe(CHUNK, ENGLISH)

    assert (heard.model, heard.start, large.asked) == ("tiny.en", 7.0, [])


@pytest.mark.parametrize(
    "small",
    [
        tiny(-0.1, -0.51),
        tiny(),
        tiny(-0.1, dropped=(Dropped(0.0, 1.0, "repetition"),)),
    ],
    ids=["unlikely", "silent", "something left out"],
)
def test_what_is_in_doubt_is_heard_again_and_the_larger_ones_word_stands(small: Scripted) -> None:
    large = Scripted("base", (-3.0,))

    heard = cascade(small, large).transcribe(CHUNK, ENGLISH)

    assert (heard.model, heard.segments[0].text) == ("base", " base")
    assert (len(small.asked), len(large.asked)) == (1, 1)


def test_every_tier_is_asked_the_same() -> None:
    """A quicker first guess (one beam) was tried: it is doubted so much more often that it saves nothing."""
    small, large = tiny(-9.0), Scripted("base")

    cascade(small, large).transcribe(CHUNK, replace(ENGLISH, beam_size=3, prompt="Ana"))

    assert small.asked == large.asked == [replace(ENGLISH, beam_size=3, prompt="Ana")]


def test_three_tiers_are_climbed_one_by_one() -> None:
    tiers = [tiny(-9.0), Scripted("base", (-9.0,)), Scripted("small", (-9.0,))]

    assert cascade(*tiers).transcribe(CHUNK, ENGLISH).model == "small"
    assert cascade(tiers[0], Scripted("base"), tiers[2]).transcribe(CHUNK, ENGLISH).model == "base"
    assert len(tiers[2].asked) == 1


@pytest.mark.parametrize("options", [Options(language="es"), Options(language="en", task="translate")])
def test_who_cannot_do_it_is_not_asked(options: Options) -> None:
    small, large = tiny(-0.1), Scripted("base")

    assert cascade(small, large).transcribe(CHUNK, options).model == "base"
    assert small.asked == []


def test_a_language_nobody_speaks_is_refused_by_name() -> None:
    with pytest.raises(UnknownLanguage, match=r"tiny\.en, base speaks 'xx'"):
        cascade(tiny(), Scripted("base")).transcribe(CHUNK, Options(language="xx"))


def test_the_language_is_heard_by_one_that_knows_several() -> None:
    small, large = tiny(), Scripted("base")
    both = cascade(small, large)

    assert both.detect_language(CHUNK) == LanguageGuess("es", 0.7)
    assert both.transcribe(CHUNK, Options(multilingual=True)).language == "es"
    assert small.asked == []
    assert both.languages == {"en", "es"}


@pytest.mark.parametrize(("language", "by"), [("en", "tiny.en"), ("es", "base"), (None, "base")])
def test_a_live_window_is_heard_once_by_the_cheapest_that_can(language: str | None, by: str) -> None:
    both = cascade(tiny(-9.0), Scripted("base"))

    assert both.listen(Window(CHUNK.samples, 0.0), Options(language=language)).language == by


def test_its_version_changes_with_every_tier_and_with_what_is_trusted() -> None:
    """Or a cache would give one cascade's words for another's."""
    small, base, other = tiny(), Scripted("base"), Scripted("other")
    made = [
        cascade(small, base),
        cascade(base, small),
        cascade(small, other),
        cascade(base),
        Cascade([Step("tiny.en", small), Step("base", base)], trusted_logprob=-0.6),
    ]

    assert len({each.version for each in made}) == len(made)


def test_it_costs_what_its_tiers_cost_and_closes_them() -> None:
    small, large = tiny(), Scripted("base")
    both = cascade(small, large)

    both.close()

    assert both.memory_bytes == 10
    assert small.closed
    assert large.closed
