"""Thousands of broken recordings through the real decoder: none may hurt us, each gets a typed answer.

2,000 of them by default, as many as $MUTANTS says otherwise (`make fuzz`: 20,000). Run as a program it
prints what docs/fuzz.md holds.
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from recordings import encoded, speechlike, wav

from whisper_lambda.audio.decode import Limits, decode
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.errors import ClientError

LIMITS = Limits(max_seconds=30.0, max_bytes=10_000_000, timeout_s=5.0)
SEEDS = {  # container, codec, Hz
    "wav": ("wav", "pcm_s16le", 16_000),
    "wav adpcm": ("wav", "adpcm_ms", 16_000),
    "mp3": ("mp3", "mp3", 22_050),
    "flac": ("flac", "flac", 16_000),
    "ogg opus": ("ogg", "libopus", 48_000),
    "ogg flac": ("ogg", "flac", 16_000),
    "webm": ("webm", "libopus", 48_000),
    "mkv": ("matroska", "aac", 16_000),
    "m4a": ("ipod", "aac", 16_000),
    "m4a alac": ("ipod", "alac", 16_000),
    "mov": ("mov", "pcm_s16be", 16_000),
    "aac": ("adts", "aac", 16_000),
    "mpegts": ("mpegts", "aac", 16_000),
    "ac3": ("ac3", "ac3", 48_000),
    "aiff": ("aiff", "pcm_s16be", 16_000),
    "caf": ("caf", "pcm_s16le", 16_000),
    "wma": ("asf", "wmav2", 44_100),
    "avi": ("avi", "mp3", 22_050),
    "wv": ("wv", "wavpack", 16_000),
}


@dataclass
class Outcome:
    """What became of the mutants."""

    answers: Counter = field(default_factory=Counter)
    untyped: list = field(default_factory=list)
    slowest_s: float = 0.0
    deaths: list = field(default_factory=list)  # which mutants killed their decoder: (seed, number)
    took_s: float = 0.0


def mutant(content, random):
    """Return `content` broken in one to four places, early ones more often: headers are there."""
    broken = bytearray(content)
    for _ in range(random.integers(1, 5)):
        size = len(broken)
        at = int(size * random.random() ** random.choice([1, 3]))
        length = int(random.choice([1, 1, 2, 4, 8, 64, 512]))
        way = random.integers(7)
        if way == 0:
            broken[at : at + length] = random.bytes(length)
        elif way == 1:
            broken[at : at + 1] = bytes([broken[at] ^ 1 << int(random.integers(8))]) if at < size else b""
        elif way == 2:
            broken[at : at + 4] = random.choice(
                [b"\0\0\0\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80"]
            )
        elif way == 3:
            del broken[at : at + length]
        elif way == 4:
            broken[at:at] = broken[at : at + length] * int(random.integers(1, 20))
        elif way == 5:
            del broken[max(64, at) :]
        else:
            other = int(random.integers(max(1, size)))
            broken[at : at + length] = broken[other : other + length]
    return bytes(broken)


def fuzz(count, seed=2):
    """Decode `count` mutants, two at a time, and return what became of them."""
    rng = np.random.default_rng(7)
    sound = speechlike(1.5, 48_000)
    contents = {
        name: encoded(sound[:: 48_000 // rate][: round(rate * 0.7)], container, codec, rate=rate)
        for name, (container, codec, rate) in SEEDS.items()
    }
    contents["wav float stereo"] = wav(rng.uniform(-1, 1, (2, 8_000)), bits=32)
    names = sorted(contents)
    outcome = Outcome()
    decoders = DecoderPool(1)
    started = time.perf_counter()

    def one(number):
        random = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        began = time.perf_counter()
        told = ""
        try:
            decoded = decode(mutant(contents[name], random), LIMITS, decoders)
            answer = "decoded, with a warning" if decoded.warnings else "decoded"
        except ClientError as refusal:
            answer, told = type(refusal).__name__, str(refusal)
        except Exception as cause:  # noqa: BLE001 - what must not happen, counted
            answer, told = "untyped", repr(cause)
        return name, number, answer, told, time.perf_counter() - began

    with ThreadPoolExecutor(2) as threads:
        for name, number, answer, told, took_s in threads.map(one, range(count)):
            outcome.answers[answer] += 1
            outcome.slowest_s = max(outcome.slowest_s, took_s)
            if answer == "untyped":
                outcome.untyped.append((name, number, told))
            if "died" in told:
                outcome.deaths.append((name, number, told))
    decoders.close()
    outcome.took_s = time.perf_counter() - started
    return outcome


@pytest.mark.skipif(sys.platform != "linux", reason="counts on a limit of address space")
def test_fuzz_mutants_are_decoded_or_refused():
    count = int(os.environ.get("MUTANTS", "2000"))

    outcome = fuzz(count)

    assert outcome.untyped == []
    assert sum(outcome.answers.values()) == count
    assert outcome.slowest_s < 5 * LIMITS.timeout_s, "a decoder was waited for beyond its time"
    assert outcome.answers["decoded"] > count / 20, "the mutants are too broken to test anything"
    assert outcome.answers["BadAudio"] > count / 20, "the mutants are too whole to test anything"


if __name__ == "__main__":
    result = fuzz(int(os.environ.get("MUTANTS", "2000")))
    for what, times in result.answers.most_common():
        print(f"| {what} | {times:,} |")
    print(f"untyped {result.untyped}, slowest {result.slowest_s:.2f} s, {result.took_s:.0f} s in all")
    print(f"{len(result.deaths)} decoders died: {result.deaths[:20]}")
