"""Samples in, an Ogg Opus file out: what a client sends instead of a recording that is large.

The encoding happens in a process of its own (encoder_child.py), as decoding does: av and its hundred
megabytes of libraries are loaded into no process that holds a model.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from whisper_lambda.audio.sandbox import folder_of_av
from whisper_lambda.errors import BadOption, DecoderFailed
from whisper_lambda.types import Samples

PROGRAM = Path(__file__).with_name("encoder_child.py")
KBIT_PER_S = 24.0  # what speech needs; what less and more cost in words is in docs/compression.md
KBIT_PER_S_LIMITS = (6.0, 256.0)  # libopus, mono
MEDIA_TYPE = "audio/ogg"
SUFFIX = ".opus"
# How files begin that are compressed already: encoding them again would cost words and save little.
_COMPRESSED = (
    *(b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"#!AMR"),
    *(b"\xff\xf1", b"\xff\xf9", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),  # AAC and MP3 without a tag
)
_CONTAINERS = (b"ftyp",)  # MP4 and its kin, after four bytes of size


def opus(
    blocks: Iterable[Samples], out: BinaryIO, *, kbit_per_s: float = KBIT_PER_S, program: Path = PROGRAM
) -> int:
    """Write the samples to `out` as Ogg Opus, mono, 16 kHz; return how many bytes that took.

    Memory does not grow with the recording: blocks are encoded as they come.

    Args:
        blocks: float32 (n,), mono, 16 kHz, in order.
        out: receives the file, from where it stands.
        kbit_per_s: of the answer, about.
        program: what encodes; another one is for tests of dying encoders.

    Raises:
        BadOption: libopus has no such bitrate.
        DecoderFailed: the encoder cannot be started, or ended without being done.
    """
    low, high = KBIT_PER_S_LIMITS
    if not low <= kbit_per_s <= high:
        raise BadOption(f"Opus is encoded at {low:g} to {high:g} kbit/s, not {kbit_per_s:g}")
    command = [sys.executable, "-I", "-S", str(program), folder_of_av(), str(round(kbit_per_s * 1000))]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LD_LIBRARY_PATH": str(Path(sys.base_prefix, "lib"))},
            process_group=0,  # the terminal's Ctrl-C comes to us alone
        )
    except OSError as cause:
        raise DecoderFailed(f"the audio encoder cannot be started: {cause}") from cause
    return _fed(child, blocks, out)


def _fed(child: subprocess.Popen[bytes], blocks: Iterable[Samples], out: BinaryIO) -> int:
    """Write the child's input here and take its output on a thread, so that neither waits for ever."""
    assert child.stdin is not None
    size = 0

    def take() -> None:
        nonlocal size
        assert child.stdout is not None
        while piece := child.stdout.read(1 << 16):
            out.write(piece)
            size += len(piece)

    reader = threading.Thread(target=take, name="opus", daemon=True)
    reader.start()
    try:
        for block in blocks:
            child.stdin.write(np.ascontiguousarray(block, np.float32).data)
        child.stdin.close()
        reader.join()
        if child.wait() or not size:
            raise DecoderFailed(f"the audio encoder ended with exit code {child.returncode}")
    except BrokenPipeError as cause:
        raise DecoderFailed("the audio encoder ended before it was done") from cause
    finally:
        child.kill()
        child.wait()
        reader.join()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                _closed(pipe)
    return size


def _closed(pipe: object) -> None:
    try:
        pipe.close()  # type: ignore[attr-defined]  # typeshed has it as IO[bytes] | None
    except BrokenPipeError:
        return


def compressed(head: bytes) -> bool:
    """Tell by its first bytes whether a file is compressed with loss already (mp3, m4a, ogg, webm, amr).

    FLAC is not: Opus makes a tenth of it.
    """
    return head.startswith(_COMPRESSED) or head[4:8] in _CONTAINERS
