"""Who is heard when: fair turns, quick refusals, promises of time that hold, and work that stops."""

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeEngine, from_noon
from guarded import READY_TEXT, guarded, wait_for
from serving import wav
from whisper_lambda import deadline, lanes
from whisper_lambda.config import Settings
from whisper_lambda.engine.batching import Batcher
from whisper_lambda.errors import AudioQuotaUsed, CannotFinishInTime, Overloaded, ShuttingDown
from whisper_lambda.http.admission import LONG_BYTES, VISIT, Admission, Visit
from whisper_lambda.http.asking import Ask
from whisper_lambda.http.keys import new_key
from whisper_lambda.http.limits import Usage
from whisper_lambda.http.pace import BUSY_AUDIO_S, Work
from whisper_lambda.http.rooms import Room


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(tenant: str = "", **how) -> Ask:
    return Ask(**{"tenant": tenant, "route": "/transcribe", "model": None, "size_bytes": 1000} | how)


def opened(tmp_path: Path, at_once: int = 2, queue: int = 8, clock=time.monotonic) -> Admission:
    return Admission(at_once=at_once, queue=queue, usage=Usage(tmp_path / "usage", from_noon()), clock=clock)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def order_of(room: Room, asked: list[str]) -> list[str]:
    """Return in which order tenants who ask in the order given get the room's one place."""
    served: list[str] = []
    go = asyncio.Event()

    async def one(tenant: str) -> None:
        async with room.place(tenant, 60.0):
            served.append(tenant)
            await go.wait()

    tasks = []
    for tenant in asked:
        tasks.append(asyncio.create_task(one(tenant)))
        await settle()
    go.set()
    await asyncio.gather(*tasks)
    return served


def test_tenants_take_turns_however_much_one_asks() -> None:
    asked = ["a", *["a"] * 6, "b", "b", "c"]

    assert asyncio.run(order_of(Room(1, 100), asked)) == ["a", "a", "b", "c", "a", "b", "a", "a", "a", "a"]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
@settings(max_examples=50)
def test_everybody_is_served_once_and_nobody_waits_for_more_than_their_share(asked: list[str]) -> None:
    served = asyncio.run(order_of(Room(1, 100), asked))

    assert Counter(served) == Counter(asked)
    for tenant in set(asked[1:]):
        first = served[1:].index(tenant)
        assert first <= len(set(asked)) - 1 + 1


