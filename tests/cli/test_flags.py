"""The quick reader of flags never says anything else than typer does."""

import inspect
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from whisper_lambda.cli.flags import Parameter, parameters, read
from whisper_lambda.cli.transcribe import transcribe, translated
from whisper_lambda.cli.transcribe_typer import app

COMMAND = get_command(app)
FLAGS = parameters(transcribe)


def as_typer_has_it(args: list[str]) -> dict[str, Any]:
    context = COMMAND.make_context("transcribe", list(args), obj={})
    return {name: value for name, value in context.params.items() if name != "ctx"}


def in_full(values: dict[str, Any]) -> dict[str, Any]:
    return {p.name: values.get(p.name, p.default) for p in FLAGS}


@st.composite
def written(draw: st.DrawFn) -> list[str]:
    """A command line, mostly right."""
    args: list[str] = []
    for parameter in draw(st.lists(st.sampled_from([p for p in FLAGS if p.flag.names]), max_size=6)):
        args += draw(one_flag(parameter))
    args += draw(st.lists(st.sampled_from(["a.mp3", "-", "b c.wav", "ñ.ogg", "*.m4a"]), max_size=2))
    return args + draw(st.sampled_from([[], ["--", "--format"], ["--"]]))


@st.composite
def one_flag(draw: st.DrawFn, parameter: Parameter) -> list[str]:
    name = draw(st.sampled_from([*parameter.spellings, *filter(None, [parameter.opposite])]))
    if parameter.is_switch:
        return [name]
    values = {
        int: st.sampled_from(["1", "12", "0", "-1", "1.5", "x", "007", "", "1_0"]),
        float: st.sampled_from(["0", "0.5", "-1.0", "1e3", "x", "nan", ".5", "1.", ""]),
        Path: st.sampled_from(["out", "a/b", "-", "", "."]),
    }.get(parameter.kind, st.sampled_from(["es", "a,b", "", "-x", "--format", "True", "ñ"]))
    if get_origin(parameter.kind) is Literal:
        values = st.sampled_from([*get_args(parameter.kind), "x", ""])
    value = draw(values)
    return [f"{name}={value}"] if name.startswith("--") and draw(st.booleans()) else [name, value]


@given(written())
@settings(max_examples=300, deadline=None)
def test_what_it_reads_is_what_typer_reads(args: list[str]) -> None:
    values = read(transcribe, args)

    if values is not None:
        assert in_full(values) == as_typer_has_it(args)


@pytest.mark.parametrize(
    "args",
    [
        ["a.mp3"],
        ["a.mp3", "b.mp3", "--model", "base", "--language=es"],
        ["--output_dir", "out", "--output_format", "srt", "-f", "json", "a.mp3", "--verbose", "True"],
        ["-", "--stream", "--threads", "2", "--temperature", "0.2", "--vad", "off", "-o", "out"],
        ["--no-stream", "--fp16", "False", "--", "--odd.mp3"],
    ],
)
def test_the_usual_command_lines_are_read_without_typer(args: list[str]) -> None:
    assert read(transcribe, translated(args)) is not None


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--help"],
        ["a.mp3", "--help"],
        ["a.mp3", "--langauge", "es"],
        ["a.mp3", "--model"],
        ["a.mp3", "--beam-size", "many"],
        ["a.mp3", "--batch-size", "0"],
        ["a.mp3", "--quality", "superb"],
        ["a.mp3", "--quiet=yes"],
        ["a.mp3", "-fsrt"],
    ],
)
def test_what_is_not_plainly_right_is_left_to_typer(args: list[str]) -> None:
    assert read(transcribe, translated(args)) is None


def test_every_parameter_is_a_flag_but_the_one_for_tests() -> None:
    assert inspect.signature(transcribe).parameters.keys() - {p.name for p in FLAGS} == {"build"}
