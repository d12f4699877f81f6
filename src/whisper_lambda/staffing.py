"""Settings in; a desk for jobs, and workers for them, out. What `bootstrap` is to a request, to jobs.

SQLAlchemy is loaded by the first use of a desk, DBOS by the first worker: a transcription knows neither.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO

from whisper_lambda.adapters.directory_objects import DirectoryObjects
from whisper_lambda.audio.decode import decode
from whisper_lambda.bootstrap import Service, limits
from whisper_lambda.config import Settings
from whisper_lambda.jobs.desk import Desk
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.jobs.webhooks import Teller
from whisper_lambda.network import Network, anywhere
from whisper_lambda.ports import Fanout
from whisper_lambda.types import Decoded


def open_desk(settings: Settings) -> Desk:
    """Return a desk that takes jobs and asks after them; workers find new ones by themselves.

    Raises:
        BadOption: the settings name a database of another kind.
        StorageFailed: it cannot be reached (StorageFull: there is no room for it).
    """
    from whisper_lambda.adapters.sql import Database, sqlite_at
    from whisper_lambda.adapters.sqljobs import SqlJobStore

    address = settings.jobs_database or sqlite_at(settings.home / "jobs" / "jobs.sqlite")
    objects = DirectoryObjects(settings.jobs_objects or settings.home / "objects")
    return Desk(SqlJobStore(Database(address)), objects, settings)


@dataclass(frozen=True, slots=True)
class Worker:
    """A desk whose jobs this process does itself. Close it, and others go on."""

    desk: Desk
    fanout: Fanout

    def close(self) -> None:
        """Finish what can be finished soon, and hand the rest on."""
        self.fanout.close()
        self.desk.store.close()


def hire(service: Service, desk: Desk, *, at_once: int, network: Network | None = None) -> Worker:
    """Begin to do jobs in this process.

    Args:
        service: hears.
        desk: where jobs come from.
        at_once: chunks heard at the same time.
        network: how webhooks are called; None = as the settings say.
    """
    from whisper_lambda.adapters.dbos import DbosFanout
    from whisper_lambda.adapters.sql import Database, sqlite_at
    from whisper_lambda.adapters.sqlroll import RollCall

    settings = desk.settings
    # On SQLite the queue has a file of its own: neither waits for the other's write lock.
    queue = settings.jobs_database or sqlite_at(settings.home / "jobs" / "queue.sqlite")
    roll = RollCall(Database(queue), settings.jobs_lease_s)
    network = network or (anywhere() if settings.webhooks_private else Network())
    fanout = DbosFanout(
        workshop(service, desk),
        queue,
        roll,
        worker=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        at_once=at_once,
        tell=Teller(desk.store, network).tell,
    )
    fanout.launch()
    return Worker(replace(desk, fanout=fanout), fanout)


def workshop(service: Service, desk: Desk) -> Workshop:
    """Return what the parts of jobs are done with: the same line as a request's."""
    return Workshop(
        store=desk.store,
        objects=desk.objects,
        settings=desk.settings,
        decode=partial(_decoded, service),
        engine=service.router.engine,
        recall=service.recall,
    )


def _decoded(service: Service, file: FileIO, split_channels: bool) -> Decoded:
    return decode(file, limits(service.settings), service.decoders, split_channels=split_channels)
