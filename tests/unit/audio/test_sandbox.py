import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import encoded, speechlike, wav

from whisper_lambda import lanes
from whisper_lambda.audio.decode import Limits, decode, decode_blocks
from whisper_lambda.audio.sandbox import PROGRAM, DecoderPool
from whisper_lambda.errors import BadAudio, ClientGone, DecoderFailed, DecodeTimeout
from whisper_lambda.lanes import Lane

DYING = Path(__file__).with_name("dying_decoder.py")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

DEATHS = int(os.environ.get("DEATHS", "60"))  # `make fuzz`: 200


@pytest.fixture(scope="module")
def dying():
    pool = DecoderPool(1, program=DYING)
    pool.warm()
    yield pool
    pool.close()


def children_of(pid):
    """Pids of the live or unreaped children of a process."""
    children = []
    for by_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended just now
            children += map(int, by_thread.read_text().split())
    return children


def gone(pids, within_s=30.0):
    """Tell whether every process is gone, or is a zombie somebody else has to reap."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not [p for p in pids if alive(p)]:
            return True
        time.sleep(0.01)
    return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("way", "error", "words"),
    [
        (b"crash", BadAudio, "SIGSEGV"),
        (b"leave", BadAudio, "exit code 3"),
        (b"allocate", BadAudio, "too much memory"),
        (b"spin", DecodeTimeout, "0.3 s"),
        (b"babble", BadAudio, "nonsense"),
        (b"announce a gigabyte", BadAudio, "nonsense"),
        (b"send more than it may", BadAudio, "nonsense"),
        (b"warn without end", BadAudio, "nonsense"),
        (b"open a file", BadAudio, "Too many open files"),
        (b"open a socket", BadAudio, "Too many open files"),
    ],
)
def test_a_decoder_that_dies_is_its_own_calls_error(way, error, words, dying, limits):
    with pytest.raises(error, match=words) as failure:
        decode(
            way + b"\0", replace(limits, timeout_s=0.3, max_seconds=5.0), dying
        )  # the zero: text is told from media

    assert type(failure.value) is error


def test_what_a_decoder_says_cannot_steer_a_terminal(dying, limits):
    with pytest.raises(BadAudio, match="gone") as failure:
        decode(b"say terminal codes\0", limits, dying)

    assert str(failure.value).isprintable()


def test_deaths_harm_no_other_call(dying, limits):
    """Deaths of five kinds under four clients that decode good files all the while."""
    content = encoded(speechlike(2.0, 44_100), "mp3", "mp3", rate=44_100)
    expected = decode(content, limits, dying).samples
    good, wrong, untyped = [], [], []
    over = threading.Event()

    def client():
        while not over.is_set():
            same = np.array_equal(decode(content, limits, dying).samples, expected)
            (good if same else wrong).append(1)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for way in [b"crash", b"leave", b"allocate", b"babble", b"spin"] * (DEATHS // 5):
        try:
            decode(way, replace(limits, timeout_s=0.2), dying)
        except (BadAudio, DecodeTimeout):
            continue
        except Exception as cause:  # noqa: BLE001 - what must not happen, counted
            untyped.append(cause)
    over.set()
    for thread in clients:
        thread.join()

    assert (wrong, untyped) == ([], [])
    assert good


def test_after_the_last_recording_expected_the_process_ends_and_another_one_still_decodes(limits):
    content = encoded(speechlike(0.5, 16_000), "wav", "pcm_s16le", rate=16_000)
    pool = DecoderPool(1)
    pool.expect(2)
    try:
        first = decode(content, limits, pool).samples
        waiting = pool._starter._process
        second = decode(content, limits, pool).samples
        assert waiting.wait(60.0) is not None  # it was told to leave
        assert pool._starter is None
        third = decode(content, limits, pool).samples
    finally:
        pool.close()

    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


@linux
def test_a_decoder_sees_one_file_and_no_environment(limits):
    os.environ["SECRET_OF_OURS"] = "hunter2"
    pool = DecoderPool(1, program=DYING)
    seen = {}

    starter = started(pool)

    def look():
        child = wait_for_child(starter)
        time.sleep(0.2)  # into the spin
        proc = Path(f"/proc/{child}")
        seen["descriptors"] = sorted(int(p.name) for p in (proc / "fd").iterdir())
        seen["targets"] = {str(p.readlink()) for p in (proc / "fd").iterdir()}
        seen["environment"] = (proc / "environ").read_bytes()
        seen["limits"] = (proc / "limits").read_text()

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(DecodeTimeout):
        decode(b"spin", replace(limits, timeout_s=1.5), pool)
    looking.join()
    pool.close()
    del os.environ["SECRET_OF_OURS"]

    assert len(seen["descriptors"]) == 4  # the session, two nulls, the recording
    assert {t.split(":")[0].split(" ")[0] for t in seen["targets"]} == {"socket", "/dev/null", "/memfd"}
    assert b"SECRET" not in seen["environment"]
    for line, value in [
        ("Max open files", "0"),
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max address space", str(1 << 30)),
        ("Max cpu time", "3"),
    ]:
        row = next(r for r in seen["limits"].splitlines() if r.startswith(line))
        assert row[len(line) :].split()[:2] == [value, value], row


def wait_for_child(pid):
    for _ in range(6000):
        if children := children_of(pid):
            return children[0]
        time.sleep(0.01)
    raise AssertionError("no child appeared")


def started(pool):
    """Start the pool's waiting process, let it get ready, and return its pid."""
    before = set(children_of(os.getpid()))
    pool.missing_limits()
    (pid,) = set(children_of(os.getpid())) - before
    return pid


