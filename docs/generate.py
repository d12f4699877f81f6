"""Write the reference pages that repeat what the code says: settings, errors, command line, API.

python docs/generate.py          writes them
python docs/generate.py --check  fails, naming them, when they are not what would be written
"""

import inspect
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from whisper_lambda import errors
from whisper_lambda.bootstrap import build
from whisper_lambda.cli.app import app
from whisper_lambda.config import PREFIX, Settings
from whisper_lambda.http.app import create_app

DOCS = Path(__file__).parent
DO_NOT_EDIT = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->"
SETTINGS_HEAD = f"""# Settings
{DO_NOT_EDIT}

Settings are read once, at start, from environment variables named `{PREFIX}...`. A variable of
that prefix which is not in this table stops the start, and so does a value that cannot be read.
True and false may be written `1 0`, `true false`, `yes no`, `on off`.

| variable | kind | default | meaning |
|---|---|---|---|"""
ERRORS_HEAD = f"""# Errors
{DO_NOT_EDIT}

Every failure raised on purpose is one of these. The code is stable: branch on it, not on the
message. A 4xx is the request's fault and comes again if it is sent again; a 5xx is ours and may be
retried. The status is what an HTTP answer carries; the command line exits with 1, or with 2 where the
command or a setting was wrong and nothing was done.

| code | status | class | meaning |
|---|---|---|---|"""
CLI_HEAD = f"""# Command line
{DO_NOT_EDIT}

The transcript goes to standard output and everything else to standard error. Exit codes: 0 done,
1 something failed, 2 the command was wrong, 130 interrupted. Options may be spelled with `-` or
`_`."""


def settings_page() -> str:
    """Return docs/settings.md: one row a setting."""
    hints = get_type_hints(Settings)
    rows = [
        f"| `{PREFIX}{f.name.upper()}` | {_kind(hints[f.name])} | {_default(f)} | {f.metadata['help']} |"
        for f in fields(Settings)
    ]
    return "\n".join([SETTINGS_HEAD, *rows, ""])


def _kind(hint: Any) -> str:
    """Name a field's type as an operator would."""
    if isinstance(hint, UnionType):
        return _kind(next(a for a in get_args(hint) if a is not type(None)))
    words = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        tuple[str, ...]: "`a,b,...`",
    }
    return words.get(hint, "`name=value,...`")


def _default(field: Field[Any]) -> str:
    """Write a default as the variable would be written, with ~ for the home directory."""
    value = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[misc]
    if value is None or value == "":
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`" if value else "none"
    if isinstance(value, dict):
        return f"`{','.join(f'{k}={v}' for k, v in value.items())}`" if value else "none"
    return f"`{value}`".replace(str(Path.home()), "~")


def errors_page() -> str:
    """Return docs/errors.md: the tree, then one row a code."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    rows = [
        f"| `{error.code}` | {error.status} | {error.__name__} | {_first_line(error)} |"
        for error in _errors()
    ]
    return "\n".join([ERRORS_HEAD, *rows, "\n```", tree, "```", ""])


def _errors() -> Iterator[type[errors.WhisperLambdaError]]:
    """Yield the error classes in the order errors.py defines them."""
    for value in vars(errors).values():
        if inspect.isclass(value) and issubclass(value, errors.WhisperLambdaError):
            yield value


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").splitlines()[0]


def cli_page() -> str:
    """Return docs/cli.md: each command with its arguments and options, as typer describes them."""
    group = get_command(app)
    context = typer.Context(group)
    for name in group.list_commands(context):  # each command's module is imported only when asked for
        _, group.commands[name], _ = group.resolve_command(context, [name])
    written = get_docs_for_click(obj=group, ctx=context, name="whisper-lambda")
    _, below_title = written.split("\n", 1)
    return f"{CLI_HEAD}\n{below_title.rstrip()}\n"


def openapi_document() -> str:
    """Return docs/openapi.json: what a server answers at /openapi.json."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with build(settings) as service:
            document = create_app(service, settings).state.document()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
    "openapi.json": openapi_document,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say which are out of date."""
    stale = []
    for name, page in PAGES.items():
        path = DOCS / name
        text = page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(f"docs/{name}")
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if stale:
        print("out of date, run `make docs`:" if "--check" in arguments else "written:", *stale)
    return len(stale) if "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
