"""The Engine port on CTranslate2: the only module that imports the library.

One thread a decode, several decodes at once: the decoder gets slower with a second thread, and the
replicas share the weights (docs/log.md).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_lambda import lanes, machine
from whisper_lambda.config import Settings, prefer_avx512
from whisper_lambda.engine import halves, policy, segmenting, windows
from whisper_lambda.engine.alignment import Alignment, timed_words
from whisper_lambda.engine.batching import Batcher
from whisper_lambda.engine.encoder import FullWindows
from whisper_lambda.engine.features import FRAMES_PER_SECOND, log_mel
from whisper_lambda.engine.policy import Hypothesis, Rung
from whisper_lambda.engine.stretch import Stretch
from whisper_lambda.engine.vocabulary import Vocabulary, spaced
from whisper_lambda.engine.windows import WindowQuestion
from whisper_lambda.errors import BadOption, EngineFailed, UnknownLanguage
from whisper_lambda.models.store import Installed
from whisper_lambda.types import (
    SAMPLE_RATE,
    Chunk,
    ChunkResult,
    Continuation,
    Dropped,
    LanguageGuess,
    Options,
    Samples,
    Window,
)
from whisper_lambda.versions import version

POLICY = "4"  # part of the version: changes with every change that could change a word
SECONDS_TO_DETECT = 30.0
WORKING_BYTES = 150_000_000  # activations of a replica at a full window; measured for base
_NOTHING: tuple[None, tuple[float, bool], None] = (None, (0.0, False), None)
WORDLESS = frozenset(" .,!?…-–—~*♪♫()[]\"'。、！？")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What one rung asks of the model."""

    samples: Samples
    rung: Rung
    start: tuple[int, ...]  # tokens before the text
    align: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    hypothesis: Hypothesis
    alignment: Alignment | None


def library() -> ModuleType:
    """Import CTranslate2, which a cold start does beside verifying the weights."""
    if machine.has_fast_avx512():
        prefer_avx512()
    import ctranslate2  # it picks its instruction set when it is imported: not before prefer_avx512

    return ctranslate2  # type: ignore[no-any-return]  # it is untyped


