"""The encoding process: float32 samples on standard input, an Ogg Opus file on standard output.

Run as a program (`python -I -S encoder_child.py <folder of av> <bits a second>`), never imported by
the package, like the decoder's. It reads no media: only samples that were decoded already.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # -S leaves site-packages off the path; at its end it can shadow nothing
    sys.path.append(sys.argv[1])

import av
import numpy as np

RATE = 16_000  # Hz, mono: what the other side will decode it to
BLOCK = RATE  # samples read at once


def main(bits_per_s: int) -> None:
    """Encode until the input ends."""
    av.logging.set_level(av.logging.PANIC)
    with av.open(sys.stdout.buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = bits_per_s
        # Speech, not music; the pages' clock runs in samples.
        stream.codec_context.options = {"application": "voip", "frame_duration": "60"}
        written = 0
        while block := sys.stdin.buffer.read(BLOCK * 4):
            samples = np.frombuffer(block[: len(block) // 4 * 4], np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, written
            written += samples.shape[1]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


if __name__ == "__main__":
    main(int(sys.argv[2]))
