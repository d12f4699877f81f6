"""`whisper-lambda cache`: what recordings said before, and forgetting it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from whisper_lambda.cli.terminal import say

if TYPE_CHECKING:
    from whisper_lambda.adapters.sqlite_segments import SqliteSegments

app = typer.Typer(no_args_is_help=True, help="Show and empty the memory of what recordings said.")


@app.command("stats")
def stats() -> None:
    """Say how much is remembered, and where."""
    from whisper_lambda.config import Settings

    cache = _cache()
    if cache is None:
        typer.echo("off: WHISPER_LAMBDA_CACHE_MB is 0")
        return
    contents, settings = cache.contents(), Settings.from_env()
    oldest = (
        datetime.fromtimestamp(contents.oldest, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if contents.oldest
        else "-"
    )
    lines = {
        "where": str(settings.home / "segments"),
        "entries": str(contents.entries),
        "megabytes": f"{contents.bytes / 1e6:.1f} of {settings.cache_mb}",
        "tenants": str(contents.tenants),
        "oldest": f"{oldest}, kept for {settings.cache_days:g} days",
    }
    for name, value in lines.items():
        typer.echo(f"{name:<10} {value}")


@app.command("clear")
def clear(
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Only what this tenant's recordings said.")
    ] = None,
) -> None:
    """Forget what recordings said: everybody's, or one tenant's. Nothing of it is left on disk."""
    from whisper_lambda import tenants
    from whisper_lambda.config import Settings

    cache = _cache()
    if cache is None:
        say("nothing is remembered: WHISPER_LAMBDA_CACHE_MB is 0")
        return
    shared = Settings.from_env().cache_shared
    count = cache.clear() if tenant is None else cache.forget(tenants.sharing(tenant, shared))
    say(f"forgotten: {count} entries")


def _cache() -> SqliteSegments | None:
    from whisper_lambda.bootstrap import segments
    from whisper_lambda.config import Settings

    return segments(Settings.from_env())
