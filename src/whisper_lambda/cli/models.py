"""`whisper-lambda models`: what is here, what could be, and how to change it.

Data goes to stdout, progress and complaints to stderr. Exit 0 = done, 1 = it could not be done or
something is wrong, 2 = no such tier, 130 = interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable, UnknownModel, WhisperLambdaError
from whisper_lambda.models import catalogue, sources
from whisper_lambda.models.catalogue import Tier
from whisper_lambda.models.store import Installed, Store, verify

app = typer.Typer(no_args_is_help=True, help="Weights: list, fetch, check and remove models.")

Tiers = Annotated[list[str], typer.Argument(help="tiers, e.g. base small.en", show_default=False)]

_PLACES = {
    "store": "installed",
    "folder": "in your folder",
    "package": "in an installed package",
    "hub": "from the hub",
    "index": "from the package index",
    "corrupt": "damaged",
    "unavailable": "not available",
}


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Show all tiers, and where each would come from now."""
    with _complaints():
        settings = Settings.from_env()
        store = Store(settings)
        default = catalogue.find(settings.model)
        rows = [_row(store, tier, is_default=tier is default) for tier in catalogue.TIERS]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        Console().print(_table(rows))


@app.command()
def pull(
    tiers: Tiers,
    force: Annotated[bool, typer.Option("--force", help="fetch again even what is here")] = False,
) -> None:
    """Fetch, verify and convert tiers, so that nothing is left to do at first use."""
    with _complaints():
        store = Store(Settings.from_env())
        store.forget()  # whoever types this wants another try now
        for tier in [catalogue.tier(name) for name in tiers]:
            with shown_progress() as progress:
                installed = store.obtain(tier, progress=progress, force=force)
            verify(installed)
            typer.echo(f"{tier.name}\t{installed.bytes / 1e6:.0f} MB\t{installed.path}\t{installed.origin}")


@app.command("verify")
def verify_(
    tiers: Annotated[list[str] | None, typer.Argument(help="none = all that are here")] = None,
) -> None:
    """Read every byte of installed models and compare it with what was installed."""
    wrong = False
    with _complaints():
        store = Store(Settings.from_env())
        for name in [catalogue.tier(n).name for n in tiers or ()] or store.installed():
            try:
                installed = _here(store, name)
                verify(installed)
                typer.echo(f"{name}\tgood\t{installed.digest}")
            except (ModelCorrupt, ModelUnavailable) as cause:
                wrong = True
                typer.echo(f"error: {cause}", err=True)
    if wrong:
        raise typer.Exit(1)


@app.command()
def rm(tiers: Tiers) -> None:
    """Remove models from the store; folders of your own and packages are left alone."""
    absent = []
    with _complaints():
        store = Store(Settings.from_env())
        for name in tiers:
            stored = name if name in store.installed() else catalogue.tier(name).name
            if store.remove(stored):
                typer.echo(f"{stored}\tremoved")
            else:
                absent.append(stored)
    for name in absent:
        typer.echo(f"error: {name} is not in the store", err=True)
    if absent:
        raise typer.Exit(1)


@app.command()
def path(tier: Annotated[str, typer.Argument(help="one tier")]) -> None:
    """Print the folder a tier lies in; nothing is fetched."""
    with _complaints():
        typer.echo(_here(Store(Settings.from_env()), catalogue.tier(tier).name).path)


@contextmanager
def shown_progress() -> Iterator[sources.Progress]:
    """Draw a bar on stderr while weights arrive; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield sources.quiet
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done)

        yield show


@contextmanager
def _complaints() -> Iterator[None]:
    """Turn our errors into one line on stderr and the exit code of their kind."""
    try:
        yield
    except WhisperLambdaError as cause:
        typer.echo(f"error: {cause}", err=True)
        raise typer.Exit(2 if isinstance(cause, UnknownModel) else 1) from cause
    except KeyboardInterrupt as cause:
        typer.echo("interrupted; what was downloaded is kept for the next try", err=True)
        raise typer.Exit(130) from cause


def _here(store: Store, name: str) -> Installed:
    """Return the installed model, or say how to install it."""
    if installed := store.find(name):
        return installed
    raise ModelUnavailable(f"{name} is not installed; run: whisper-lambda models pull {name}")


def _row(store: Store, tier: Tier, *, is_default: bool) -> dict[str, Any]:
    folder: Path | None = None
    reason = ""
    try:
        place = store.offered(tier)
        installed = store.find(tier.name)
        folder = installed.path if installed else None
    except ModelCorrupt as cause:
        place, reason = "corrupt", str(cause)
    except ModelUnavailable as cause:
        place, reason = "unavailable", str(cause)
    return {
        "tier": tier.name,
        "languages": tier.languages,
        "int8_mb": tier.int8_mb,
        "download_mb": tier.size_mb,
        "where": place,
        "path": str(folder) if folder else None,
        "reason": reason,
        "default": is_default,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("tier", "languages", "MB here", "MB to fetch", "where", box=None, header_style="bold")
    for row in rows:
        table.add_row(
            row["tier"] + (" (default)" if row["default"] else ""),
            "English" if row["languages"] == 1 else str(row["languages"]),
            str(row["int8_mb"]),
            str(row["download_mb"]),
            _PLACES[row["where"]],
        )
    return table
