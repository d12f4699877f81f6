"""Token ids to text and back, on the real vocabularies, with the full tokenizer as the judge."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights import installed
from whisper_lambda.engine.vocabulary import MAX_PROMPT, Vocabulary, spaced
from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.languages import LANGUAGES
from whisper_lambda.types import Options

pytestmark = pytest.mark.model

LONG = " ".join(f"number {n} of a long story," for n in range(200))


@pytest.fixture(scope="module")
def folder() -> Path:
    return installed("base").path


@pytest.fixture(scope="module")
def base(folder: Path) -> Vocabulary:
    return Vocabulary(folder)


@pytest.fixture(scope="module")
def english() -> Vocabulary:
    return Vocabulary(installed("tiny.en").path, english_only=True)


@pytest.fixture(scope="module")
def judge(folder: Path) -> Any:
    """The full tokenizer, published with the model."""
    return pytest.importorskip("tokenizers", reason="what is compared with").Tokenizer.from_file(
        str(folder / "tokenizer.json")
    )


def tokens_of(judge: Any, text: str) -> list[int]:
    return judge.encode(text, add_special_tokens=False).ids


def test_random_tokens_read_as_the_full_tokenizer_reads_them(base: Vocabulary, judge: Any) -> None:
    """Random ids are mostly broken UTF-8: the marks for broken characters must fall alike, too."""
    draw = random.Random(1)
    sequences = [draw.choices(range(base.eot), k=draw.randrange(40)) for _ in range(2_000)]

    assert [base.text(s) for s in sequences] == judge.decode_batch(sequences, skip_special_tokens=False)


def test_every_single_token_reads_alike(base: Vocabulary, judge: Any) -> None:
    singles = [[t] for t in range(base.eot)]

    assert [base.text(s) for s in singles] == judge.decode_batch(singles, skip_special_tokens=False)


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_text_survives_the_way_to_tokens_and_back(name: str) -> None:
    vocabulary = Vocabulary(installed(name).path)
    tokenizer = pytest.importorskip("tokenizers", reason="what is compared with").Tokenizer.from_file(
        str(installed(name).path / "tokenizer.json")
    )
    text = " ¿Dónde está — «aquí»? 東京で。\n\tСлово 🎵 naïve 3,5 € \x00 \u00ad end"

    assert vocabulary.text(tokens_of(tokenizer, text)) == text


def test_markers_and_timestamps_say_nothing(base: Vocabulary, judge: Any) -> None:
    words = tokens_of(judge, " Hola")

    assert base.text([base.sot, *words, base.no_timestamps, 51_000, base.eot]) == " Hola"


@pytest.mark.parametrize("language", ["es", "ja", None])
def test_words_use_up_all_tokens_and_join_to_the_text(base: Vocabulary, language: str | None) -> None:
    draw = random.Random(2)
    for _ in range(500):
        tokens = draw.choices(range(base.eot), k=draw.randrange(30))
        words = base.words(tokens, language)

        assert sum(count for _, count in words) == len(tokens)
        assert all(count > 0 for _, count in words)
        assert "".join(text for text, _ in words) == base.text(tokens)


def test_broken_bytes_hold_up_no_word_behind_them(base: Vocabulary, judge: Any) -> None:
    """A decoder in trouble gives half characters; the words after one keep times of their own."""
    half = tokens_of(judge, "🪗")[:1]
    words = base.words([*half, *tokens_of(judge, " por favor espere")], "es")

    assert [text for text, _ in words] == ["\ufffd por", " favor", " espere"]


SENTENCES = {
    "es": " ¿Cómo estás, Ñandú? Muy bien: «gracias».",
    "ru": " Съешь ещё этих мягких французских булок.",
    "en": " It's 3.5% — don't panic! 🎵🎵",
    "ja": "東京特許許可局です。",
    "ko": " 안녕하세요 여러분.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_words_of_a_sentence_join_to_it_exactly(base: Vocabulary, judge: Any, language: str) -> None:
    tokens = tokens_of(judge, SENTENCES[language])

    assert "".join(text for text, _ in base.words(tokens, language)) == SENTENCES[language]


def test_words_begin_at_spaces_and_at_punctuation(base: Vocabulary, judge: Any) -> None:
    words = base.words(tokens_of(judge, " Extraordinariamente, ¿no? Sí"), "es")

    assert [text for text, _ in words] == [" Extraordinariamente", ",", " ¿no", "?", " Sí"]


def test_a_script_without_spaces_is_split_at_every_token(base: Vocabulary, judge: Any) -> None:
    tokens = tokens_of(judge, "東京で会いましょう")

    assert len(base.words(tokens, "ja")) > 3
    assert len(base.words(tokens, "es")) == 1


def test_parts_of_a_character_stay_one_word(base: Vocabulary, judge: Any) -> None:
    """The emoji is four bytes in several tokens: cut in the middle it is one broken mark, at the end."""
    tokens = tokens_of(judge, "🪗")
    assert len(tokens) > 2

    assert base.words(tokens, "ja") == [("🪗", len(tokens))]
    assert base.words(tokens[:-1], "ja") == [("\ufffd", len(tokens) - 1)]


def test_the_start_names_language_and_task(base: Vocabulary, judge: Any) -> None:
    def marker(name: str) -> int:
        return judge.token_to_id(f"<|{name}|>")

    said = base.start(Options(task="translate"), "es")

    assert said == tuple(map(marker, ("startoftranscript", "es", "translate", "notimestamps")))
    assert base.start(Options(), "fr")[1:3] == (marker("fr"), marker("transcribe"))


def test_a_prompt_stands_before_the_start(base: Vocabulary, judge: Any) -> None:
    said = base.start(Options(prompt="Hola, Íñigo. ", hotwords=("Ana", "Zoë")), "es")
    at = said.index(base.sot)

    assert said[0] == judge.token_to_id("<|startofprev|>")
    assert base.text(said[1:at]) == " Ana, Zoë Hola, Íñigo."


def test_a_long_prompt_keeps_its_end(base: Vocabulary, judge: Any) -> None:
    """Half of the context at most: 223 tokens and the marker before them."""
    said = base.start(Options(prompt=LONG), "en")
    prompt = said[1 : said.index(base.sot)]

    assert len(prompt) == MAX_PROMPT == 223
    assert list(prompt) == tokens_of(judge, " " + LONG)[-223:]


def test_no_prompt_leaves_no_marker(base: Vocabulary) -> None:
    assert base.start(Options(prompt="  \n"), "es")[0] == base.sot


MARKERS = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|notimestamps|>",
    "<|translate|>",
    "<|0.00|>",
    "<|es|>",
]


@given(pieces=st.lists(st.sampled_from([*MARKERS, "hola", " ", "<|", "|>", "\x00", "🎵"]), max_size=12))
def test_markers_a_client_writes_are_no_markers(base: Vocabulary, pieces: list[str]) -> None:
    options = Options(prompt="".join(pieces), hotwords=tuple(p for p in pieces if p in MARKERS))

    said = base.start(options, "es")
    before = said[: said.index(base.sot)]

    assert said[len(before) :] == base.start(Options(), "es")
    assert all(t < base.eot for t in before[1:])


def test_languages_are_those_the_model_has_tokens_for(base: Vocabulary) -> None:
    assert base.languages == frozenset(LANGUAGES) - {"yue"}  # Cantonese came with large-v3


def test_an_english_only_model_is_told_no_language_and_no_task(english: Vocabulary) -> None:
    assert english.languages == {"en"}
    assert english.start(Options(), "en") == (english.sot, english.no_timestamps)


@pytest.mark.parametrize("language", ["en", None])
def test_english_only_words_join_too(english: Vocabulary, language: str | None) -> None:
    tokens = english.start(Options(prompt="Please hold, caller."), "en")[1:-2]

    assert [text for text, _ in english.words(tokens, language)] == [" Please", " hold", ",", " caller", "."]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocabulary.txt", "hello\n<|endoftext|>\n"),
        ("vocabulary.txt", None),
        ("config.json", "[]"),
        ("config.json", "{"),
        ("config.json", None),
    ],
)
def test_a_broken_file_is_named(folder: Path, tmp_path: Path, name: str, content: str | None) -> None:
    for file in ("vocabulary.txt", "config.json"):
        shutil.copy(folder / file, tmp_path / file)
    Vocabulary(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(ModelCorrupt, match="vocabulary" if name == "vocabulary.txt" else "config"):
        Vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [("¿Qué?", "es", " ¿Qué?"), (" Hola", "es", " Hola"), ("こんにちは", "ja", "こんにちは")],
)
def test_a_chunk_that_begins_without_a_space_does_not_run_into_the_one_before(text, language, wanted):
    assert spaced(text, language) == wanted