async def crowd(room: Room, seed: int) -> Counter[str]:
    """Ask, leave while waiting, leave while served, give up after a while: 300 times at random."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()
    at_once = most = 0

    async def one() -> None:
        nonlocal at_once, most
        try:
            async with room.place(chance.choice("abc"), chance.choice([0.001, 0.01, 5.0])):
                at_once += 1
                most = max(most, at_once)
                try:
                    await asyncio.sleep(chance.choice([0, 0.001, 0.003]))
                finally:
                    at_once -= 1
            ends["served"] += 1
        except Overloaded:
            ends["refused"] += 1
        except asyncio.CancelledError:
            ends["left"] += 1
            raise

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(one()))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice([0, 0.001]))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= 3
    return ends


@pytest.mark.parametrize("seed", range(5))
def test_no_place_is_lost_or_made_whoever_leaves_when(seed: int) -> None:
    room = Room(3, 10)
    ends = asyncio.run(crowd(room, seed))

    assert (room.under_way, room.waiting) == (0, 0)
    assert min(ends["served"], ends["refused"], ends["left"]) > 0


def test_a_full_room_refuses_at_once_and_says_when_to_come_back() -> None:
    async def run() -> Overloaded:
        room, go = Room(1, 3), asyncio.Event()
        tasks = [asyncio.create_task(hold(room, "a", go)) for _ in range(4)]
        await settle()
        with pytest.raises(Overloaded) as refused:
            await hold(room, "a", go)
        assert (room.under_way, room.waiting) == (1, 3), "it did not wait for anybody"
        go.set()
        await asyncio.gather(*tasks)
        return refused.value

    refused = asyncio.run(run())

    assert refused.status == 503
    assert refused.retry_after_s
    assert refused.retry_after_s >= 1


async def hold(room: Room, tenant: str, go: asyncio.Event) -> str:
    async with room.place(tenant, 60.0):
        await go.wait()
        return tenant


def test_in_a_full_room_who_waits_for_most_gives_way_to_who_waits_for_none() -> None:
    async def run() -> list[object]:
        room, go = Room(1, 3), asyncio.Event()
        tasks = [asyncio.create_task(hold(room, tenant, go)) for tenant in ["a", "a", "a", "a", "b"]]
        await settle()
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    ends = asyncio.run(run())

    assert [type(e) for e in ends] == [str, str, str, Overloaded, str]


def test_a_wait_longer_than_the_client_has_is_refused_before_it_begins() -> None:
    async def run() -> CannotFinishInTime:
        clock, go = Clock(), asyncio.Event()
        room = Room(1, 100, clock)
        async with room.place("a", 60.0):
            clock.now += 10  # what a place takes
        tasks = [asyncio.create_task(hold(room, "a", go)) for _ in range(4)]
        await settle()
        with pytest.raises(CannotFinishInTime) as refused:
            async with room.place("a", 25.0):
                pass
        assert (room.under_way, room.waiting) == (1, 3)
        go.set()
        await asyncio.gather(*tasks)
        return refused.value

    refused = asyncio.run(run())

    assert refused.retry_after_s == pytest.approx(4 * 10 - 25)


def test_a_turn_that_does_not_come_is_given_up_when_the_client_would() -> None:
    async def run() -> None:
        room, go = Room(1, 100), asyncio.Event()
        holder = asyncio.create_task(hold(room, "a", go))
        await settle()
        with pytest.raises(CannotFinishInTime, match="did not come in time"):
            async with room.place("a", 0.1):
                pass
        assert (room.under_way, room.waiting) == (1, 0)
        go.set()
        await holder

    asyncio.run(run())


def busy(clock: Clock, rtf: float) -> Work:
    """Work under way on a machine whose pace has been measured."""
    work = Work(clock)
    work.plan(0, BUSY_AUDIO_S * 10)
    clock.now += BUSY_AUDIO_S * rtf
    work.reach(0, BUSY_AUDIO_S * 9)
    work.end(0, finished=False)
    return work


def test_the_pace_is_what_was_measured() -> None:
    assert busy(Clock(), 0.02).pace.rtf == pytest.approx(0.02)


def test_no_promise_is_made_before_anything_was_measured() -> None:
    clock = Clock()
    work = Work(clock)
    work.plan(1, BUSY_AUDIO_S / 2)  # keeps no machine busy: says nothing
    clock.now += 100
    work.end(1, finished=True)

    assert work.needed_s(1e9) is None


@given(
    lengths=st.lists(st.floats(1, 7200), min_size=1, max_size=8),
    new=st.floats(1, 7200),
    rtf=st.floats(0.005, 0.5),
)
@settings(max_examples=60)
def test_what_is_promised_is_when_it_would_be_done(lengths: list[float], new: float, rtf: float) -> None:
    """Against a machine that really gives each recording its turn, a second of audio at a time."""
    work = busy(Clock(), rtf)
    for turn, length in enumerate(lengths):
        work.plan(turn, length)
    promised = work.needed_s(new)
    left, worked_s, step = [*lengths, new], 0.0, max(1.0, new / 200)
    while left[-1] > 0:
        for i, seconds in enumerate(left):
            worked_s += rtf * min(step, max(0.0, seconds))
            left[i] = seconds - step

    assert promised == pytest.approx(worked_s, rel=0.02, abs=rtf * step * (len(left) + 1))


def test_a_clip_beside_a_two_hour_file_is_promised_its_own_length_twice() -> None:
    work = busy(Clock(), 0.02)
    work.plan(1, 7200)

    assert work.needed_s(3) == pytest.approx(0.02 * 6)


def admitted(tmp_path: Path, patience_s: float, rtf: float, under_way_s: float, **how):
    """Plan 600 s of audio beside `under_way_s` of others' for a client of some patience."""
    clock = Clock()
    admission = opened(tmp_path, clock=clock)
    admission.work = busy(clock, rtf)
    admission.work.plan(1, under_way_s)
    VISIT.set(Visit(None, patience_s))

    async def run() -> None:
        async with admission.admit(ask(size_bytes=LONG_BYTES + 1, **how)) as turn:
            turn.planned(600.0)

    return run


def test_what_cannot_be_done_in_time_is_refused_when_its_length_is_known(tmp_path: Path) -> None:
    run = admitted(tmp_path, patience_s=60.0, rtf=0.06, under_way_s=600.0)
    with pytest.raises(CannotFinishInTime) as refused:
        asyncio.run(run())

    assert refused.value.retry_after_s == pytest.approx(72 - 60, abs=0.5)
    assert refused.value.status == 503