@linux
def test_nothing_is_left_behind(limits):
    content = wav(speechlike(1.0))
    pool = DecoderPool(1)
    starter = started(pool)
    decode(content, limits, pool)
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path would hold one open

    for _ in range(30):
        decode(content, limits, pool)
    for _ in range(5):
        blocks = decode_blocks(wav(speechlike(30.0)), limits, pool)
        next(blocks)
        blocks.close()

    assert children_of(starter) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    pool.close()
    assert gone([starter])


PARENT = """
    import sys, threading, time
    from pathlib import Path
    from whisper_lambda.audio.decode import Limits, decode
    from whisper_lambda.audio.sandbox import DecoderPool

    pool = DecoderPool(1, program=Path(sys.argv[1]))
    limits = Limits(max_seconds=60.0, max_bytes=1000, timeout_s=60.0)
    for _ in range(2):
        threading.Thread(target=decode, args=(b"spin", limits, pool), daemon=True).start()
    print("started", flush=True)
    decode(b"spin", limits, pool)
"""


@linux
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_parent_that_ends_takes_its_decoders_along(sent):
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(DYING)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout.readline() == b"started\n"
    starter = wait_for_child(parent.pid)
    for _ in range(6000):
        if len(decoders := children_of(starter)) == 3:
            break
        time.sleep(0.01)
    assert len(decoders) == 3

    parent.send_signal(sent)
    parent.wait(60)
    parent.stdout.close()

    assert gone([starter, *decoders])


@linux
def test_the_terminals_interrupt_does_not_reach_the_decoders(limits):
    pool = DecoderPool(1)
    starter = started(pool)
    decode(wav(speechlike(1.0)), limits, pool)

    assert os.getpgid(starter) != os.getpgid(0)
    os.kill(starter, signal.SIGINT)
    assert decode(wav(speechlike(1.0)), limits, pool).duration == 1.0
    assert alive(starter)
    pool.close()


@linux
def test_a_waiting_process_that_was_killed_is_replaced(limits):
    pool = DecoderPool(1)
    starter = started(pool)
    decode(wav(speechlike(1.0)), limits, pool)
    os.kill(starter, signal.SIGKILL)

    assert decode(wav(speechlike(1.0)), limits, pool).duration == 1.0
    pool.close()


