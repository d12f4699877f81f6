"""Live sessions on real weights and real voices: what is committed is what was said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from fakes import fake_service
from prompts import Prompt
from weights import loaded
from whisper_lambda.config import Settings
from whisper_lambda.live.session import Committed, Session
from whisper_lambda.tools.scoring import error_rate, normalise
from whisper_lambda.types import SAMPLE_RATE, Options, Samples, Window

pytestmark = pytest.mark.model


def samples_of(prompt: Prompt) -> Samples:
    with fake_service() as service:
        return service.decode(prompt.path).samples


@pytest.mark.parametrize("told", [True, False], ids=["language told", "language heard"])
def test_what_is_committed_is_what_was_said(spanish: Prompt, english: Prompt, told: bool) -> None:
    """Both recordings in one session; WER after Whisper's normalisers, 8 % is two words of 26."""
    pause = np.zeros(round(1.5 * SAMPLE_RATE), np.float32)
    for prompt in (spanish, english):
        with loaded("base") as engine:
            session = Session(engine, Options(language=prompt.language if told else None))
            events = session.feed(np.concatenate([samples_of(prompt), pause]))
            committed = [e for e in events + session.finish() if isinstance(e, Committed)]
        words = [w for e in committed for w in e.words]
        said = normalise("".join(w.text for w in words), prompt.language)
        wer = error_rate([normalise(prompt.text, prompt.language)], [said]).wer

        assert wer <= 0.08, said
        assert {e.language for e in committed} == {prompt.language}
        assert all(a.end <= b.start + 1e-6 for a, b in pairwise(words))
        assert len(committed) > 5  # while it was spoken, not at its end


def test_a_window_goes_on_from_its_prefix_and_does_not_say_it_again(english: Prompt) -> None:
    samples = samples_of(english)[: 6 * SAMPLE_RATE]
    with loaded("base") as engine:
        whole = engine.listen(Window(samples, 0.0), Options(language="en"))
        prefix = tuple(t for w in whole.words[:5] for t in w.tokens)
        settled_s = whole.words[4].end
        rest = engine.listen(Window(samples, 0.0, prefix=prefix, settled_s=settled_s), Options(language="en"))
        nothing = engine.listen(
            Window(samples[: round(settled_s * SAMPLE_RATE)], 0.0, prefix=prefix, settled_s=settled_s),
            Options(language="en"),
        )

    assert [w.text for w in rest.words] == [w.text for w in whole.words[5:]]
    assert rest.words[0].start >= settled_s - 1e-3
    assert len(nothing.words) <= 1  # the prefix is never heard again, whatever sounds


def test_windows_heard_together_say_what_each_says_alone(spanish: Prompt, english: Prompt) -> None:
    """Sessions share decode batches: not a word, a time or a score may depend on who else is speaking."""
    first, long = samples_of(spanish)[: 2 * SAMPLE_RATE], 8 * SAMPLE_RATE
    windows = [Window(s, 0.0) for s in (first, samples_of(spanish)[:long], samples_of(english)[:long])]
    with loaded("base", Settings(threads=1)) as engine:
        alone = [engine.listen(window, Options(language="es")) for window in windows]
        with ThreadPoolExecutor(len(windows)) as threads:  # one is heard, and meanwhile the others wait
            together = list(threads.map(lambda w: engine.listen(w, Options(language="es")), windows))

    assert together == alone
