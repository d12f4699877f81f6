"""Settings: what the environment says, or why it cannot be meant."""

from pathlib import Path

import pytest

from whisper_lambda.config import Settings, WrongSetting


def read(**values: str) -> Settings:
    return Settings.from_env({f"WHISPER_LAMBDA_{name}": value for name, value in values.items()})


def test_what_is_not_said_is_the_default() -> None:
    assert read() == Settings()


def test_each_kind_of_value_is_read(tmp_path: Path) -> None:
    settings = read(
        THREADS="2", MAX_AUDIO_S="1.5", HUB="no", HOME=str(tmp_path), MODEL_DIR="", ALIASES="a=base, b=tiny"
    )

    assert (settings.threads, settings.max_audio_s, settings.hub) == (2, 1.5, False)
    assert (settings.home, settings.model_dir) == (tmp_path, None)
    assert dict(settings.aliases) == {"a": "base", "b": "tiny"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("MAX_AUDIO_S", value) for value in ("nan", "inf", "-1", "", "ten")],
        *[("THREADS", value) for value in ("-1", "1.5", "99999")],
        *[("BATCH_SIZE", value) for value in ("0", "-8", "100000")],
        ("JOBS_POLL_S", "0"),
        ("HUB", "perhaps"),
        ("ALIASES", "internal"),
        ("HOME", ""),
        ("MODLE", "base"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(WrongSetting, match=f"WHISPER_LAMBDA_{name}"):
        read(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MODLE", "base", "did you mean WHISPER_LAMBDA_MODEL[?]"),
        ("ZZZZZ", "1", "known: WHISPER_LAMBDA_ALIASES, "),
        ("THREADS", "many", "is a whole number, not 'many'"),
        ("MAX_AUDIO_S", "ten", "is a number, not 'ten'"),
        ("HUB", "perhaps", "is true or false, not 'perhaps'"),
        ("ALIASES", "internal", "is name=value"),
    ],
)
def test_a_refusal_says_what_would_be_right(name: str, value: str, says: str) -> None:
    with pytest.raises(WrongSetting, match=says):
        read(**{name: value})


def test_a_setting_made_in_python_is_held_to_the_same_bounds() -> None:
    with pytest.raises(WrongSetting, match="BATCH_SIZE is a number from 1 to 1024, not 0"):
        Settings(batch_size=0)
