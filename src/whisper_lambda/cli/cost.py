"""`whisper-lambda cost`: what transcription costs on Lambda, and what else it could cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whisper_lambda.economy.prices import PriceBook

app = typer.Typer(no_args_is_help=True, help="Reckon what transcription costs on Lambda.")


@app.callback()
def cost() -> None:
    """Reckon what transcription costs on Lambda."""


@app.command("prices")
def prices(
    as_json: Annotated[bool, typer.Option("--json", help="Print the book itself.")] = False,
) -> None:
    """Show every price we reckon with, its date and its source."""
    from whisper_lambda.config import Settings
    from whisper_lambda.economy.prices import price_book

    book = price_book(Settings.from_env())
    if as_json:
        typer.echo(json.dumps(_to_json(book), indent=1))
        return
    typer.echo(
        f"prices as of {book.as_of}, in US dollars (WHISPER_LAMBDA_PRICES_FILE puts others over them)\n"
    )
    for price in book.prices.values():
        where = f"{price.region}, " if price.region else ""
        typer.echo(f"{price.name:<41}{price.usd:>14.10f}  {price.per}")
        typer.echo(f"{'':<57}{where}from {price.effective} [{price.source}]")
    typer.echo("\nwhat others take for an hour of audio\n")
    for other in book.alternatives:
        typer.echo(f"{other.title:<41}{other.usd_per_audio_hour:>14.3f}  {other.note}")
        typer.echo(f"{'':<57}from {other.effective} [{other.source}]")
    typer.echo("\nsources\n")
    for name, source in book.sources.items():
        typer.echo(f"[{name}] {source.title}, read {source.read}\n    {source.url}")


def _to_json(book: PriceBook) -> dict[str, object]:
    return {
        "as_of": book.as_of,
        "sources": {name: asdict(source) for name, source in book.sources.items()},
        "prices": [asdict(price) for price in book.prices.values()],
        "alternatives": [asdict(other) for other in book.alternatives],
    }
