"""`whisper-lambda doctor`: what this machine can do and what is wrong, a line each."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

import whisper_lambda
from whisper_lambda.cli.terminal import one_line

_COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", metavar="")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Say what this machine can do and what is wrong.

    Exit code 1 when something makes transcription impossible.
    """
    from whisper_lambda.tools.doctor import examine

    del debug  # read by the outermost edge
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            state = typer.style(
                f"{finding.state:4}", fg=_COLOURS[finding.state], bold=finding.state == "fail"
            )
            typer.echo(f"{state}  {finding.name:<12} {one_line(finding.says)}")
            if finding.todo:
                typer.echo(f"{'':18} -> {one_line(finding.todo)}")
            sys.stdout.flush()
    impossible = any(f.state == "fail" for f in findings)
    if as_json:
        report = {
            "version": whisper_lambda.__version__,
            "ok": not impossible,
            "findings": [asdict(f) for f in findings],
        }
        typer.echo(json.dumps(report, ensure_ascii=False, indent=1))
    if impossible:
        raise typer.Exit(1)
