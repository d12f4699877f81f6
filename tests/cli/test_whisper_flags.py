"""Command lines written for openai-whisper and whisper-ctranslate2."""

import re

import pytest
from typer.main import get_command

from whisper_lambda.cli.transcribe_typer import app
from whisper_lambda.cli.whisper_flags import ALIASES, FIXED, ours
from whisper_lambda.errors import BadOption
from whisper_lambda.types import Options

SWITCHES = {"--verbose": "", "--stream": "--no-stream"}
VALUED = {"--format", "-f", "--prompt", "--language", "--output-dir"}

# openai-whisper 20250625
WHISPER = """
    --model --model_dir --device --output_dir --output_format --verbose --task --language --temperature
    --best_of --beam_size --patience --length_penalty --suppress_tokens --initial_prompt
    --carry_initial_prompt --condition_on_previous_text --fp16
    --temperature_increment_on_fallback --compression_ratio_threshold --logprob_threshold
    --no_speech_threshold --word_timestamps --prepend_punctuations --append_punctuations
    --highlight_words --max_line_width --max_line_count --max_words_per_line --threads --clip_timestamps
    --hallucination_silence_threshold
"""
# what whisper-ctranslate2 0.5.8 adds
CTRANSLATE2 = """
    --compute_type --batched --batch_size --vad_filter --vad_threshold --vad_min_speech_duration_ms
    --vad_max_speech_duration_s --vad_min_silence_duration_ms --hotwords --multilingual --print_colors
    --pretty_json --local_files_only --model_directory --prefix --repetition_penalty --no_repeat_ngram_size
    --speaker_name --speaker_num --hf_token --live_transcribe --live_volume_threshold --live_input_device
"""


def translated(*args: str) -> list[str]:
    return ours(args, switches=SWITCHES, valued=VALUED)


def test_underscores_become_hyphens() -> None:
    assert translated("--output_dir", "out", "--model_dir=m_d") == ["--output-dir", "out", "--model-dir=m_d"]


def test_whispers_names_for_our_flags_are_known() -> None:
    assert translated("--output_format", "srt", "--initial_prompt=a") == ["--format", "srt", "--prompt=a"]


def test_a_value_is_left_as_it_is() -> None:
    assert translated("--prompt", "--a_b", "-f", "--c_d", "x_y.mp3") == [
        "--prompt",
        "--a_b",
        "-f",
        "--c_d",
        "x_y.mp3",
    ]


def test_nothing_behind_two_hyphens_is_translated() -> None:
    assert translated("a", "--", "--output_dir", "--fp16") == ["a", "--", "--output_dir", "--fp16"]


def test_switches_take_true_and_false() -> None:
    assert translated("--verbose", "True", "a") == ["--verbose", "a"]
    assert translated("--verbose=true", "a") == ["--verbose", "a"]
    assert translated("--verbose", "False", "a") == ["a"]
    assert translated("--stream", "false", "a") == ["--no-stream", "a"]
    assert translated("--stream=False", "a") == ["--no-stream", "a"]
    assert translated("--verbose", "a") == ["--verbose", "a"]


@pytest.mark.parametrize("flag", (WHISPER + CTRANSLATE2).split())
def test_every_flag_of_theirs_works_or_is_refused_with_a_reason(flag: str) -> None:
    name = "--" + flag[2:].replace("_", "-")
    works = {o for p in get_command(app).params for o in p.opts}

    assert ALIASES.get(name, name) in works or name[2:] in FIXED


@pytest.mark.parametrize("flag", FIXED)
def test_a_value_that_is_so_anyway_is_dropped_and_any_other_refused(flag: str) -> None:
    fixed = FIXED[flag]
    for value in fixed.so_anyway:
        assert translated(f"--{flag}", value.title(), "a") == ["a"]
        assert translated(f"--{flag.replace('-', '_')}={value}", "a") == ["a"]
    with pytest.raises(BadOption, match=re.escape(fixed.reason)):
        translated(f"--{flag}", "7777", "a")
    with pytest.raises(BadOption, match=re.escape(fixed.reason)):
        translated(f"--{flag}")


def test_no_flag_of_ours_is_also_a_fixed_one() -> None:
    ours_ = {o.removeprefix("--") for p in get_command(app).params for o in (*p.opts, *p.secondary_opts)}

    assert not ours_.intersection(FIXED)


def test_every_option_can_be_set_from_the_command_line() -> None:
    """`times` follows from the formats and --word-timestamps."""
    parameters = {p.name for p in get_command(app).params}

    assert Options.__dataclass_fields__.keys() - parameters == {"times"}
    assert "word_timestamps" in parameters
