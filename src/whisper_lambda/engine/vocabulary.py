"""Token ids to text and back, for one model.

Text is made from the model's own vocabulary file: reading it takes a few milliseconds, where the
full tokenizer takes 0.2 s. The tokenizer is loaded only when text must become tokens (prompts).
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.languages import LANGUAGES
from whisper_lambda.types import Options, Task

# Languages written without spaces: a word is then a run of characters the model gave as one token.
SPACELESS = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
MAX_PROMPT = 223  # tokens: half of Whisper's 448-token context, less the marker


class Vocabulary:
    """What the model's token ids mean. Immutable once read."""

    def __init__(self, folder: Path, *, english_only: bool = False) -> None:
        """Read `vocabulary.txt` or `vocabulary.json` and `config.json` of a CTranslate2 model folder.

        Args:
            folder: holds those files, and `tokenizer.json` for prompts.
            english_only: the model was trained without language and task tokens, though it lists them.

        Raises:
            ModelCorrupt: a file is missing or is not what its name says.
        """
        self._folder = folder
        tokens = _read_tokens(folder)
        self._tokens = tokens
        ids = {text: token for token, text in tokens.special()}
        try:
            self.eot = ids["<|endoftext|>"]
            self.sot = ids["<|startoftranscript|>"]
            self.no_timestamps = ids["<|notimestamps|>"]
            self.previous = ids["<|startofprev|>"]
            self._tasks = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
        except KeyError as cause:
            raise ModelCorrupt(f"{folder}: its vocabulary has no {cause} token") from cause
        self._english_only = english_only
        spoken = set(_config(folder).get("lang_ids", ()))
        self._languages = {code: ids[f"<|{code}|>"] for code in LANGUAGES if ids.get(f"<|{code}|>") in spoken}

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages the model has a token for."""
        return frozenset({"en"} if self._english_only else self._languages)

    def start(self, options: Options, language: str) -> tuple[int, ...]:
        """Return the tokens before the text: what was said before, the language, the task."""
        said = self.context(options)
        return (*((self.previous, *said) if said else ()), *self.markers(options.task, language))

    def markers(self, task: Task, language: str) -> tuple[int, ...]:
        """Return the markers alone: start, language, task."""
        spoken = () if self._english_only else (self._languages[language], self._tasks[task])
        return (self.sot, *spoken, self.no_timestamps)

    def language_of(self, markers: Sequence[int]) -> str:
        """Return the language these markers name."""
        named = (code for code, token in self._languages.items() if token in markers)
        return "en" if self._english_only else next(named, "")

    def context(self, options: Options) -> tuple[int, ...]:
        """Return the prompt's tokens, the latest kept where they are too many; hotwords stand before it."""
        said = " ".join(filter(None, (", ".join(options.hotwords), options.prompt.strip())))
        if not said:
            return ()
        ids = self._tokenizer.encode(" " + said, add_special_tokens=False).ids
        words = [i for i in ids if i < self.eot]  # markers a client writes out are no markers
        return tuple(words[-MAX_PROMPT:])

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - the library publishes no types
        from tokenizers import Tokenizer  # 0.2 s that only prompts need

        return Tokenizer.from_file(str(self._folder / "tokenizer.json"))

    def text(self, tokens: Iterable[int]) -> str:
        """Return what the tokens say; special tokens say nothing, broken UTF-8 becomes U+FFFD."""
        return b"".join(_to_bytes(self._tokens[t]) for t in tokens if t < self.eot).decode("utf-8", "replace")

    def spelled(self, tokens: Iterable[int]) -> tuple[bytes, ...]:
        """Return what each token says; one may hold a part of a character."""
        return tuple(_to_bytes(self._tokens[t]) for t in tokens)

    def words(self, tokens: Sequence[int], language: str | None) -> list[tuple[str, int]]:
        """Split tokens into words: each one's text, with its leading space, and its token count.

        A token that holds part of a character belongs to the word of that character. Where the
        script has spaces a word starts at a space (or at punctuation that stands alone).

        Returns:
            Pairs in order; the counts add up to `len(tokens)`.
        """
        pieces = self._characters(tokens)
        if language in SPACELESS:
            return pieces
        words: list[tuple[str, int]] = []
        for text, count in pieces:
            if not words or text.startswith(" ") or _only_punctuation(text):
                words.append((text, count))
            else:
                words[-1] = (words[-1][0] + text, words[-1][1] + count)
        return words

    def _characters(self, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """Join tokens until they form whole characters; broken bytes hold up none behind them."""
        pieces: list[tuple[str, int]] = []
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text, count = "", 0
        for token in tokens:
            text, count = text + decoder.decode(_to_bytes(self._tokens[token])), count + 1
            if not decoder.getstate()[0]:
                pieces.append((text, count))
                text, count = "", 0
        if count:
            pieces.append((text + decoder.decode(b"", final=True), count))
        return pieces


def spaced(text: str, language: str | None) -> str:
    """Return text that can follow other text: without timestamps the model may begin without a space."""
    return text if language in SPACELESS or text.startswith(" ") else " " + text


def _only_punctuation(text: str) -> bool:
    bare = text.strip()
    return bool(bare) and all(unicodedata.category(c)[0] in "PS" for c in bare)


def _config(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as cause:
        raise ModelCorrupt(f"{folder / 'config.json'} cannot be read: {cause}") from cause
    if not isinstance(value, dict):
        raise ModelCorrupt(f"{folder / 'config.json'} holds no settings")
    return value


class _Tokens:
    """Tokens by id, kept as one text: a string for each of 50,000 takes 6 MB and 10 ms of every start."""

    def __init__(self, lines: str) -> None:
        self._text = f"{lines}\n".encode()
        ends = np.flatnonzero(np.frombuffer(self._text, np.uint8) == ord("\n"))
        self._starts = np.concatenate([[0], ends + 1])

    def __getitem__(self, token: int) -> str:
        return self._text[self._starts[token] : self._starts[token + 1] - 1].decode()

    def special(self) -> Iterator[tuple[int, str]]:
        """Yield id and text of those that are no text of a transcript."""
        for found in re.finditer(rb"^<\|", self._text, re.MULTILINE):
            token = int(np.searchsorted(self._starts, found.start()))
            yield token, self[token]


def _read_tokens(folder: Path) -> _Tokens:
    try:
        if (folder / "vocabulary.json").exists():
            return _Tokens("\n".join(json.loads((folder / "vocabulary.json").read_text("utf-8"))))
        return _Tokens((folder / "vocabulary.txt").read_text("utf-8"))
    except (OSError, TypeError, ValueError) as cause:
        raise ModelCorrupt(f"{folder}: its vocabulary cannot be read: {cause}") from cause


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte. Source: openai/gpt-2 `encoder.py`, by its rule."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(hidden)}


_ALPHABET = _byte_alphabet()


def _to_bytes(token: str) -> bytes:
    try:
        return bytes(_ALPHABET[c] for c in token)
    except KeyError:
        return token.encode()  # special tokens hold characters outside the alphabet, e.g. a space