class Ctranslate2Engine:
    """A loaded Whisper model. Safe to call from many threads; calls at the same time share batches."""

    def __init__(self, installed: Installed, settings: Settings) -> None:
        """Load verified weights.

        Raises:
            EngineFailed: the library cannot load or run the model.
        """
        ctranslate2 = library()
        self._installed = installed
        self._vocabulary = Vocabulary(installed.path, english_only=installed.english_only)
        self._view = ctranslate2.StorageView.from_array
        replicas = machine.cores(settings)
        try:
            self._model = ctranslate2.models.Whisper(
                str(installed.path), compute_type="int8", inter_threads=replicas, intra_threads=1
            )
        except (RuntimeError, ValueError) as cause:
            raise EngineFailed(f"{installed.name}: the model cannot be loaded: {cause}") from cause
        machine.trim_heap()  # it packs its weights and leaves holes as large as the first of them
        self._memory_bytes = installed.bytes + replicas * WORKING_BYTES
        # The recording's language is heard from a chunk that is decoded next: it is encoded once.
        self._detected: tuple[Samples | None, tuple[float, bool], Any] = _NOTHING
        self._stretch = Stretch(settings.batch_size)
        self._batcher: Batcher[_Question | WindowQuestion, _Answer | Continuation] = Batcher(
            self._answer_batch,
            _batch_key,
            workers=replicas,
            largest=settings.batch_size,
            of_one=lambda: self._stretch.most,
        )
        self._library = f"ctranslate2 {ctranslate2.__version__}"
        self._full: FullWindows | None = None
        if settings.onnx_encoder and machine.has_vnni():
            self._full = FullWindows(installed)
            self._library += f", onnxruntime {version('onnxruntime')}"

    @property
    def version(self) -> str:
        """Policy, library and weights."""
        weights = f"{self._installed.name}/{self._installed.digest[:16]}"
        return f"whisper-lambda policy {POLICY}, {self._library}, {weights}"

    @property
    def languages(self) -> frozenset[str]:
        """Codes this model has a token for; English-only models speak `en`."""
        return self._vocabulary.languages

    @property
    def memory_bytes(self) -> int:
        """The weights and what decoding needs beside them."""
        return self._memory_bytes

    def close(self) -> None:
        """Finish what was asked and free the model."""
        self._batcher.close()
        self._model.unload_model()
        if self._full:
            self._full.close()
        machine.trim_heap()

    def detect_language(self, chunk: Chunk, candidates: tuple[str, ...] = ()) -> LanguageGuess:
        """Name the likeliest of the candidates; see the port."""
        if len(self.languages) == 1:
            return LanguageGuess(next(iter(self.languages)), 1.0)
        try:
            window = Rung().window_s(chunk.duration)
            sketchy = Rung().sketchy(window)
            encoded = self._encode([chunk.samples], window, sketchy=sketchy)
            self._detected = (chunk.samples, (window, sketchy), encoded)
            return LanguageGuess(*self._likeliest(encoded, candidates))
        except RuntimeError as cause:
            raise EngineFailed(f"language detection failed: {cause}") from cause

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        """Decode one chunk; see the port."""
        language = self._language(chunk, options)
        return self._say(chunk, options, language, self._vocabulary.start(options, language))

    def _say(
        self, chunk: Chunk, options: Options, language: str, start: tuple[int, ...], *, half: bool = False
    ) -> ChunkResult:
        """Decode a chunk, and its halves too where words may be missing."""
        answer = self._climb(chunk, options, start)
        whole = self._result(chunk, options, language, answer)
        if chunk.unsure or options.temperature > 0:
            return whole
        parts = (
            halves.halved(chunk) if halves.suspicious(answer.hypothesis, chunk.samples, half=half) else None
        )
        if parts is None:
            return whole
        return halves.fuller(whole, [self._say(p, options, language, start, half=True) for p in parts])

    def _result(self, chunk: Chunk, options: Options, language: str, answer: _Answer) -> ChunkResult:
        """Judge what was decoded, and give it its times where they were asked for."""
        hypothesis, duration = answer.hypothesis, chunk.duration
        reason = policy.doubt(hypothesis, duration, options, unsure=chunk.unsure)
        if not reason and hypothesis.tokens and not set(hypothesis.text) - WORDLESS:
            reason = "no_speech"
        if reason or not hypothesis.tokens:
            dropped = Dropped(0.0, duration, reason or "no_speech", hypothesis.text.strip())
            return ChunkResult(chunk.start, duration, (), (dropped,), language)
        if answer.alignment is None:
            return ChunkResult(
                chunk.start,
                duration,
                segmenting.whole(replace(hypothesis, text=spaced(hypothesis.text, language)), duration),
                (),
                language,
            )
        pieces = self._vocabulary.words(hypothesis.tokens, language)
        pieces[0] = (spaced(pieces[0][0], language), pieces[0][1])
        words, counts = timed_words(pieces, answer.alignment, chunk.samples)
        spelled = self._vocabulary.spelled(hypothesis.tokens)
        made = segmenting.segments(words, counts, hypothesis, answer.alignment, spelled)
        return ChunkResult(chunk.start, duration, made, (), language)

    def listen(self, window: Window, options: Options) -> Continuation:
        """Decode what comes after a live window's prefix; see the port."""
        if len(self.languages) == 1 and options.language is None:
            options = replace(options, language=next(iter(self.languages)))
        if options.language is not None and options.language not in self.languages:
            raise UnknownLanguage(f"{self._installed.name} does not speak {options.language!r}")
        heard = self._batcher.ask(windows.question(window, options, self._vocabulary))
        assert isinstance(heard, Continuation)
        return heard

    def _language(self, chunk: Chunk, options: Options) -> str:
        if options.task == "translate" and self._installed.english_only:
            raise BadOption(
                f"{self._installed.name} knows English only: it cannot translate; ask for another model"
            )
        language = options.language
        if language is None:
            language = self.detect_language(chunk, options.languages).language
        if language not in self.languages:
            raise UnknownLanguage(f"{self._installed.name} does not speak {language!r}")
        return language

    def _climb(self, chunk: Chunk, options: Options, start: tuple[int, ...]) -> _Answer:
        """Try rungs until one leaves no doubt; else take the best of what was tried."""
        tried: list[_Answer] = []
        rungs = policy.ladder(options)
        for before, rung in zip((None, *rungs), rungs, strict=False):
            if before and not policy.differs(rung, before, chunk.duration):
                continue
            answer = self._batcher.ask(_Question(chunk.samples, rung, start, options.times != "none"))
            assert isinstance(answer, _Answer)
            tried.append(answer)
            if policy.settled(answer.hypothesis, rung, chunk.duration, options, unsure=chunk.unsure):
                return answer
        chosen = policy.best([a.hypothesis for a in tried], chunk.duration, options)
        return next(a for a in tried if a.hypothesis is chosen)

    def _answer_batch(
        self, questions: Sequence[_Question | WindowQuestion]
    ) -> Sequence[_Answer | Continuation]:
        live = [q for q in questions if isinstance(q, WindowQuestion)]
        try:
            return (
                self._hear(live) if live else self._answer([q for q in questions if isinstance(q, _Question)])
            )
        except RuntimeError as cause:
            raise EngineFailed(f"decoding failed: {cause}") from cause

    def _hear(self, asked: Sequence[WindowQuestion]) -> list[Continuation]:
        """Run one batch of live windows; one of unknown language comes alone."""
        first = asked[0]
        encoded = self._encode([q.window.samples for q in asked], first.window_s)
        language, probability = "", 1.0
        start = first.start
        if start is None:
            language, probability = self._likeliest(encoded, first.candidates)
            start = self._vocabulary.markers("transcribe", language)
        results = self._model.generate(
            encoded,
            [[*q.before, *start, *q.window.prefix] for q in asked],
            beam_size=windows.BEAM,
            max_length=windows.max_length(asked),
            return_no_speech_prob=True,
        )
        kept = [[t for t in r.sequences_ids[0] if t < self._vocabulary.eot] for r in results]
        tokens = [windows.fresh(q, k) for q, k in zip(asked, kept, strict=True)]
        # One at a time, as for recordings: what shares a batch would move times and scores.
        rows = np.asarray(encoded) if len(asked) > 1 else None
        each = [encoded if rows is None else self._view(rows[n : n + 1]) for n in range(len(asked))]
        return [
            windows.continuation(
                q,
                t,
                self._placed(q, t, alone, start),
                self._vocabulary,
                language=language or self._vocabulary.language_of(start),
                language_probability=probability,
                no_speech_prob=float(r.no_speech_prob),
            )
            for q, t, alone, r in zip(asked, tokens, each, results, strict=True)
        ]

    def _placed(
        self,
        asked: WindowQuestion,
        tokens: Sequence[int],
        encoded: Any,  # noqa: ANN401
        start: Sequence[int],
    ) -> Alignment:
        """Align a window's prefix and answer; where nothing came after it there is nothing to place."""
        prefix = asked.window.prefix
        if not tokens:
            return Alignment((0.0,) * (len(prefix) + 1), (0.0,) * len(prefix))
        frames = round(asked.window.duration * FRAMES_PER_SECOND)
        (found,) = self._model.align(encoded, list(start), [[*prefix, *tokens]], [frames])
        return Alignment.from_path(found.alignments, found.text_token_probs)

    def _likeliest(self, encoded: Any, candidates: tuple[str, ...]) -> tuple[str, float]:  # noqa: ANN401
        """Name the likeliest language of the one window encoded, and its share among the candidates."""
        heard = {token[2:-2]: p for token, p in self._model.detect_language(encoded)[0]}
        among = {code: heard[code] for code in (candidates or heard) if code in heard}
        best = max(among, key=lambda code: among[code])
        return best, round(among[best] / (sum(among.values()) or 1.0), 4)

    def _answer(self, questions: Sequence[_Question]) -> list[_Answer]:
        """Run one batch: encode, decode, align. All questions have one key."""
        first = questions[0]
        window, longest = _sizes(first)
        sketchy = first.rung.sketchy(window)
        encoded = self._known(questions, window, sketchy) or self._encode(
            [q.samples for q in questions], window, sketchy=sketchy
        )
        lanes.stay()
        began = time.perf_counter()
        results = self._model.generate(
            encoded,
            [list(q.start) for q in questions],
            beam_size=first.rung.beam_size,
            patience=policy.PATIENCE if sketchy else 1.0,
            no_repeat_ngram_size=first.rung.no_repeat_ngram,
            sampling_topk=0 if first.rung.temperature else 1,
            sampling_temperature=first.rung.temperature or 1.0,
            max_length=_max_length(len(first.start), longest),
            return_scores=True,
            return_no_speech_prob=True,
        )
        if (lane := lanes.current()) and lane.watched:
            self._stretch.took(len(questions), time.perf_counter() - began)
        lanes.stay()
        hypotheses = [self._hypothesis(r, first.rung) for r in results]
        return self._aligned(encoded, questions, hypotheses)

    def _encode(self, samples: Sequence[Samples], window_s: float, *, sketchy: bool = False) -> Any:  # noqa: ANN401 - StorageView is untyped
        """Encode one by one, so that each attention stays in the cache, and put the results together.

        A position is 20 ms; where the decoder is to read less (`sketchy`) it is `policy.POOL` times that.
        """
        each = []
        for one in samples:
            lanes.stay()  # a batch nobody waits for any more ends here, and not seconds later
            mel = np.ascontiguousarray(log_mel(one, window_s, self._installed.mel_bins)[np.newaxis])
            if sketchy and self._full:
                each.append(self._full.encode(mel))
            else:
                encoded = self._model.encode(self._view(mel))
                each.append(_pooled(np.asarray(encoded)) if sketchy else encoded)
        if len(each) == 1 and not sketchy:
            return each[0]
        return self._view(np.concatenate([np.asarray(e) for e in each]))

    def _known(self, questions: Sequence[_Question], window: float, sketchy: bool) -> Any:  # noqa: ANN401 - as above
        """Return the encoding the language was just heard from, if that is what is asked for alone."""
        samples, seen, encoded = self._detected
        if len(questions) > 1 or samples is not questions[0].samples or seen != (window, sketchy):
            return None
        self._detected = _NOTHING
        return encoded

    def _hypothesis(self, result: Any, rung: Rung) -> Hypothesis:  # noqa: ANN401 - the library is untyped
        tokens = tuple(t for t in result.sequences_ids[0] if t < self._vocabulary.eot)
        # The library's score is a mean over the tokens; Whisper's counts the end marker too.
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return Hypothesis(
            tokens, self._vocabulary.text(tokens), float(mean), float(result.no_speech_prob), rung.temperature
        )

    def _aligned(
        self,
        encoded: Any,  # noqa: ANN401
        questions: Sequence[_Question],
        hypotheses: Sequence[Hypothesis],
    ) -> list[_Answer]:
        if not questions[0].align or not any(h.tokens for h in hypotheses):
            return [_Answer(h, None) for h in hypotheses]
        # One at a time: the library scales attention over the batch's longest text, so that what shares
        # a batch would move times and scores; and the padding costs more than the batch saves.
        rows = np.asarray(encoded)
        positions = policy.POOL if questions[0].rung.sketchy(_sizes(questions[0])[0]) else 1
        marks = [t for t in questions[0].start if t >= self._vocabulary.sot]
        return [
            _Answer(
                h, self._alignment(rows[n : n + 1], marks, h, len(q.samples), positions) if h.tokens else None
            )
            for n, (q, h) in enumerate(zip(questions, hypotheses, strict=True))
        ]

    def _alignment(
        self,
        encoded: NDArray[np.float32],
        marks: Sequence[int],
        hypothesis: Hypothesis,
        samples: int,
        positions: int,
    ) -> Alignment:
        lanes.stay()
        frames = round(samples / SAMPLE_RATE * FRAMES_PER_SECOND / positions)
        (found,) = self._model.align(self._view(encoded), marks, [list(hypothesis.tokens)], [frames])
        return Alignment.from_path(found.alignments, found.text_token_probs, positions=positions)


