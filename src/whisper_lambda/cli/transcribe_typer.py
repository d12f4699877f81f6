"""`transcribe` as typer has it, from the same flags: help, completion, complaints."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from whisper_lambda.cli import flags
from whisper_lambda.cli.flags import Parameter
from whisper_lambda.cli.transcribe import EPILOG, transcribe, translated

app = typer.Typer(add_completion=False)


class WhisperCommand(TyperCommand):
    """A command that understands arguments written for openai-whisper and whisper-ctranslate2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's type is private
        """Translate the arguments, then parse them."""
        return super().parse_args(ctx, translated(args))


def _call(ctx: typer.Context, **values: Any) -> None:  # noqa: ANN401 - of the flags' kinds
    code = transcribe(**values, build=ctx.obj["build"])
    if code:
        raise typer.Exit(code)


def _info(parameter: Parameter) -> Any:  # noqa: ANN401 - typer's functions return Any
    flag = parameter.flag
    if not flag.names:
        return typer.Argument(metavar=flag.value, show_default=False, help=flag.text)
    return typer.Option(
        *flag.names,
        help=flag.text,
        rich_help_panel=flag.panel,
        metavar=flag.value,
        min=flag.minimum,
        show_default=False if flag.default == "-" else flag.default or True,
        hidden=flag.hidden,
    )


def _declared() -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("ctx", kind, annotation=typer.Context)
    given = [
        inspect.Parameter(p.name, kind, default=p.default, annotation=Annotated[p.annotation, _info(p)])
        for p in flags.parameters(transcribe)
    ]
    return inspect.Signature([context, *given])


_call.__signature__ = _declared()  # type: ignore[attr-defined]  # what typer reads instead of the code
_call.__annotations__ = {p.name: p.annotation for p in _declared().parameters.values()}
_call.__doc__ = transcribe.__doc__
app.command("transcribe", cls=WhisperCommand, epilog=EPILOG)(_call)
