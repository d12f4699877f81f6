import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.languages import ALIASES, LANGUAGES, to_code, to_name


def test_whispers_hundred_languages():
    assert len(LANGUAGES) == 100
    assert len(set(LANGUAGES.values())) == 100
    assert next(iter(LANGUAGES)) == "en"
    assert set(ALIASES.values()) <= set(LANGUAGES)
    assert not set(ALIASES) & (set(LANGUAGES) | set(LANGUAGES.values()))


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_code_and_its_name_mean_the_same(code):
    assert to_code(code) == to_code(code.upper()) == to_code(to_name(code).title()) == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("Spanish", "es"),
        (" castilian ", "es"),
        ("es-MX", "es"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("burmese", "my"),
        ("Valencian", "ca"),
        ("flemish", "nl"),
        ("haitian", "ht"),
        ("Haitian  Creole", "ht"),
        ("Mandarin", "zh"),
        ("jv", "jw"),
        ("nb-NO", "no"),
        ("Cantonese", "yue"),
    ],
)
def test_other_ways_people_say_it(asked, code):
    assert to_code(asked) == code


@pytest.mark.parametrize(
    ("asked", "near"), [("Spanisch", "spanish"), ("englsh", "english"), ("portugese", "portuguese")]
)
def test_a_near_miss_is_told_what_was_meant(asked, near):
    with pytest.raises(UnknownLanguage, match=near):
        to_code(asked)


@pytest.mark.parametrize("asked", ["", "xx", "klingon", "auto-detect", "es-", "-es", "e" * 10_000])
def test_what_is_no_language_is_refused_shortly(asked):
    with pytest.raises(UnknownLanguage) as refused:
        to_code(asked)
    assert len(str(refused.value)) < 200


@given(st.text())
def test_any_text_gives_a_known_code_or_the_one_error(asked):
    with contextlib.suppress(UnknownLanguage):
        assert to_code(asked) in LANGUAGES


def test_a_code_we_do_not_know_is_its_own_name():
    assert to_name("tlh") == "tlh"