def _pooled(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each `policy.POOL` positions: the decoder reads all of them at every step."""
    count, length, width = positions.shape
    groups = positions[:, : length // policy.POOL * policy.POOL].reshape(count, -1, policy.POOL, width)
    return np.ascontiguousarray(groups.mean(axis=2, dtype=np.float32))


def _max_length(before: int, longest: int) -> int:
    """Return the library's `max_length` that allows `longest` tokens after `before` of them.

    Its Whisper lets the answer be half of that length and no more, as if half were always prompt;
    and the two together must fit the decoder's context.
    """
    return min(policy.MAX_TOKENS, max(2 * longest, before + longest))


def _sizes(question: _Question) -> tuple[float, int]:
    """Seconds the encoder is shown, and tokens the answer may have.

    Those go by the audio even where the window is full: a loop on it costs a second's worth.
    """
    duration = len(question.samples) / SAMPLE_RATE
    most_audio_s = Rung().window_s(duration) - policy.MARGIN_S  # of all that share this window
    return question.rung.window_s(duration), policy.longest(most_audio_s)


def _batch_key(question: _Question | WindowQuestion) -> Hashable:
    """Questions of equal keys give the same answers together as alone."""
    if isinstance(question, WindowQuestion):
        return windows.batch_key(question)
    return _sizes(question), question.rung, question.align, question.start
