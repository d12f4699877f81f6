"""The decoding process: an open file in, float32 blocks at the wanted rate out.

Run as a program (`python -I -S decoder_child.py <folder of av>`), never imported by the package; it
imports nothing of ours, so that starting it costs little more than `import av`.

The process started first reads no media. It waits on descriptor 0 for orders, and forks one child
for each, which decodes exactly one file and ends. The rule not to break: from the moment a child
looks at the file it can create no descriptor, so media reaches no other file and no network.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal, NoReturn

if __name__ == "__main__":  # -S leaves site-packages off the path; at its end it can shadow nothing
    sys.path.append(sys.argv[1])

import av
import av.error
import av.subtitles.stream  # av loads it with its first file, when nothing can be opened any more
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.stream import Discard

FRAME = struct.Struct("<cII")  # kind, then (channels, samples) of a block or (length, 0) of a text
READY, BLOCK, WARNING, FAILURE, END = b"R", b"B", b"W", b"F", b"E"

# Containers that carry what people record. None opens other files or addresses: no playlists, no
# concat, no SDP, no image sequences, no devices.
DEMUXERS = (
    "wav,w64,mp3,flac,ogg,mov,matroska,webm,aac,loas,ac3,eac3,dts,aiff,au,caf,asf,amr,gsm,g722,g729,"
    "ilbc,avi,flv,mpegts,mpeg,wv,ape,tta,voc,sln,dss,alaw,mulaw"
)
# Audio decoders only: probing a video would otherwise decode some of its pictures.
_KINDS = ("pcm_", "adpcm_", "wma", "amr", "g7", "mp1", "mp2", "mp3", "aac", "libopus", "libopencore_amr")
_SINGLE = (
    "ac3 eac3 dca flac alac vorbis libvorbis opus speex libspeex truehd gsm gsm_ms libgsm libgsm_ms "
    "ilbc libilbc ape tta wavpack dss_sp nellymoser"
)
DECODERS = frozenset(n for n in av.codecs_available if n.startswith(_KINDS)).union(_SINGLE.split())
# What these say of their length is stored or follows from their size; elsewhere FFmpeg guesses it.
STATES_LENGTH = {"wav", "w64", "flac", "ogg", "aiff", "caf", "au", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Bytes; a larger size in the header of a wav was written by a program that could not know it.
BELIEVABLE = 0x7FFF_FFFF
# FFmpeg's default of 32 taps lets 8.3 kHz through at -19 dB, mirrored to 7.7 kHz; 64 taps: -45 dB.
RESAMPLER = {"filter_size": "64"}
# A stream of noise can look like MP3 now and then; a recording with damage is still mostly sound.
DAMAGE_ALLOWED = 2 / 3
# Of a file, that buy a second of the processor: a film whose sound comes last is read to its end first.
BYTES_PER_CPU_S = 50_000_000


class Refused(Exception):
    """The file cannot be decoded; `code` says which kind of refusal it is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> NoReturn:
    """Serve orders until the other side of descriptor 0 is gone, then end every child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    av.logging.set_level(av.logging.PANIC)
    missing = _missing_limits()
    control = socket.socket(fileno=0)
    gc.freeze()
    running: set[int] = set()
    try:
        _text(control, READY, json.dumps({"missing": missing}))
        while True:
            message, passed, _, _ = socket.recv_fds(control, 65536, 2)
            if not message:
                break
            order = json.loads(message)
            answer = _end(order["end"], running) if "end" in order else _fork(order, passed, running)
            control.sendall(struct.pack("<q", answer))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _fork(order: dict[str, Any], passed: list[int], running: set[int]) -> int:
    """Start a decoder and return its pid, or -1: those already at work must not pay for this one."""
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        try:
            session, source = passed
            os.dup2(session, 0)
            os.close(session)
            decode_one(order, source, socket.socket(fileno=0))
        finally:
            os._exit(0)
    if pid > 0:
        running.add(pid)
    for descriptor in passed:
        os.close(descriptor)
    return pid


def _end(pid: int, running: set[int]) -> int:
    """Kill a child of ours and return its exit code, negative for a signal, as subprocess does."""
    running.remove(pid)  # a KeyError ends this process: the parent never names a pid we did not give it
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def decode_one(order: dict[str, Any], source: int, session: socket.socket) -> None:
    """Decode the file open at `source` and tell the session everything, failures included."""
    confine(order)
    _allow(order, source, 0)
    try:
        decode(order, source, session)
        _text(session, END, "")
    except Refused as refusal:
        _text(session, FAILURE, f"{refusal.code}\n{refusal}")
    except BrokenPipeError:
        return  # nobody listens any more
    except MemoryError:
        _text(session, FAILURE, "unreadable\ndecoding it needs too much memory")
    except Exception as cause:  # noqa: BLE001 - the one place where a library's error becomes an answer
        _text(session, FAILURE, f"unreadable\n{_words(cause)}")


def confine(order: dict[str, Any]) -> list[str]:
    """Give up memory, processor time and, above all, the right to any further descriptor.

    Returns the names of the limits this system will not set.
    """
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_AS": order["memory_bytes"],
        "RLIMIT_CPU": order["cpu_s"],
        # Those already open stay usable; open(), socket() and accept() fail from here on.
        "RLIMIT_NOFILE": 0,
    }
    missing = []
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            missing.append(name)
    return missing


def _allow(order: dict[str, Any], source: int, heard_s: int) -> None:
    """Keep processor time in step with the audio: tags and tables can cost the square of their number."""
    allowed = order["cpu_ahead_s"] + os.fstat(source).st_size // BYTES_PER_CPU_S + heard_s
    with contextlib.suppress(ValueError, OSError):  # `confine` was refused it, too
        resource.setrlimit(resource.RLIMIT_CPU, (min(allowed, order["cpu_s"]), order["cpu_s"]))


def _missing_limits() -> list[str]:
    """Try the limits in a process that ends with the try."""
    told, telling = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(telling, json.dumps(confine({"memory_bytes": 1 << 30, "cpu_s": 60})).encode())
        os._exit(0)
    os.close(telling)
    os.waitpid(pid, 0)
    with os.fdopen(told, "rb") as answer:
        missing: list[str] = json.load(answer)
    return missing


def decode(order: dict[str, Any], source: int, session: socket.socket) -> None:
    """Send the file's audio as blocks of one second, all channels, at `order["rate"]` Hz.

    Raises:
        Refused: no audio in it, or more than the order allows.
    """
    tally = {"good": 0, "bad": 0, "cut": int(_is_cut(source))}
    sent = 0
    with _opened(order, source) as container:
        stream = _audio_stream(container)
        count = _Count(order)
        if stream.codec_context.sample_rate:
            count.start(stream.codec_context.sample_rate, stream.codec_context.channels)
        declared = _declared_s(container, stream)
        _refuse_honestly_long(container.format.name, declared, order["max_seconds"])
        blocks = _resampled(_frames(container, stream, tally), count, order["rate"])
        for block in blocks:
            channels = block.layout.nb_channels
            session.sendall(FRAME.pack(BLOCK, channels, block.samples))
            for plane in block.planes[:channels]:  # of eight channels av counts more planes than there are
                session.sendall(memoryview(plane)[: block.samples * 4])  # a plane is padded at its end
            sent += block.samples
            _allow(order, source, sent // order["rate"])
        _judge(tally, count.seconds, declared, session)


def _is_cut(source: int) -> bool:
    """Tell a file that stores its own size and is shorter, or an Ogg stream without its last page."""
    size = os.fstat(source).st_size
    head = os.pread(source, 8, 0)
    if head[:4] == b"OggS":
        tail = os.pread(source, 1 << 16, max(0, size - (1 << 16)))  # a page is smaller than that
        last = tail.rfind(b"OggS")
        return not 0 <= last < len(tail) - 5 or not tail[last + 5] & 4
    orders: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"FORM": "big"}
    order = orders.get(head[:4])
    stored = int.from_bytes(head[4:], order) if order else 0
    return size < stored + len(head) < BELIEVABLE


def _opened(order: dict[str, Any], source: int) -> InputContainer:
    # A nameless reader: FFmpeg gets no path to resolve others against and no suffix to believe.
    options = {
        "format_whitelist": DEMUXERS,
        "codec_whitelist": ",".join(DECODERS),
        "protocol_whitelist": "none",
    }
    if order["format_hz"]:
        options["sample_rate"] = str(order["format_hz"])
    try:
        return av.open(
            _Nameless(source),
            "r",
            format=order["format"],
            options=options,
            metadata_errors="ignore",
            buffer_size=1 << 17,
            io_open=_no_other_file,
        )
    except (av.error.FFmpegError, ValueError, IndexError) as cause:
        raise Refused("unreadable", _words(cause)) from cause


class _Nameless:
    """A descriptor to read and seek, without anything that looks like a name."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seek(0)

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


