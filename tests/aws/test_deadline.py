"""Nothing is ever killed by Lambda's clock: every invocation is answered well before it ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import READY_TEXT, environment
from lambda_events import http_event, multipart

from fakes import FakeEngine, from_noon
from serving import wav
from whisper_lambda import staffing
from whisper_lambda.aws.deadline import CUT_S
from whisper_lambda.aws.environment import Environment
from whisper_lambda.aws.http_event import SEPARATOR
from whisper_lambda.aws.runtime import serve
from whisper_lambda.aws.runtime_api import Failure, Invocation
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.handing_on import SPARE_S
from whisper_lambda.http.keys import exported, new_key
from whisper_lambda.http.listening import Wish
from whisper_lambda.http.resuming import SoFar, out_of_time
from whisper_lambda.job import Order
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.live.seals import Seal
from whisper_lambda.pipeline import results
from whisper_lambda.preparing import prepare
from whisper_lambda.types import ModelChoice, Options

BUDGETS = int(os.environ.get("BUDGETS", "60"))  # make deadlines: 1,000
AT_ONCE = 4  # an environment has one at a time; on a busy machine many would measure the machine
PATIENT = Settings(at_once=4 * AT_ONCE, queue=4 * AT_ONCE, cache_mb=0)


@dataclass
class Taken:
    """A Runtime API in memory: what was answered, and when the answer was complete."""

    ended: float = 0.0
    ends: int = 0
    body: bytearray = field(default_factory=bytearray)
    streams: bool = False
    broken_off: Failure | None = None  # what the stream's trailer said

    async def respond(self, _: str, body: bytes) -> None:
        self.body += body
        self._end()

    async def fail(self, _: str, failure: Failure) -> None:
        raise AssertionError(f"an HTTP event failed: {failure}")

    async def stream(self, _: str, __: asyncio.Event) -> Taken:
        self.streams = True
        return self

    async def write(self, data: bytes) -> None:
        self.body += data

    async def end(self, failure: Failure | None = None) -> None:
        self.broken_off = failure
        self._end()

    async def close(self) -> None:
        raise AssertionError("nobody left")

    def _end(self) -> None:
        self.ends += 1
        self.ended = time.time()

    @property
    def answer(self) -> tuple[int, str]:
        if self.streams:
            head, _, body = bytes(self.body).partition(SEPARATOR)
            return json.loads(head)["statusCode"], body.decode()
        told = json.loads(self.body)
        return told["statusCode"], told["body"]


@dataclass
class Stuck(FakeEngine):
    """Hears its first `quick` chunks at once, and none after them before it is freed."""

    quick: int = 1
    freed: threading.Event = field(default_factory=threading.Event)

    def transcribe(self, chunk, options):
        if len(self.heard) >= self.quick:
            self.freed.wait(60)
        return super().transcribe(chunk, options)


@dataclass
class Moody(FakeEngine):
    """Takes as long for a chunk as dice say."""

    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def transcribe(self, chunk, options):
        time.sleep(self.dice.choice((0.0, 0.05, 0.3, 1.0, 4.0)))
        return super().transcribe(chunk, options)


def event(recording: bytes, **fields: str) -> bytes:
    form, kind = multipart({"model": "whisper-1", "language": "es", "vad": "off", **fields}, recording)
    return json.dumps(
        http_event("POST", "/v1/audio/transcriptions", body=form, headers={"content-type": kind})
    ).encode()


async def asked(env: Environment, raw: bytes, budget_s: float) -> Taken:
    taken = Taken()
    await serve(taken, env, Invocation("id", raw, time.time() + budget_s))  # type: ignore[arg-type]
    return taken


def ask(env: Environment, budget_s: float, recording: bytes, **fields: str) -> Any:
    status, body = asyncio.run(asked(env, event(recording, **fields), budget_s)).answer
    return status, json.loads(body)


def test_every_one_of_many_random_budgets_is_kept() -> None:
    dice = random.Random(20_261_125)
    short, long = wav(2.0), wav(75.0)
    events = {
        (r, s): event(r, **({"stream": "true"} if s else {})) for r in (short, long) for s in (True, False)
    }
    texts = {short: 1, long: 3}
    streams = {mode: replace(PATIENT, lambda_invoke_mode=mode) for mode in ("stream", "buffered")}
    told: list[tuple[float, float, Taken, bytes]] = []
    lag_s = 0.0  # how late the machine lets us act: on a quiet one, milliseconds

    async def watch_the_clock() -> None:
        nonlocal lag_s
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            lag_s = max(lag_s, time.monotonic() - due)

    async def one(env: Environment, places: asyncio.Semaphore) -> None:
        async with places:
            recording = dice.choice((short, long))
            budget_s = dice.uniform(0.5, 8.0)
            fields = {"stream": "true"} if dice.random() < 0.4 else {}
            raw = events[recording, bool(fields)]
            began = time.time()
            taken = await asked(env, raw, budget_s)
            told.append((began, budget_s, taken, recording))

    async def all_of_them(envs: list[Environment]) -> None:
        places = asyncio.Semaphore(AT_ONCE)
        clock = asyncio.create_task(watch_the_clock())
        await asyncio.gather(*(one(envs[n % 2], places) for n in range(BUDGETS)))
        clock.cancel()

    with (
        environment(settings=streams["stream"], engine=Moody(text=READY_TEXT)) as streaming,
        environment(settings=streams["buffered"], engine=Moody(text=READY_TEXT)) as whole,
    ):
        asyncio.run(all_of_them([streaming, whole]))

    found, spare = [], []
    for began, budget_s, taken, recording in told:
        found.append(outcome(began + budget_s, budget_s, taken, texts[recording], lag_s))
        if budget_s > CUT_S:
            spare.append(began + budget_s - taken.ended)
    counted = {name: found.count(name) for name in ("whole", "refused", "cut", "broken off, and said so")}
    print(f"{len(told)} budgets: {counted}; least time to spare {min(spare):.2f} s; clock late {lag_s:.2f} s")
    assert sum(counted.values()) == len(told) == BUDGETS
    assert min(counted["whole"] + counted["cut"], counted["refused"]) > 0, counted


def outcome(ends: float, budget_s: float, taken: Taken, sentences: int, lag_s: float) -> str:
    """Say what became of a request, and that it was answered in time, once, and truly."""
    left_s, (status, body) = ends - taken.ended, taken.answer
    assert taken.ends == 1
    assert left_s > -lag_s, "it would have been killed"
    assert left_s >= 2.0 - lag_s or budget_s <= CUT_S, f"answered {left_s:.2f} s before the end"
    if taken.broken_off:  # the application had no time even to say so itself: the runtime did
        assert taken.broken_off.kind == "WhisperLambda.OutOfTime"
        return "broken off, and said so"
    assert body, "an empty answer"
    if "out_of_time" in body:
        return "cut" if '"resume"' in body else "refused"
    if "cannot_finish_in_time" in body:
        return "refused"
    assert status == 200
    assert body.count("Please check") >= sentences, "a short success"
    return "whole"


def test_what_was_heard_and_what_was_not_make_the_whole() -> None:
    recording = wav(110.0)
    engine = Stuck(text=" Uno.", serial=True, quick=1_000)
    with environment(settings=PATIENT, engine=engine) as env:
        _, whole = ask(env, 60, recording, response_format="verbose_json")
        engine.quick = len(engine.heard) + 1
        status, cut = ask(env, CUT_S + 8.0, recording, response_format="verbose_json")
        partial, token = cut["error"]["partial"], cut["error"]["resume"]
        engine.freed.set()
        _, rest = ask(env, 60, recording, response_format="verbose_json", resume=token)

    assert (status, cut["error"]["code"]) == (504, "out_of_time")
    assert 1 <= len(partial["segments"]) < len(whole["segments"])
    both = [(s["start"], s["text"]) for s in (*partial["segments"], *rest["segments"])]
    assert both == [(s["start"], s["text"]) for s in whole["segments"]]
    assert f"{partial['text']} {rest['text']}" == whole["text"]
    assert partial["heard_s"] == pytest.approx(rest["segments"][0]["start"], abs=0.01)


def test_what_a_recording_too_long_to_be_held_has_left_is_told_too() -> None:
    samples = np.tile(np.r_[np.full(16_000 * 7, 0.05), np.zeros(16_000 * 3)], 4).astype(np.float32)
    engine, so_far = FakeEngine(), SoFar()
    options = Options(language="es", vad="off")
    plan = prepare(lambda _: iter((samples,)), options, engine=engine, held_s=0.0)
    so_far.begin(plan, ModelChoice("base", "base"))
    so_far.add(next(results(plan, engine=engine)))

    late, unheard_s = out_of_time(so_far, b"its bytes", Wish(options=options), Seal(b"s" * 32), "ana", 0.0)

    assert plan.count > 1
    assert late.details["partial"]["heard_s"] == pytest.approx(plan.starts[1], abs=0.001)
    assert unheard_s == pytest.approx(plan.duration - plan.starts[1])


def test_a_stream_that_is_cut_says_so_in_an_event() -> None:
    engine = Stuck(text=" Uno.", serial=True)
    settings = replace(PATIENT, lambda_invoke_mode="stream")
    with environment(settings=settings, engine=engine) as env:
        taken = asyncio.run(asked(env, event(wav(110.0), stream="true"), CUT_S + 8.0))
        engine.freed.set()
    status, body = taken.answer
    last = [line for line in body.splitlines() if line.startswith("data: ")][-1]

    assert status == 200
    assert "transcript.text.delta" in body
    assert "transcript.text.done" not in body
    assert json.loads(last[6:])["error"]["code"] == "out_of_time"
    assert json.loads(last[6:])["error"]["resume"]


def test_a_token_is_good_for_its_recording_and_nothing_else() -> None:
    recording = wav(80.0)
    engine = Stuck(text=" Uno.", serial=True)
    with environment(settings=PATIENT, engine=engine) as env:
        _, cut = ask(env, CUT_S + 8.0, recording)
        token = cut["error"]["resume"]
        engine.freed.set()
        other = ask(env, 60, wav(79.0), resume=token)
        forged = ask(env, 60, recording, resume=token[:-2] + ("AA" if token[-2:] != "AA" else "BB"))
        nonsense = ask(env, 60, recording, resume="nonsense")
    with environment(settings=PATIENT, engine=engine) as elsewhere:
        same_secret = ask(elsewhere, 60, recording, resume=token)

    for status, body in (other, forged, nonsense):
        assert (status, body["error"]["code"], body["error"]["param"]) == (400, "bad_resume_token", "resume")
    assert same_secret[0] == 200


class Office(staffing.Office):
    """Keeps jobs here, as Lambda keeps them in its table: nobody does them."""

    def desk(self) -> Desk:
        return staffing.open_desk(replace(self._settings, table=None))


def short_of_time(home: Path, route: str, *scopes: str, **headers: str) -> tuple[int, Any, Desk]:
    """Send a recording that cannot be heard in time; return status, answer, and the desk."""
    text, key = new_key("hernan", time.time(), scopes=scopes or ("transcribe", "jobs"))
    settings = replace(PATIENT, home=home, table="jobs", keys=exported([key]))
    form, kind = multipart({"language": "es"}, wav(80.0))
    headers = {"content-type": kind, "authorization": f"Bearer {text}", **headers}
    raw = json.dumps(http_event("POST", route, body=form, headers=headers)).encode()
    engine = Stuck(text=" Uno.", serial=True)
    with environment(settings=settings, engine=engine) as env:
        office = Office(env.service, settings)
        app = create_app(env.service, settings, gates=Gates.of(env.service, settings), office=office)
        taken = asyncio.run(asked(replace(env, app=app), raw, CUT_S + SPARE_S + 4.0))
        engine.freed.set()
    status, told = taken.answer
    return status, json.loads(told), office.desk()


@pytest.mark.parametrize("route", ["/v1/audio/transcriptions", "/transcribe"])
def test_who_says_a_job_will_do_gets_one_where_the_time_is_short(tmp_path: Path, route: str) -> None:
    status, told, desk = short_of_time(tmp_path, route, prefer="respond-async, wait=5")
    job = desk.job(told["id"], "hernan")

    assert (status, told["status"], job.order.options.language) == (202, "queued", "es")
    assert desk.objects.size(job.source) == len(wav(80.0))


@pytest.mark.parametrize(("scopes", "headers"), [((), {}), (("transcribe",), {"prefer": "respond-async"})])
def test_who_does_not_say_so_or_may_not_gets_what_was_heard(
    tmp_path: Path, scopes: Any, headers: Any
) -> None:
    status, told, desk = short_of_time(tmp_path, "/v1/audio/transcriptions", *scopes, **headers)

    assert (status, told["error"]["code"]) == (504, "out_of_time")
    assert told["error"]["resume"]
    assert desk.listed("hernan", limit=1) == []


class Counting:
    """A function whose one key may send 200 s of audio a day, and that hears a chunk of 80 s in its time."""

    def __init__(self, engine: Stuck, env: Environment, settings: Settings, text: str) -> None:
        gates = Gates.of(env.service, settings, clock=from_noon())
        self.office = Office(env.service, settings)
        self._env = replace(env, app=create_app(env.service, settings, gates=gates, office=self.office))
        self._headers = {"authorization": f"Bearer {text}"}
        self._usage, self._key_id = gates.admission.usage, text.split("_")[1]
        self.engine = engine

    @property
    def day_s(self) -> float:
        return self._usage.heard_today(self._key_id)

    def ask(self, *, cut: bool, headers: Any = (), seconds: float = 80.0, **fields: str) -> tuple[int, Any]:
        form, kind = multipart({"language": "es", "vad": "off", **fields}, wav(seconds))
        headers = {"content-type": kind, **self._headers, **dict(headers)}
        raw = json.dumps(http_event("POST", "/v1/audio/transcriptions", body=form, headers=headers)).encode()
        if cut:
            self.engine.freed.clear()
            self.engine.quick = len(self.engine.heard) + 1
        else:
            self.engine.freed.set()
        taken = asyncio.run(asked(self._env, raw, CUT_S + SPARE_S + 4.0 if cut else 60.0))
        self.engine.freed.set()
        status, told = taken.answer
        return status, json.loads(told)


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Counting]:
    text, key = new_key("hernan", time.time(), scopes=("transcribe", "jobs"), audio_s_per_day=200.0)
    settings = replace(PATIENT, home=tmp_path, table="jobs", keys=exported([key]), jobs_tenant_most=1)
    engine = Stuck(text=" Uno.", serial=True)
    with environment(settings=settings, engine=engine) as env:
        yield Counting(engine, env, settings, text)


def test_a_day_pays_once_for_what_is_cut_and_resumed(counting: Counting) -> None:
    status, cut = counting.ask(cut=True)
    heard_s = cut["error"]["partial"]["heard_s"]

    assert status == 504
    assert 0 < heard_s < 80
    assert counting.day_s == pytest.approx(heard_s, abs=0.001)  # what was answered, and no more
    status, _ = counting.ask(cut=False, resume=cut["error"]["resume"])
    assert status == 200
    assert counting.day_s == pytest.approx(80, abs=0.001)


def test_a_day_pays_once_for_what_becomes_a_job(counting: Counting) -> None:
    once = {"prefer": "respond-async", "idempotency-key": "one"}
    first = counting.ask(cut=True, headers=once)

    assert (first[0], counting.day_s) == (202, 80.0)
    assert counting.ask(cut=True, headers=once)[1]["id"] == first[1]["id"]
    assert counting.day_s == 80.0


def test_a_job_that_is_not_taken_costs_the_day_nothing(counting: Counting) -> None:
    counting.office.desk().accept(Order(options=Options()), b"another", Handed(tenant="hernan"))
    status, told = counting.ask(cut=True, headers={"prefer": "respond-async"})

    assert (status, told["error"]["code"], counting.day_s) == (429, "too_many_jobs", 0.0)


def test_tries_of_a_request_that_is_cut_pay_for_the_furthest_of_them(counting: Counting) -> None:
    once = {"idempotency-key": "one"}
    cuts = [counting.ask(cut=True, headers=once)[1]["error"] for _ in range(2)]
    furthest_s = max(cut["partial"]["heard_s"] for cut in cuts)

    assert counting.day_s == pytest.approx(furthest_s, abs=0.001)
    assert counting.ask(cut=False, headers=once)[0] == 200
    assert counting.day_s == pytest.approx(80, abs=0.001)


def test_a_whole_answer_that_was_begun_and_not_ended_is_out_of_time_too() -> None:
    async def begins(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(60)

    with environment(settings=replace(PATIENT, lambda_invoke_mode="buffered")) as env:
        taken = asyncio.run(asked(replace(env, app=begins), event(wav(0.1)), CUT_S + 0.5))
    status, body = taken.answer

    assert (status, json.loads(body)["error"]["code"]) == (504, "out_of_time")


def test_sdks_are_told_not_to_send_it_again() -> None:
    with environment(settings=replace(PATIENT, lambda_invoke_mode="buffered")) as env:
        taken = asyncio.run(asked(env, event(wav(2.0)), 1.0))
    told = json.loads(taken.body)

    assert told["statusCode"] == 504
    assert told["headers"]["x-should-retry"] == "false"


def test_a_server_without_a_deadline_waits_as_it_always_did() -> None:
    engine = FakeEngine(text=" Uno.", delay_s=0.2, serial=True)
    with environment(settings=PATIENT, engine=engine) as env:
        status, told = ask(env, 3_600, wav(80.0))

    assert (status, told["text"]) == (200, "Uno. Uno. Uno. Uno.")


class Quiet:
    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.answers: list[bytes] = []

    async def respond(self, _: str, body: bytes) -> None:
        self.answers.append(body)

    async def fail(self, _: str, failure: Failure) -> None:
        self.failures.append(failure)


class SlowJobs:
    def step(self, event: Any) -> Any:
        time.sleep(event["s"])
        return {"done": True}


@pytest.mark.parametrize(
    ("budget_s", "work_s", "in_time"), [(1.0, 0.0, False), (5.0, 30.0, False), (9.0, 0.1, True)]
)
def test_steps_of_jobs_fail_in_time_too(budget_s: float, work_s: float, in_time: bool) -> None:
    api = Quiet()
    raw = json.dumps({"step": "chunk", "job": "job_1", "s": min(work_s, 4.5)}).encode()

    async def one(env: Environment) -> float:
        began = time.time()
        await serve(api, env, Invocation("id", raw, began + budget_s))  # type: ignore[arg-type]
        return began + budget_s - time.time()

    with environment(jobs=SlowJobs()) as env:
        left_s = asyncio.run(one(env))

    assert left_s > 0
    assert [f.kind for f in api.failures] == ([] if in_time else ["ServerError"])
    assert (api.answers == [b'{"done": true}']) == in_time