@linux
def test_a_waiting_process_killed_under_a_decode_is_our_fault_not_the_files(limits):
    pool = DecoderPool(1, program=DYING)
    starter = started(pool)

    def kill():
        child = wait_for_child(starter)
        time.sleep(0.2)  # until it is known here, too
        os.kill(starter, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    with pytest.raises(DecoderFailed, match="from outside"):
        decode(b"spin", limits, pool)
    killing.join()
    pool.close()


@linux
def test_a_decoder_nobody_can_end_any_more_runs_out_of_time_by_itself(limits):
    pool = DecoderPool(1, program=DYING)
    orphan = spun_while_told(started(pool), signal.SIGKILL, limits, pool)
    pool.close()

    assert alive(orphan)
    assert gone([orphan], within_s=120.0)  # two seconds of processor time


def spun_while_told(starter, what, limits, pool):
    """Run out of time on a spinning decoder, its waiting process told `what` meanwhile; return its pid."""
    spinning = []

    def tell():
        spinning.append(wait_for_child(starter))
        time.sleep(0.2)  # until it is known here, too
        os.kill(starter, what)

    telling = threading.Thread(target=tell)
    telling.start()
    with pytest.raises(DecodeTimeout):
        decode(b"spin", replace(limits, timeout_s=0.5), pool)
    telling.join()
    return spinning[0]


def test_a_decoder_that_works_and_says_nothing_is_ended_long_before_the_time_limit(dying, limits):
    with pytest.raises(BadAudio, match="far too long for the audio in it"):
        decode(b"spin\0", replace(limits, timeout_s=600.0, cpu_ahead_s=1), dying)


def test_a_decoder_that_says_nothing_is_ended_when_nobody_waits_for_it(dying, limits):
    lane = Lane()
    leaving = threading.Timer(0.3, lane.leave)
    leaving.start()

    with pytest.raises(ClientGone):
        lanes.context_of(lane).run(decode, b"spin\0", replace(limits, cpu_ahead_s=600), dying)


def test_each_second_of_audio_allows_a_second_of_the_processor(dying, limits):
    """Three seconds of sound, 0.6 s of the processor for each, where 1 s may be used ahead of it."""
    decoded = decode(b"work for it\0", replace(limits, timeout_s=600.0, cpu_ahead_s=1), dying)

    assert decoded.duration == 3.0


@linux
def test_a_late_answer_is_not_taken_for_the_next_one(limits):
    pool = DecoderPool(1, program=DYING, answer_s=0.3)
    starter = started(pool)
    spun_while_told(starter, signal.SIGSTOP, limits, pool)
    with contextlib.suppress(ProcessLookupError):
        os.kill(starter, signal.SIGCONT)

    assert decode(wav(speechlike(1.0)), limits, pool).duration == 1.0
    pool.close()


def test_warming_does_not_wait():
    waits = []
    for _ in range(3):
        pool = DecoderPool(1)
        started = time.perf_counter()
        pool.warm()
        pool.warm()
        waits.append(time.perf_counter() - started)
        pool.missing_limits()
        waits[-1] /= time.perf_counter() - started
        pool.close()
    assert min(waits) < 0.5, "of the time until it was ready"


def test_a_pool_of_none_starts_with_the_first_file(limits):
    pool = DecoderPool(0)
    pool.warm()
    assert pool._starter is None
    assert decode(wav(speechlike(1.0)), limits, pool).duration == 1.0
    pool.close()


def test_a_closed_pool_decodes_no_more(limits):
    pool = DecoderPool(1)
    pool.close()
    pool.close()
    with pytest.raises(DecoderFailed, match="closed"):
        decode(wav(speechlike(1.0)), limits, pool)


def test_a_decoder_that_does_not_start_is_not_the_files_fault(tmp_path, limits):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    pool = DecoderPool(1, program=broken)
    with pytest.raises(DecoderFailed, match="doctor"):
        decode(wav(speechlike(1.0)), limits, pool)
    with pytest.raises(DecoderFailed, match="doctor"):
        pool.missing_limits()
    pool.close()


def test_a_slow_reader_is_not_a_slow_decoder(decoders, limits):
    slow = replace(limits, timeout_s=3.0)
    count = 0
    for block in decode_blocks(wav(speechlike(20.0)), slow, decoders):
        time.sleep(0.2)
        count += len(block)
    assert count == 20 * 16_000


@linux
def test_linux_offers_every_limit(decoders):
    assert decoders.missing_limits() == ()


def test_a_limit_the_system_lacks_is_named_and_the_rest_holds(tmp_path, limits):
    lacking = tmp_path / "lacking.py"
    lacking.write_text(
        "import resource, runpy\n"
        "del resource.RLIMIT_AS\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    pool = DecoderPool(1, program=lacking)
    assert pool.missing_limits() == ("RLIMIT_AS",)
    assert decode(wav(speechlike(1.0)), limits, pool).duration == 1.0
    pool.close()


@linux
def test_a_machine_without_room_for_a_process_says_so_and_harms_nobody(limits, tmp_path):
    full = tmp_path / "full.py"
    full.write_text(
        "import errno, os, runpy, sys\n"
        "forks = [os.fork]\n"  # the first tries out the limits
        "def fork_once():\n"
        "    if not forks:\n"
        "        raise OSError(errno.EAGAIN, 'no room')\n"
        "    return forks.pop()()\n"
        "os.fork = fork_once\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    pool = DecoderPool(1, program=full)
    starter = started(pool)
    for _ in range(2):
        with pytest.raises(DecoderFailed, match="no further process"):
            decode(wav(speechlike(1.0)), limits, pool)
    assert alive(starter)
    pool.close()


def test_a_limit_of_address_space_is_per_order(decoders):
    tight = Limits(max_seconds=60.0, max_bytes=10_000_000, timeout_s=5.0, memory_bytes=64 << 20)
    with pytest.raises(BadAudio):
        decode(wav(speechlike(5.0)), tight, decoders)