def _no_other_file(_url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise Refused("unreadable", "it refers to other files or addresses, which are never opened")


def _audio_stream(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise Refused("no_audio_stream", f"a {container.format.long_name} file without any audio stream")
    decodable = [s for s in container.streams.audio if _known(s)]
    if not decodable:
        raise Refused("unreadable", "its audio is in a coding this decoder does not accept")
    best = container.streams.best("audio")  # the one marked default, as players choose
    chosen = next((s for s in decodable if best and s.index == best.index), decodable[0])
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1
    return chosen


def _known(stream: AudioStream) -> bool:
    context = stream.codec_context
    return context is not None and context.codec.name in DECODERS


def _declared_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Return the length the file claims for its audio, where that claim is about the audio alone."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def _refuse_honestly_long(kind: str, declared: float | None, limit: float | None) -> None:
    """Spare an honest file the decoding up to the limit. A file that claims less is counted anyway."""
    if limit is not None and declared and kind in STATES_LENGTH and declared > limit * 1.1 + 1:
        raise Refused("too_long", "")


def _frames(container: InputContainer, stream: AudioStream, tally: dict[str, int]) -> Iterator[AudioFrame]:
    """Yield decoded frames, stepping over damaged packets and ending where reading fails."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            tally["cut"] += 1
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            tally["bad"] += 1
            continue
        tally["good"] += 1
        yield from frames


class _Count:
    """Exact length of what has been decoded, against the order's limit."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._rate = 1  # Hz of the stretch under way; a stream may change it
        self._samples = 0  # of that stretch
        self._allowed: float = 0
        self._before = Fraction(0)  # seconds of the stretches before it

    @property
    def seconds(self) -> Fraction:
        return self._before + Fraction(self._samples, self._rate)

    def start(self, rate: int, channels: int) -> None:
        """Begin a stretch of another shape.

        Raises:
            Refused: the shape is outside the order's limits.
        """
        low, high, most = self._order["min_hz"], self._order["max_hz"], self._order["max_channels"]
        if not low <= rate <= high:
            raise Refused("unreadable", f"its sample rate is {rate} Hz; {low} to {high} Hz are accepted")
        if not 1 <= channels <= most:
            raise Refused("unreadable", f"it has {channels} channels; up to {most} are accepted")
        self._before, self._rate, self._samples = self.seconds, rate, 0
        limit = self._order["max_seconds"]
        self._allowed = float("inf") if limit is None else int((Fraction(limit) - self._before) * rate)

    def add(self, samples: int) -> None:
        """Count samples of the stretch under way.

        Raises:
            Refused: with them there is too much.
        """
        self._samples += samples
        if self._samples > self._allowed:
            raise Refused("too_long", "")


def _resampled(frames: Iterator[AudioFrame], count: _Count, rate: int) -> Iterator[AudioFrame]:
    resampler: AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    for frame in frames:
        if resampler is None or shape != (frame.format.name, frame.layout.name, frame.sample_rate):
            if resampler:
                yield from resampler.resample(None)
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            count.start(frame.sample_rate, frame.layout.nb_channels)
            resampler = AudioResampler(format="fltp", rate=rate, frame_size=rate, options=RESAMPLER)
        count.add(frame.samples)
        frame.pts = None  # damaged times must not move samples
        yield from resampler.resample(frame)
    if resampler:
        yield from resampler.resample(None)


def _judge(tally: dict[str, int], heard: Fraction, declared: float | None, session: socket.socket) -> None:
    """Say what was wrong with the file, as a warning where it gave something, else as a refusal."""
    packets = tally["good"] + tally["bad"]
    if not heard and not tally["bad"]:
        raise Refused("empty", "the file holds no audio, only headers")
    if not heard or tally["bad"] > packets * DAMAGE_ALLOWED:
        raise Refused("unreadable", "almost nothing in it could be decoded; the file is damaged")
    if tally["bad"]:
        _text(session, WARNING, f"the file is damaged: {tally['bad']} of {packets} packets were left out")
    if tally["cut"] or (declared and declared - float(heard) > max(0.5, declared * 0.01)):
        _text(session, WARNING, f"the file ends early: {float(heard):.1f} s could be decoded")


def _words(cause: BaseException) -> str:
    """Return a library error's own words; a detail for the message, never the whole of it."""
    if "not on whitelist" in str(cause):
        return "this kind of file is not accepted"
    last_log = getattr(cause, "log", None)
    return last_log[2].strip()[:200] if last_log else getattr(cause, "strerror", None) or type(cause).__name__


def _text(peer: socket.socket, kind: bytes, text: str) -> None:
    encoded = text.encode()
    with contextlib.suppress(BrokenPipeError):
        peer.sendall(FRAME.pack(kind, len(encoded), 0) + encoded)


if __name__ == "__main__":
    main()
