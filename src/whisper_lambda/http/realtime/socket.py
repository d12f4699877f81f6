"""The route /v1/realtime: a socket's messages to orders, a talk's events to the socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio.to_thread
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from whisper_lambda.errors import BadOption, WhisperLambdaError
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.asking import facts
from whisper_lambda.http.envelope import refusal, to_wire
from whisper_lambda.http.house import House
from whisper_lambda.http.keys import Key
from whisper_lambda.http.realtime import orders
from whisper_lambda.http.realtime.configuration import Configuration, updated
from whisper_lambda.http.realtime.conversation import Sent, event, new_id
from whisper_lambda.http.realtime.floor import Floor
from whisper_lambda.http.realtime.talk import Audio, End, Order, Talk, Update, is_openais

LONGEST_S = 3_600.0  # of a session, as OpenAI's
METERED_S = 10.0  # audio is taken off a key's day in parts this long
PROTOCOL = "realtime"
GONE_AWAY, NORMAL, RESTARTING, REPLACED = 1001, 1000, 1012, 4000


class Socket:
    """One client's connection to one talk."""

    def __init__(self, house: House, floor: Floor, line: WebSocket, *, longest_s: float = LONGEST_S) -> None:
        self._house = house
        self._floor = floor
        self._line = line
        self._longest_s = longest_s
        self._key: Key | None = VISIT.get().key
        self._metered_s = 0.0
        self._replaced = asyncio.Event()

    async def serve(self) -> None:
        """Refuse the client, or stay with it until it leaves or its session ends."""
        try:
            talk, after = self._entered()
        except WhisperLambdaError as error:
            facts(self._line.scope)["code"] = error.code
            await refusal(error)(self._line.scope, self._line.receive, self._line.send)
            return
        self._replaced = talk.join()
        offered = self._line.scope.get("subprotocols", [])
        try:
            with suppress(WebSocketDisconnect):
                await self._line.accept(PROTOCOL if PROTOCOL in offered else None)
                session = self._session(talk, resumed=after is not None)
                await self._send(event("session.created", session=session))
                await self._between(talk, talk.sent if after is None else after)
        finally:  # a talk nobody leaves keeps its place for ever
            if not self._replaced.is_set():
                self._floor.leave(talk)
        facts(self._line.scope)["audio_s"] = talk.received_bytes / talk.configuration.raw.bytes_per_second

    def _entered(self) -> tuple[Talk, int | None]:
        """Return the talk to serve, and after which of its events; None = a new one."""
        query = self._line.query_params
        if query.get("intent", "transcription") != "transcription":
            raise BadOption("only intent=transcription is spoken here")
        owner = self._key.id if self._key else ""
        if wanted := query.get("session_id"):
            talk = self._floor.resume(wanted, owner)
            return talk, talk.number_of(query.get("after", "")) or 0
        self._floor.admit()
        preset = self._line.scope["state"].get("live_session") or {}
        configuration = updated(Configuration(), preset, self._check)
        model = query.get("model")
        if model and "transcription" not in preset.get("audio", {}).get("input", {}):
            named = {"audio": {"input": {"transcription": {"model": model}}}}
            configuration = updated(configuration, named, self._check)
        talk = Talk(new_id("sess"), self._house.service, configuration, owner=owner, took=self._floor.took)
        self._floor.open(talk)
        return talk, None

    def _check(self, model: str) -> None:
        if not is_openais(model):
            self._house.service.router.check(model)

    async def _between(self, talk: Talk, after: int) -> None:
        """Carry messages both ways until one side is done."""
        reading = asyncio.ensure_future(self._read(talk))
        writing = asyncio.ensure_future(self._write(talk, after))
        replaced = asyncio.ensure_future(self._replaced.wait())
        try:
            left_s = max(0.0, talk.begun + self._longest_s - time.time())
            waited_for = {reading, writing, replaced}
            await asyncio.wait(waited_for, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if self._replaced.is_set():
                await self._line.close(REPLACED, "this session goes on at another connection")
                return
            if reading.done() and reading.exception() is None:
                return  # the client has left
            if not reading.done() and not writing.done():
                talk.put(End())
                await writing
                expired = {"type": "invalid_request_error", "code": "session_expired", "param": None}
                message = f"a session lasts {self._longest_s / 60:.0f} minutes at most; begin a new one"
                await self._send(event("error", error={**expired, "message": message, "event_id": None}))
            for carrying in (reading, writing):
                if carrying.done() and (failure := carrying.exception()):
                    raise failure
            if self._line.application_state is WebSocketState.CONNECTED:
                await self._line.close(RESTARTING if self._floor.draining else NORMAL)
        finally:
            for task in (reading, writing, replaced):
                task.cancel()
            await asyncio.gather(reading, writing, replaced, return_exceptions=True)

    async def _read(self, talk: Talk) -> None:
        while True:
            message = await self._line.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") == NORMAL and not self._replaced.is_set():
                    self._floor.end(talk)  # it said goodbye: it will not come back
                return
            if message.get("bytes") is not None:
                await self._obey(talk, {}, Audio(message["bytes"]))
            else:
                await self._obey_event(talk, message.get("text") or "")
            await talk.room()

    async def _obey_event(self, talk: Talk, text: str) -> None:
        given: Mapping[str, Any] = {}
        try:
            given = orders.read(text)
            order = orders.order_of(given, talk.configuration, self._check)
        except WhisperLambdaError as error:
            talk.tell(_error(error, given.get("event_id")))
            return
        await self._obey(talk, given, order)
        if isinstance(order, Update):
            talk.tell(event("session.updated", session=self._session(talk)))

    async def _obey(self, talk: Talk, given: Mapping[str, Any], order: Order) -> None:
        try:
            if isinstance(order, Audio):
                await self._meter(len(order.data) / talk.configuration.raw.bytes_per_second)
        except WhisperLambdaError as error:  # the day's audio is used up: what came is told, then it ends
            talk.tell(_error(error, given.get("event_id")))
            order = End()
        if not self._replaced.is_set():  # else the client was told at its new line how much had come
            talk.put(order)

    async def _write(self, talk: Talk, after: int) -> None:
        while (following := await talk.next_event(after)) is not None:
            after, sent = following
            await self._send(sent)

    async def _send(self, sent: Sent) -> None:
        await self._line.send_text(json.dumps(sent, ensure_ascii=False, separators=(",", ":")))

    async def _meter(self, audio_s: float) -> None:
        """Take the audio off the key's day.

        Raises:
            AudioQuotaUsed: nothing is left of it.
        """
        if self._key is None or self._key.audio_s_per_day is None:
            return
        self._metered_s -= audio_s
        while self._metered_s < 0:
            part_s = min(METERED_S, self._key.audio_s_per_day)
            await anyio.to_thread.run_sync(self._house.admission.usage.hear, self._key, part_s)
            self._metered_s += part_s

    def _session(self, talk: Talk, *, resumed: bool = False) -> dict[str, Any]:
        more = {"x_received_bytes": talk.received_bytes} if resumed else {}
        return {
            "id": talk.id,
            "object": "realtime.transcription_session",
            "expires_at": int(talk.begun + self._longest_s),
            **talk.configuration.to_wire(),
            **more,
        }


def _error(error: WhisperLambdaError, event_id: object) -> Sent:
    named = event_id if isinstance(event_id, str) else None
    return event("error", error={**to_wire(error)["error"], "event_id": named})
