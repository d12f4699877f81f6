"""POST /v1/live/{session}: one step of a live session that no server holds.

The client sends the audio from where the last answer said, and the token it came with; the answer
holds what is newly committed, what is tentative, and the next token. Any process that has the seal
can do any step, and each is done once: a ledger that all share says which was the last. The last one sent
again as it was, because its answer was lost, is done again, and where the ledger does not work any step is:
it is a function of token and audio, and twice the same words.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass, replace
from io import FileIO
from typing import Any, get_args

import numpy as np
from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from whisper_lambda.audio.pcm import PcmStream, RawFormat
from whisper_lambda.bootstrap import Service, step_ledger
from whisper_lambda.errors import AudioTooLong, BadOption, LiveStepReplayed, StorageFailed
from whisper_lambda.http import parameters
from whisper_lambda.http.fields import Field, blamed, boolean, choice, text, whole
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.house import House
from whisper_lambda.http.listening import Heard, Tell, Wish
from whisper_lambda.http.openai import body
from whisper_lambda.http.table import Table
from whisper_lambda.http.upload import Recording, Upload
from whisper_lambda.live import tokens
from whisper_lambda.live.pace import PACES, Delay
from whisper_lambda.live.session import Committed, Event, Session, Started, State, Stopped
from whisper_lambda.live.tokens import Progress
from whisper_lambda.ports import StepLedger
from whisper_lambda.types import SAMPLE_RATE, ModelChoice, Options, Samples, Timings, Transcript, Word

LONGEST_TAIL_S = 60.0
LONGEST_TOKEN = 60_000  # characters
SHORTEST_NEWS_S = 0.1  # a step decodes when there is so much new audio
_RAW = ("pcm16", "pcmu", "pcma")

log = logging.getLogger(__name__)


class Steps:
    """Sees to it that each step of a session is done once, wherever it is sent."""

    def __init__(self, ledger: StepLedger) -> None:
        self._ledger = ledger

    async def claim(self, tenant: str, session: str, step: int, sent: str) -> bool:
        """Take a step.

        Returns:
            Whether it is to be given back should it fail: not where it was done, and is only done again.

        Raises:
            LiveStepReplayed: it was done with something else sent, or a later one was.
        """
        asked = (_name(tenant, session), step, sent)
        try:
            if await to_thread.run_sync(self._ledger.claim, *asked):
                return True
            again = await to_thread.run_sync(self._ledger.repeated, *asked)
        except StorageFailed:
            log.warning("a live step could not be noted; it is done all the same", exc_info=True)
            return False
        if not again:
            raise LiveStepReplayed(f"step {step} was done already; go on with the token of its answer")
        return False

    async def fail(self, tenant: str, session: str, step: int) -> None:
        """Give a step back that could not be done: it may be sent again."""
        with CancelScope(shield=True):  # the client may be gone
            try:
                await to_thread.run_sync(self._ledger.release, _name(tenant, session), step)
            except StorageFailed:
                log.warning("a live step could not be given back", exc_info=True)


def _name(tenant: str, session: str) -> str:
    return f"{tenant}\0{session}"


def _digest(given: dict[str, Any], recording: Recording) -> str:
    """Return what tells whether a step is sent again as it was."""
    said = hashlib.sha256(json.dumps(given, sort_keys=True).encode())
    if isinstance(recording, FileIO):
        said.update(hashlib.file_digest(recording, "sha256").digest())
        recording.seek(0)
    else:
        said.update(hashlib.sha256(recording).digest())
    return said.hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """What one step found."""

    progress: Progress
    events: tuple[Event, ...]
    heard_s: float


def table(house: House) -> list[Field]:
    """Return the fields of a step."""
    return [
        Field("token", text(LONGEST_TOKEN), "of the last answer; absent = the session begins"),
        Field("final", boolean(), "nothing more will come: commit everything"),
        Field("encoding", choice(_RAW), "raw audio, mono; absent = a file (Opus in Ogg or WebM, WAV ...)"),
        Field("rate", whole(8_000, 48_000), "of pcm16, Hz; 16000 if absent"),
        Field("model", parameters.model(house.service), "at the start: tier or alias"),
        Field("language", parameters.language(), "at the start; absent = heard for each utterance"),
        Field("prompt", text(4_000), "at the start: text the decoder sees first"),
        Field("delay", choice(get_args(Delay)), "at the start; low if absent"),
        Field("user_id", text(128), "whose session it is, where no key says so"),
    ]


def router(house: House, gates: Gates) -> Table:
    """Return the route."""
    routes = Table(prefix="/v1", tags=["Live"])
    fields, steps = table(house), Steps(step_ledger(house.service.settings))

    @routes.answer("POST", "/live/{session}", openapi_extra=body(fields))
    async def live(request: Request, session: str) -> Response:
        """Do one step of a live session: the words that are sure now, and a token for the next step."""
        async with house.received(request, fields) as upload:
            return await _step(house, gates, steps, request, upload, session)

    return routes


async def _step(
    house: House, gates: Gates, steps: Steps, request: Request, upload: Upload, session: str
) -> Response:
    now, seal = time.time(), gates.seal()
    tenant = house.tenant(request, upload) or ""
    progress = _begun(upload, tenant, session)
    if token := upload.values.get("token"):
        progress = tokens.read(token, seal, now, tenant=tenant, session=session)
    recording = upload.recording
    assert recording is not None
    sent = await to_thread.run_sync(_digest, upload.values, recording)
    first = await steps.claim(tenant, session, progress.step, sent)
    done: list[Done] = []

    def listen(_: Tell) -> Heard:
        found, heard = hear(house.service, recording, upload.values, progress)
        done.append(found)
        return heard

    try:
        _, bill = await house.in_turn(request, upload, Wish(options=Options(), model=progress.model), listen)
    except BaseException:
        if first:
            await steps.fail(tenant, session, progress.step)
        raise
    [found] = done
    return JSONResponse(
        {
            **_answer(session, found),
            "token": tokens.written(found.progress, seal, time.time()),
            "expires_at": int(time.time() + tokens.VALID_S),
            "x_receipt": bill.to_wire(),
        }
    )


def _begun(upload: Upload, tenant: str, session: str) -> Progress:
    if not 1 <= len(session) <= 128 or not session.isascii() or not session.isprintable():  # noqa: PLR2004
        raise BadOption("a session's name is 1 to 128 printable characters; make one up that nobody guesses")
    given = upload.values
    return Progress(
        tenant=tenant,
        session=session,
        step=0,
        state=State(),
        language=given.get("language") or "",
        prompt=given.get("prompt", ""),
        model=given.get("model") or "",
        delay=given.get("delay", "low"),
    )


def hear(
    service: Service, recording: Recording, given: dict[str, Any], progress: Progress
) -> tuple[Done, Heard]:
    """Do one step: decode the audio, listen to what is new of it, and decode words once.

    Raises:
        AudioTooLong: more than a minute came at once.
        BadOption: less audio came than the token has heard already.
    """
    began = time.perf_counter()
    tail = _samples(service, recording, given)
    decoded_s = time.perf_counter() - began
    state = progress.state
    if len(tail) > LONGEST_TAIL_S * SAMPLE_RATE:
        raise AudioTooLong(f"a step takes at most {LONGEST_TAIL_S:.0f} s of audio; send it in parts")
    if not tokens.fits(state, tail):
        missing = f"the audio must begin at {state.window / SAMPLE_RATE:.3f} s and reach the last step's end"
        raise blamed(BadOption(f"less audio came than was heard already: {missing}"), "file")
    with service.router.engine(progress.model or None) as (engine, choice):
        loaded_s = time.perf_counter() - began - decoded_s
        options = Options(language=progress.language or None, prompt=progress.prompt, times="word")
        pace = PACES[_delay(progress.delay)]
        session = Session(engine, options, pace=pace, state=state, tail=tail)
        events = _listen(session, final=bool(given.get("final")))
        engine_s = time.perf_counter() - began - decoded_s - loaded_s
    after = replace(progress, step=progress.step + 1, state=session.state, heard_s=session.heard_s)
    news_s = max(0.0, session.heard_s - progress.heard_s)
    return Done(after, tuple(events), session.heard_s), _heard(
        choice,
        session,
        news_s,
        Timings(decode_s=decoded_s, engine_s=engine_s, total_s=decoded_s + engine_s),
        loaded_s,
    )


def _listen(session: Session, *, final: bool) -> list[Event]:
    """Listen to what is new, end what ended, and decode once more where an utterance goes on."""
    events = session.take(np.zeros(0, np.float32))
    while session.state.ending or session.due:
        events += session.step()
        events += session.take(np.zeros(0, np.float32))
    if final:
        return events + session.finish()
    if session.state.open and session.pending_s >= SHORTEST_NEWS_S:
        events += session.step()
    return events


def _heard(choice: ModelChoice, session: Session, news_s: float, timings: Timings, loaded_s: float) -> Heard:
    language = session.state.language or session.state.spoken
    heard = Transcript((), language, news_s, model=choice, timings=timings)
    return Heard(heard, loaded_s)


def _samples(service: Service, recording: Recording, given: dict[str, Any]) -> Samples:
    encoding = given.get("encoding")
    if encoding is None:
        return service.decode(recording).samples
    data = recording.read() if isinstance(recording, FileIO) else bytes(recording)
    rate = given.get("rate", SAMPLE_RATE) if encoding == "pcm16" else 8_000
    return PcmStream(RawFormat(encoding, rate)).samples(data, last=True)


def _delay(name: str) -> Delay:
    return next((d for d in get_args(Delay) if d == name), "low")


def _answer(session: str, done: Done) -> dict[str, Any]:
    committed = [w for e in done.events if isinstance(e, Committed) for w in e.words]
    state = done.progress.state
    tentative = [w.word for w in state.hypotheses[-1]] if state.hypotheses else []
    return {
        "object": "live.step",
        "session": session,
        "step": done.progress.step,
        "language": state.language or state.spoken or None,
        "text": "".join(w.text for w in committed),
        "committed": [_word(w) for w in committed],
        "tentative": {"text": "".join(w.text for w in tentative), "words": [_word(w) for w in tentative]},
        "events": [_event(e) for e in done.events if isinstance(e, Started | Stopped)],
        "speaking": state.ear.open,
        "heard_s": round(done.heard_s, 3),
        "audio_from_s": round(state.window / SAMPLE_RATE, 7),  # a sample is 0.0000625 s
    }


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": word.start, "end": word.end, "probability": word.probability}


def _event(event: Event) -> dict[str, Any]:
    assert isinstance(event, Started | Stopped)
    return {"type": "started" if isinstance(event, Started) else "stopped", "at": round(event.at, 3)}