def test_what_can_never_be_done_in_time_is_not_told_to_come_back(tmp_path: Path) -> None:
    with pytest.raises(CannotFinishInTime, match="in parts") as refused:
        asyncio.run(admitted(tmp_path, patience_s=60.0, rtf=0.2, under_way_s=0.0)())

    assert refused.value.retry_after_s is None


def test_what_can_be_done_in_time_and_streams_are_let_in(tmp_path: Path) -> None:
    asyncio.run(admitted(tmp_path, patience_s=80.0, rtf=0.06, under_way_s=600.0)())
    asyncio.run(admitted(tmp_path, patience_s=1.0, rtf=0.06, under_way_s=600.0, streamed=True)())


def test_of_a_recording_that_is_resumed_only_the_rest_must_be_done_in_time(tmp_path: Path) -> None:
    run = admitted(tmp_path, patience_s=60.0, rtf=0.2, under_way_s=0.0, from_s=400.0)

    asyncio.run(run())


def test_a_refused_recording_takes_nothing_off_the_day(tmp_path: Path) -> None:
    key = new_key("t", 1.0, audio_s_per_day=1000)[1]
    admission = opened(tmp_path)

    async def hear(seconds: float) -> None:
        VISIT.set(Visit(key))
        async with admission.admit(ask()) as turn:
            turn.planned(seconds)

    asyncio.run(hear(900))
    with pytest.raises(AudioQuotaUsed):
        asyncio.run(hear(200))
    asyncio.run(hear(100))

    assert admission.usage.heard_today(key.id) == 1000


def test_long_recordings_leave_places_for_short_ones(tmp_path: Path) -> None:
    """All of the long places and seats are taken; a clip gets its turn at once."""

    async def run() -> int:
        admission = opened(tmp_path, at_once=2, queue=8)
        long = [asyncio.create_task(stay(admission, size_bytes=LONG_BYTES + 1)) for _ in range(3)]
        await settle()
        async with admission.admit(ask()):
            under_way = admission.under_way
        for task in long:
            task.cancel()
        return under_way

    assert asyncio.run(run()) == 2, "one long, and the clip"


async def stay(admission: Admission, **how) -> None:
    async with admission.admit(ask(**how)):
        await asyncio.sleep(60)


def test_small_files_that_turn_out_long_do_not_take_every_place(tmp_path: Path) -> None:
    async def run() -> None:
        admission = opened(tmp_path, at_once=4)
        async with admission.admit(ask()) as a, admission.admit(ask()) as b, admission.admit(ask()) as c:
            a.planned(7200.0)
            b.planned(7200.0)
            with pytest.raises(Overloaded) as refused:
                c.planned(7200.0)
            assert refused.value.retry_after_s
            c.planned(10.0)
        async with admission.admit(ask()) as d:
            d.planned(7200.0)

    asyncio.run(run())


def test_draining_takes_nothing_new_sends_who_waits_away_and_lets_the_rest_finish(tmp_path: Path) -> None:
    async def run() -> list[object]:
        admission = opened(tmp_path, at_once=1)
        finish = asyncio.Event()

        async def one() -> str:
            async with admission.admit(ask()):
                await finish.wait()
                return "done"

        tasks = [asyncio.create_task(one()) for _ in range(3)]
        await settle()
        admission.drain()
        tasks.append(asyncio.create_task(one()))
        await settle()
        finish.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    done, *refused = asyncio.run(run())

    assert done == "done"
    assert [type(r) for r in refused] == [ShuttingDown] * 3
    assert all(r.retry_after_s for r in refused)


def test_the_turns_lane_is_left_when_the_turn_ends(tmp_path: Path) -> None:
    async def run() -> None:
        admission = opened(tmp_path)
        async with admission.admit(ask()):
            within = lanes.current()
            assert within
            assert not within.left
        assert within.left
        assert lanes.current() is None

    asyncio.run(run())


# Over HTTP


def post(url: str, seconds: float, **fields: str) -> httpx2.Response:
    return httpx2.post(f"{url}/transcribe", files={"file": ("a.wav", wav(seconds))}, data=fields, timeout=120)


