"""Settings in; a desk for jobs, and workers for them, out. What `bootstrap` is to a request, to jobs.

SQLAlchemy is loaded by the first use of a desk, DBOS by the first worker: a transcription knows neither.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO

from whisper_lambda import cloud, machine
from whisper_lambda.audio.decode import decode
from whisper_lambda.bootstrap import Service, limits, stored_objects
from whisper_lambda.config import Settings
from whisper_lambda.jobs.desk import Desk
from whisper_lambda.jobs.steps import Workshop
from whisper_lambda.jobs.webhooks import Teller
from whisper_lambda.network import Network, anywhere
from whisper_lambda.ports import Fanout
from whisper_lambda.types import Decoded


def open_desk(settings: Settings) -> Desk:
    """Return a desk that takes jobs and asks after them; workers, or on AWS Step Functions, do them.

    Raises:
        BadOption: the settings name a database of another kind.
        StorageFailed: it cannot be reached (StorageFull: there is no room for it).
    """
    from whisper_lambda.adapters.sql import Database, sqlite_at
    from whisper_lambda.adapters.sqljobs import SqlJobStore

    if cloud.on_aws(settings):
        return cloud.open_desk(settings)
    address = settings.jobs_database or sqlite_at(settings.home / "jobs" / "jobs.sqlite")
    return Desk(SqlJobStore(Database(address)), stored_objects(settings), settings)


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
    fanout = DbosFanout(
        workshop(service, desk),
        queue,
        roll,
        worker=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
        at_once=at_once,
        tell=teller(desk, network).tell,
    )
    fanout.launch()
    return Worker(replace(desk, fanout=fanout), fanout)


def teller(desk: Desk, network: Network | None = None) -> Teller:
    """Return what calls webhooks; `network` None = as the settings say."""
    return Teller(desk.store, network or (anywhere() if desk.settings.webhooks_private else Network()))


class Office:
    """A server's hold on jobs: the desk opens with the first job asked after, workers when told to."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._lock = threading.Lock()
        self._desk: Desk | None = None
        self._worker: Worker | None = None
        self._closed = False

    def desk(self) -> Desk:
        """Return the desk.

        Raises:
            StorageFailed, StorageFull: its database cannot be used.
        """
        with self._lock:
            if self._desk is None:
                self._desk = open_desk(self._settings)
            return self._desk

    def hire(self) -> None:
        """Have this process do jobs too, one core left to requests; returns when it does."""
        desk = self.desk()
        free = max(1, machine.cores(self._settings) - 1)
        with self._lock:
            if not self._closed and self._worker is None:
                self._worker = hire(self._service, desk, at_once=self._settings.jobs_at_once or free)
                self._desk = self._worker.desk

    def close(self) -> None:
        """Hand on what is under way, and close the desk."""
        with self._lock:
            self._closed = True
            if self._worker:
                self._worker.close()
            elif self._desk:
                self._desk.store.close()


def workshop(service: Service, desk: Desk) -> Workshop:
    """Return what the parts of jobs are done with: the same line as a request's."""
    return Workshop(
        store=desk.store,
        objects=desk.objects,
        settings=desk.settings,
        recording=service.recording,
        decode=partial(_decoded, service),
        engine=service.router.engine,
        recall=service.recall,
    )


def _decoded(service: Service, file: FileIO, split_channels: bool) -> Decoded:
    return decode(file, limits(service.settings), service.decoders, split_channels=split_channels)
