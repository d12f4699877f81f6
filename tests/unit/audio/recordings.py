"""Recordings the tests make themselves: signals, and media files of every kind around them."""

import io

import av
import numpy as np


def tone(seconds=2.0, rate=16_000, hz=440.0, amplitude=0.5):
    """A sine, float32 (n,)."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def speechlike(seconds=4.0, rate=16_000, seed=0):
    """Noise with the rise and fall of syllables, float32 (n,): no two seconds are alike."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return np.clip(0.1 * noise * (1.2 + np.sin(2 * np.pi * 3 * t)), -1, 1).astype(np.float32)


def encoded(samples, container, codec, *, rate=16_000, layout="mono", video=False, options=None):
    """Return `samples`, (n,) or (channels, n), as the bytes of a media file."""
    planes = np.atleast_2d(samples)
    written = io.BytesIO()
    with av.open(written, "w", format=container, options=options or {}) as output:
        picture = _picture_stream(output) if video else None
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        wanted = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=wanted, layout=layout, rate=rate)
        if picture:
            output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        for start in range(0, planes.shape[1], 65_536):
            piece = np.ascontiguousarray(planes[:, start : start + 65_536])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            for converted in resampler.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
        if picture:
            output.mux(picture.encode(None))
    return written.getvalue()


def _picture_stream(output):
    picture = output.add_stream("mpeg4", rate=25)
    picture.width = picture.height = 64
    picture.pix_fmt = "yuv420p"
    return picture


def silent_video(container="mp4"):
    """A video of one picture and no audio."""
    written = io.BytesIO()
    with av.open(written, "w", format=container) as output:
        picture = _picture_stream(output)
        output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        output.mux(picture.encode(None))
    return written.getvalue()


def wav(samples, rate=16_000, *, bits=16):
    """A plain PCM wav, (n,) or (channels, n) in [-1, 1]; exact, since no encoder stands between."""
    planes = np.atleast_2d(samples)
    if bits == 32:
        body = np.ascontiguousarray(planes.T.astype("<f4")).tobytes()
    else:
        body = np.ascontiguousarray((planes.T * 32767).astype("<i2")).tobytes()
    channels, width = planes.shape[0], bits // 8
    kind = 3 if bits == 32 else 1
    header = b"".join(
        number.to_bytes(size, "little")
        for number, size in (
            (kind, 2),
            (channels, 2),
            (rate, 4),
            (rate * channels * width, 4),
            (channels * width, 2),
            (bits, 2),
        )
    )
    chunks = b"fmt " + len(header).to_bytes(4, "little") + header
    chunks += b"data" + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks


def rms(samples):
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def loudest_hz(samples, rate=16_000):
    """Frequency of the strongest component."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


# For programs tests start: ru_maxrss would begin with the peak of the process that started them.
PEAK_KB = """
def peak_kb():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0])
"""
