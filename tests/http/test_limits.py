"""What a key may use, and that what it is told about waiting is true."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_lambda.errors import (
    AudioQuotaUsed,
    AudioTooLong,
    ClientGone,
    RateLimited,
    StorageFull,
    TooManyAtOnce,
)
from whisper_lambda.http.keys import Key, new_key
from whisper_lambda.http.limits import DAY_S, Tab, Usage

NOON = 20_000 * DAY_S + DAY_S / 2  # of some day, UTC


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key(**limits) -> Key:
    return new_key("hernan", 1.0, **limits)[1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(tmp_path: Path, clock: Clock) -> Usage:
    return Usage(tmp_path / "usage.sqlite3", clock)


def ask(usage: Usage, who: Key) -> None:
    with usage.request(who):
        pass


def test_as_many_requests_a_minute_as_allowed_and_not_one_more(usage: Usage, clock: Clock) -> None:
    who = key(per_minute=3)
    for _ in range(3):
        ask(usage, who)
        clock.now += 10
    with pytest.raises(RateLimited) as refused:
        ask(usage, who)

    assert refused.value.retry_after_s == pytest.approx(30)
    assert refused.value.status == 429


@given(
    gaps=st.lists(st.floats(0, 40), min_size=1, max_size=40),
    allowed=st.integers(1, 5),
)
@settings(max_examples=60)
def test_retry_after_is_the_first_moment_that_works(gaps: list[float], allowed: int) -> None:
    clock = Clock(1000.0)
    usage, who = Usage(Path("unused"), clock), key(per_minute=allowed)
    for gap in gaps:
        clock.now += gap
        try:
            ask(usage, who)
        except RateLimited as refused:
            then = clock.now + refused.retry_after_s
            clock.now = then - 0.01
            with pytest.raises(RateLimited):
                ask(usage, who)
            clock.now = then + 1e-6
            ask(usage, who)


def test_as_many_at_once_as_allowed(usage: Usage) -> None:
    who, other = key(concurrent=2), key(concurrent=2)
    with usage.request(who), usage.request(who):
        with pytest.raises(TooManyAtOnce) as refused:
            ask(usage, who)
        ask(usage, other)
    ask(usage, who)

    assert refused.value.retry_after_s


def test_a_request_that_fails_gives_its_place_back(usage: Usage) -> None:
    who = key(concurrent=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), usage.request(who):
            _ = 1 / 0
    ask(usage, who)


def test_keys_without_limits_are_not_limited_and_leave_no_file(usage: Usage, tmp_path: Path) -> None:
    who = key()
    for _ in range(1000):
        ask(usage, who)
        usage.hear(who, 1e6)

    assert list(tmp_path.iterdir()) == []


def test_exactly_the_days_audio_is_accepted_and_a_second_more_refused(usage: Usage) -> None:
    who = key(audio_s_per_day=100)
    usage.hear(who, 60)
    usage.hear(who, 40)
    with pytest.raises(AudioQuotaUsed) as refused:
        usage.hear(who, 1)

    assert usage.heard_today(who.id) == 100
    assert refused.value.retry_after_s == pytest.approx(DAY_S / 2)


def test_a_refused_recording_costs_nothing(usage: Usage) -> None:
    who = key(audio_s_per_day=100)
    usage.hear(who, 60)
    with pytest.raises(AudioQuotaUsed):
        usage.hear(who, 50)
    usage.hear(who, 40)


def test_tries_of_one_request_are_taken_off_the_day_once(usage: Usage, clock: Clock) -> None:
    who, other = key(audio_s_per_day=100), key(audio_s_per_day=100)
    for _ in range(3):
        usage.hear(who, 60, "one")
    usage.hear(other, 60, "one")
    with pytest.raises(AudioQuotaUsed):
        usage.hear(who, 60, "two")
    with pytest.raises(AudioQuotaUsed):
        usage.hear(who, 60, "two")
    clock.now += DAY_S
    usage.hear(who, 60, "one")

    assert (usage.heard_today(who.id), usage.heard_today(other.id)) == (0, 0)
    usage.hear(who, 100, "three")


def test_what_a_try_did_not_hear_the_next_one_pays(usage: Usage) -> None:
    who = key(audio_s_per_day=100)
    usage.give_back(usage.hear(who, 60, "one"), 40)
    assert usage.heard_today(who.id) == 20
    second = usage.hear(who, 60, "one")
    assert (second.audio_s, usage.heard_today(who.id)) == (40, 60)
    third = usage.hear(who, 60, "one")
    usage.give_back(third)

    assert (third.audio_s, usage.heard_today(who.id)) == (0, 60)  # it gives back no other's


def test_a_thread_whose_request_was_answered_meanwhile_pays_nothing(usage: Usage) -> None:
    who, tab = key(audio_s_per_day=100), Tab()

    assert tab.close() is None
    with pytest.raises(ClientGone):
        tab.pay(lambda: usage.hear(who, 60))
    assert usage.heard_today(who.id) == 0


def test_after_retry_after_there_is_a_new_day(usage: Usage, clock: Clock) -> None:
    who = key(audio_s_per_day=100)
    usage.hear(who, 100)
    with pytest.raises(AudioQuotaUsed) as refused:
        usage.hear(who, 100)
    clock.now += refused.value.retry_after_s - 0.01
    with pytest.raises(AudioQuotaUsed):
        usage.hear(who, 100)
    clock.now += 0.01
    usage.hear(who, 100)


def test_what_no_day_holds_is_not_told_to_wait(usage: Usage) -> None:
    with pytest.raises(AudioTooLong) as refused:
        usage.hear(key(audio_s_per_day=100), 101)

    assert refused.value.retry_after_s is None
    assert refused.value.status == 413


def test_a_restart_hands_nothing_out_again(tmp_path: Path, clock: Clock) -> None:
    who = key(audio_s_per_day=100)
    Usage(tmp_path / "u", clock).hear(who, 80)

    with pytest.raises(AudioQuotaUsed):
        Usage(tmp_path / "u", clock).hear(who, 80)
    assert stat.S_IMODE((tmp_path / "u").stat().st_mode) == 0o600


def test_threads_and_processes_together_take_no_more_than_the_day(tmp_path: Path) -> None:
    who = key(audio_s_per_day=100)
    usage = Usage(tmp_path / "u", Clock())
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from whisper_lambda.http.limits import Usage; from whisper_lambda.http.keys import new_key\n"
        "who = replace(new_key('t', 1.0, audio_s_per_day=100)[1], id=sys.argv[2])\n"
        "u = Usage(Path(sys.argv[1]), lambda: float(sys.argv[3]))\n"
        "ok = 0\n"
        "for _ in range(40):\n"
        "    try: u.hear(who, 1); ok += 1\n"
        "    except Exception as e: assert e.code == 'audio_quota_exceeded', e\n"
        "print(ok)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "u"), who.id, str(NOON)], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]

    def hear(_: int) -> int:
        try:
            usage.hear(who, 1)
        except AudioQuotaUsed:
            return 0
        return 1

    with ThreadPoolExecutor(4) as threads:
        ours = sum(threads.map(hear, range(60)))
    theirs = sum(int(p.communicate(timeout=120)[0]) for p in processes)

    assert ours + theirs == 100


def test_a_file_that_cannot_be_kept_is_our_fault(tmp_path: Path) -> None:
    (tmp_path / "u").write_bytes(b"no database" * 100)
    with pytest.raises(StorageFull):
        Usage(tmp_path / "u").hear(key(audio_s_per_day=100), 1)


def test_what_is_given_back_goes_to_the_day_it_was_taken_from(usage: Usage, clock: Clock) -> None:
    who = key(audio_s_per_day=100)
    yesterday = usage.hear(who, 70)
    clock.now += DAY_S
    usage.hear(who, 90)
    usage.give_back(yesterday)

    assert usage.heard_today(who.id) == 90


def test_yesterdays_use_is_forgotten(usage: Usage, clock: Clock) -> None:
    who = key(audio_s_per_day=100)
    usage.hear(who, 70)
    clock.now += DAY_S
    assert usage.heard_today(who.id) == 0
    usage.hear(who, 10)
    clock.now -= DAY_S

    assert usage.heard_today(who.id) == 0
