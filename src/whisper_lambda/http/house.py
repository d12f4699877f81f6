"""What every route needs: the service, the gate before it, and the way from an upload to a transcript."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import FileIO

import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from starlette.requests import Request

from whisper_lambda import deadline, tenants, uploads
from whisper_lambda.bootstrap import Service, Source
from whisper_lambda.config import Settings
from whisper_lambda.economy.receipt import Receipt, receipt
from whisper_lambda.errors import (
    BadResume,
    CannotFinishInTime,
    FetchRefused,
    KeyNotAllowed,
    NoSuchUpload,
    OutOfTime,
)
from whisper_lambda.http.admission import VISIT, Admission
from whisper_lambda.http.asking import Ask, facts, path_of
from whisper_lambda.http.fetch import fetch
from whisper_lambda.http.fields import Field, blamed
from whisper_lambda.http.limits import Tab
from whisper_lambda.http.listening import Event, Heard, Tell, Wish, hear, while_waited_for
from whisper_lambda.http.resuming import SoFar, out_of_time, repetition, resumed
from whisper_lambda.http.upload import Spool, Upload, received
from whisper_lambda.live.seals import SECRET_BYTES, Seal
from whisper_lambda.network import Network
from whisper_lambda.staffing import Office

MOST_THREADS = 256  # admission lets far fewer work; the rest wait there and hold none


@dataclass(frozen=True, slots=True)
class House:
    """Holds what is shared by the routes of one app."""

    service: Service
    settings: Settings
    admission: Admission
    network: Network = field(default_factory=Network)
    jobs: Office | None = None
    seal: Callable[[], Seal] = lambda: Seal(secrets.token_bytes(SECRET_BYTES))
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(MOST_THREADS))

    @property
    def office(self) -> Office:
        """Where jobs are handed in."""
        assert self.jobs is not None
        return self.jobs

    async def _in_time(self, run: Callable[[], Heard]) -> Heard:
        """Run in a thread; where somebody ends the work at some time, wait no longer than until then.

        Raises:
            OutOfTime: that time came first. The thread learns of it as of a client that left.
        """
        left_s = deadline.remaining_s()
        if left_s == math.inf:
            return await anyio.to_thread.run_sync(run, limiter=self.threads)
        with anyio.move_on_after(max(0.0, left_s)):
            return await anyio.to_thread.run_sync(run, limiter=self.threads, abandon_on_cancel=True)
        raise OutOfTime("the time to answer in is over")

    @asynccontextmanager
    async def received(
        self, request: Request, table: Sequence[Field], *, part: str = "file", open_upload: bool = True
    ) -> AsyncIterator[Upload]:
        """Read a request, and fetch the recording where it names an address; see `upload.received`.

        With `open_upload` False what was sent ahead is only named: its recording may still be to come.
        """
        async with received(request, table, self.settings, part=part) as upload:
            facts(request.scope)["size_bytes"] = upload.size_bytes
            if upload.recording is not None or ("upload" in upload.values and not open_upload):
                yield upload
                return
            if "upload" in upload.values:
                async with self._sent_ahead(upload) as found:
                    facts(request.scope)["size_bytes"] = found.size_bytes
                    yield found
                return
            if not self.settings.fetch_urls:
                refused = FetchRefused("this server fetches no addresses: send the recording itself")
                raise blamed(refused, "url")
            spool = Spool(self.settings)
            try:
                get = partial(fetch, upload.values["url"], spool, self.settings, self.network)
                await while_waited_for(request, lambda _: anyio.to_thread.run_sync(get, limiter=self.threads))
                facts(request.scope)["size_bytes"] = spool.size_bytes
                yield replace(upload, recording=spool.recording(), size_bytes=spool.size_bytes)
            finally:
                spool.close()

    @asynccontextmanager
    async def _sent_ahead(self, upload: Upload) -> AsyncIterator[Upload]:
        """Open what was sent to an upload's address; it stays where it is until its time is over."""
        objects, tenant = self.service.objects, whose(upload.values.get("user_id", ""))

        with ExitStack() as held:

            def opened() -> FileIO:
                key = uploads.complete(objects, tenant, upload.values["upload"])
                return held.enter_context(uploads.opened(objects, key, self.settings.scratch))

            try:
                file = await anyio.to_thread.run_sync(opened, limiter=self.threads)
            except NoSuchUpload as refused:
                raise blamed(refused, "upload") from refused
            yield replace(upload, recording=file, size_bytes=os.fstat(file.fileno()).st_size)

    async def heard(
        self,
        request: Request,
        upload: Upload,
        wish: Wish,
        *,
        source: Source | None = None,
        tell: Tell | None = None,
        tab: Tab | None = None,
    ) -> tuple[Heard, Receipt]:
        """Wait for a turn, run the line, and say what it cost.

        Args:
            request: whose client is watched: when it leaves, the rest is given up.
            upload: what was sent.
            wish: what is to be heard.
            source: samples, where the upload is not a file to be decoded.
            tell: told, in the line's thread, of the plan and of each segment.
            tab: of a caller who settles it where the time is too short; None = what is not heard then is
                given back to the key's day.
        """
        recording, so_far = upload.recording if source is None else source, SoFar()
        assert recording is not None
        asked = replace(wish, tenant=self.tenant(request, upload))
        whose = facts(request.scope).get("tenant", "")
        if token := upload.values.get("resume"):
            try:
                asked = resumed(token, recording, asked, self.seal(), whose, time.time())
            except BadResume as refused:
                raise blamed(refused, "resume") from None

        def listen(going_on: Tell) -> Heard:
            def told(event: Event) -> None:
                going_on(event)
                if tell:
                    tell(event)

            return hear(self.service, recording, asked, told, so_far)

        once = repetition(request.headers.get("idempotency-key", ""), recording, asked)
        settled = tab or Tab()
        try:
            return await self.in_turn(request, upload, asked, listen, once=once, tab=settled)
        except OutOfTime:
            late, unheard_s = out_of_time(so_far, recording, asked, self.seal(), whose, time.time())
            if not tab:
                await self._settle(settled, unheard_s)
            raise late from None

    async def _settle(self, tab: Tab, unheard_s: float) -> None:
        """Give back to the key's day what was paid for and not heard."""

        def back() -> None:
            if paid := tab.close():
                self.admission.usage.give_back(paid, unheard_s)

        with CancelScope(shield=True):
            await anyio.to_thread.run_sync(back)

    def tenant(self, request: Request, upload: Upload) -> str | None:
        """Return whose the recording is, for what is remembered; None = nothing is to be.

        That is so where the client says `Cache-Control: no-store`, and for strangers.
        """
        if VISIT.get().stranger or not may_remember(request):
            return None
        return whose(upload.values.get("user_id", ""))

    async def in_turn(
        self,
        request: Request,
        upload: Upload,
        wish: Wish,
        listen: Callable[[Tell], Heard],
        *,
        once: Callable[[], str] = str,
        tab: Tab | None = None,
    ) -> tuple[Heard, Receipt]:
        """Run `listen` in a thread when its turn has come; `once` and `tab` as in `Ask`."""
        known = facts(request.scope)
        known["model_asked"] = wish.model or "default"
        ask = Ask(
            tenant=known.get("tenant") or upload.values.get("user_id", ""),
            route=path_of(request.scope),
            model=wish.model,
            size_bytes=upload.size_bytes,
            streamed=bool(upload.values.get("stream")),
            once=once,
            from_s=wish.from_s,
            tab=tab or Tab(),
        )

        async def work(going_on: Tell) -> tuple[Heard, float]:
            async with self.admission.admit(ask) as turn:

                def told(event: Event) -> None:
                    going_on(event)
                    turn.told(event)

                return await self._in_time(partial(listen, told)), turn.queue_s

        try:
            heard, queue_s = await while_waited_for(request, work)
        except CannotFinishInTime:
            if deadline.remaining_s() < math.inf:
                known["out_of_time"] = "refused"
            raise
        except OutOfTime:
            known["out_of_time"] = "cut"
            raise
        bill = receipt(heard.transcript, self.settings, queue_s=queue_s, init_s=heard.init_s)
        known.update(bill.to_wire())
        known["language"] = heard.transcript.language
        known["dropped"] = dict(Counter(d.reason for d in heard.transcript.dropped))
        if self.settings.log_words:
            known["text"] = heard.transcript.text
        known["model_reason"] = heard.transcript.model.reason if heard.transcript.model else ""
        return heard, bill


def may_remember(request: Request) -> bool:
    """Tell whether the client leaves it to us to remember what is said: `no-store` forbids it."""
    return "no-store" not in request.headers.get("cache-control", "").lower()


def whose(user_id: str) -> str:
    """Return the tenant of the request under way: the key's, or the user a server without keys is told of.

    Raises:
        KeyNotAllowed: on a server open to everyone, two who say nothing of themselves, or the same, may be
            two people: what is kept for one would be the other's.
    """
    visit = VISIT.get()
    if visit.stranger:
        raise KeyNotAllowed("this needs an API key: without one nobody can tell whose it is")
    return visit.key.tenant if visit.key else tenants.of_user(user_id)
