"""`whisper-lambda cost`: what transcription costs on Lambda, and what else it could cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whisper_lambda.cli import lists

if TYPE_CHECKING:
    from whisper_lambda.economy.prices import PriceBook

app = typer.Typer(help="Reckon what transcription costs on Lambda.")


@app.callback(invoke_without_command=True)
def cost(  # one parameter a flag
    context: typer.Context,
    hours: Annotated[float, typer.Option("--hours", metavar="H", help="Hours of audio a day.")] = 10.0,
    clip_s: Annotated[float, typer.Option("--clip-s", metavar="S", help="Mean length.")] = 60.0,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Real requests: our log, CloudWatch, CSV.")
    ] = None,
    tiers: Annotated[str, typer.Option("--tiers", metavar="NAMES", help="To compare.")] = "tiny,base,small",
    memory: Annotated[str, typer.Option("--memory", metavar="MB,MB", help="Sizes.")] = "1769,3008",
    arch: Annotated[str, typer.Option("--arch", metavar="NAMES", help="Processors.")] = "x86_64,arm64",
    ready: Annotated[int, typer.Option("--ready", metavar="N", min=0, help="Provisioned environments.")] = 1,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", min=1, help="Reserved concurrency.")] = 20,
    evenly: Annotated[bool, typer.Option("--evenly", help="Requests come by night as by day.")] = False,
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report.")] = None,
) -> None:
    """Reckon what transcription costs on Lambda: a month, by tier, memory, processor and warmth.

    Requests are played through a model of Lambda's environments, not averaged.
    """
    if context.invoked_subcommand:
        return
    from whisper_lambda.config import Settings
    from whisper_lambda.economy.prices import price_book
    from whisper_lambda.tools.costing import comparing, workload

    book = price_book(Settings.from_env())
    load = workload.read_log(log) if log else workload.made_up(hours, mean_s=clip_s, office=not evenly)
    question = comparing.Question(
        tiers=comparing.names(tiers),
        sizes_mb=lists.numbers("--memory", memory, lists.LAMBDA_MB, int),
        architectures=comparing.names(arch),
        ready=ready,
        at_once=at_once,
    )
    found = comparing.compared(load, question, book)
    typer.echo(comparing.text(found, load, question, book))
    if page:
        comparing.write_page(found, load, question, book, page)


@app.command("scale")
def scale(
    hours: Annotated[
        str, typer.Option("--hours", metavar="H,H", help="Hours of audio a day.")
    ] = "10,1000,100000,1000000",
    tier: Annotated[str, typer.Option("--tier", metavar="NAME", help="Which hears.")] = "base",
    memory: Annotated[
        int, typer.Option("--memory", metavar="MB", min=128, max=10_240, help="Of the chunk function.")
    ] = 1769,
    arch: Annotated[str, typer.Option("--arch", metavar="NAME", help="x86_64 or arm64.")] = "arm64",
) -> None:
    """Say what volumes from a laptop's to 10,000 Lambdas' need, cost and run into."""
    from whisper_lambda.config import Settings
    from whisper_lambda.economy.prices import checked_architecture, price_book
    from whisper_lambda.economy.speeds import speed
    from whisper_lambda.tools.costing import scale as scaling

    book, arch = price_book(Settings.from_env()), checked_architecture(arch)
    volumes = lists.numbers("--hours", hours, (0.001, lists.MOST_HOURS), float)
    needs = [scaling.need(each, speed(tier), memory, arch, book) for each in volumes]
    typer.echo(scaling.markdown(needs, tier, memory, arch))


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