class BatchedEngine(FakeEngine):
    """Says its sentence from behind the real queue of questions, as the real engine does."""

    def __init__(self, **how) -> None:
        super().__init__(text=READY_TEXT, **how)
        self.batcher = Batcher(self._answer, lambda q: 0, workers=1, largest=2)

    def _answer(self, questions):
        return [super(BatchedEngine, self).transcribe(*q) for q in questions]

    def transcribe(self, chunk, options):
        return self.batcher.ask((chunk, options))


def leave_during(server, seconds: float, moment) -> None:
    """Upload a recording, hang up at a moment, and wait until the server lets go of it."""
    recording = wav(seconds)
    head = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
    with socket.create_connection(server.address, timeout=120) as line:
        line.sendall(f"{head}Content-Length: {len(recording)}\r\n\r\n".encode() + recording)
        wait_for(lambda: server.gates.admission.under_way == 1)
        wait_for(moment, 30)
        assert server.gates.admission.under_way == 1, "it was over before the client left"
    wait_for(lambda: server.gates.admission.under_way == 0, 60)


def test_a_client_that_leaves_stops_its_work(tmp_path: Path) -> None:
    """How soon is measured (docs/load.md); here, that what it left is not heard."""
    engine = BatchedEngine(delay_s=0.25)
    with guarded(Settings(home=tmp_path, probe_every_s=3600), engine) as server:
        wait_for(lambda: server.gates.readiness.state().ready)
        engine.heard.clear()
        leave_during(server, 600.0, lambda: len(engine.heard) >= 2)
        begun = len(engine.heard)
        assert post(server.url, 3.0).status_code == 200  # what was left would be heard before it

        assert len(engine.heard) == begun + 1 < 20, "of 21 chunks and more"


def test_a_client_that_leaves_stops_the_decoding_of_its_file(tmp_path: Path) -> None:
    engine = BatchedEngine()
    with guarded(Settings(home=tmp_path, probe_every_s=3600), engine) as server:
        wait_for(lambda: server.gates.readiness.state().ready)
        engine.heard.clear()

        leave_during(server, 900.0, lambda: True)
        assert engine.heard == []


def test_overload_is_refused_quickly_and_nothing_fails(tmp_path: Path) -> None:
    """Thirty at once before one place and four seats: some are heard, the rest refused, none fails."""
    engine = FakeEngine(delay_s=0.05)
    with guarded(Settings(home=tmp_path, probe_every_s=3600, at_once=1, queue=4), engine) as server:
        recording, answers = wav(1.0), []

        def one() -> None:
            files = {"file": ("a.wav", recording)}
            answers.append(httpx2.post(f"{server.url}/transcribe", files=files, timeout=120))

        threads = [threading.Thread(target=one) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        counts = Counter(a.status_code for a in answers)
        assert set(counts) == {200, 503}
        assert counts[200] >= 5
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] in {"overloaded", "cannot_finish_in_time"}
                assert int(answer.headers["retry-after"]) >= 1
        assert post(server.url, 1.0).status_code == 200


class Held(FakeEngine):
    """Does not come to an end with a chunk of a long recording before it is let go."""

    def __init__(self) -> None:
        super().__init__(text=READY_TEXT)
        self.go = threading.Event()

    def transcribe(self, chunk, options):
        if chunk.duration > 5.0:
            assert self.go.wait(120)
        return super().transcribe(chunk, options)


def test_a_clip_is_heard_while_long_files_are(tmp_path: Path) -> None:
    engine = Held()
    answers: list[httpx2.Response] = []
    with guarded(Settings(home=tmp_path, probe_every_s=3600, at_once=2), engine) as server:
        long = [threading.Thread(target=lambda: answers.append(post(server.url, 130.0))) for _ in range(2)]
        for thread in long:
            thread.start()
        wait_for(lambda: server.gates.admission.under_way > 0)
        clip = post(server.url, 3.0)
        before = list(answers)
        engine.go.set()
        for thread in long:
            thread.join()

    assert clip.status_code == 200
    assert before == []
    assert [a.status_code for a in answers] == [200, 200]


def test_a_request_is_watched_where_its_client_can_be_seen_to_leave(tmp_path: Path) -> None:
    admission = opened(tmp_path)

    async def watched() -> bool:
        async with admission.admit(ask()):
            lane = lanes.current()
            return lane is not None and lane.watched

    assert asyncio.run(watched())
    with deadline.until(time.monotonic() + 900):  # a function's event
        assert not asyncio.run(watched())
