"""The decoding process, except that some files kill it. Started by tests in place of the real one."""

import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "src" / "whisper_lambda" / "audio"))
sys.path.append(sys.argv[1])

import decoder_child


def _spin(source, session):
    while True:
        pass


def _allocate(source, session):
    bytearray(4 << 30)


def _crash(source, session):
    os.kill(os.getpid(), signal.SIGSEGV)


def _leave(source, session):
    os._exit(3)


def _babble(source, session):
    session.sendall(b"B" + b"\xff" * 4096)


def _announce_a_gigabyte(source, session):
    session.sendall(decoder_child.FRAME.pack(decoder_child.FAILURE, 1 << 30, 0))
    os._exit(0)


def _send_more_than_it_may(source, session):
    second = decoder_child.FRAME.pack(decoder_child.BLOCK, 1, 16_000) + bytes(64_000)
    while True:
        session.sendall(second)


def _work_for_it(source, session):
    """Take 0.6 s of the processor before each of three seconds of sound, and keep to the rules."""
    order = {"cpu_ahead_s": 1, "cpu_s": resource.getrlimit(resource.RLIMIT_CPU)[1]}
    for heard_s in range(1, 4):
        until = time.process_time() + 0.6
        while time.process_time() < until:
            pass
        session.sendall(decoder_child.FRAME.pack(decoder_child.BLOCK, 1, 16_000) + bytes(64_000))
        decoder_child._allow(order, source, heard_s)
    decoder_child._text(session, decoder_child.END, "")
    os._exit(0)


def _warn_without_end(source, session):
    while True:
        decoder_child._text(session, decoder_child.WARNING, "x" * 4096)


def _say_terminal_codes(source, session):
    raise decoder_child.Refused("unreadable", "\x1b[2J\x07 gone")


def _open_a_file(source, session):
    os.open("/etc/hostname", os.O_RDONLY)


def _open_a_socket(source, session):
    socket.socket()


WAYS = {
    b"spin": _spin,
    b"allocate": _allocate,
    b"crash": _crash,
    b"leave": _leave,
    b"babble": _babble,
    b"announce a gigabyte": _announce_a_gigabyte,
    b"send more than it may": _send_more_than_it_may,
    b"work for it": _work_for_it,
    b"warn without end": _warn_without_end,
    b"say terminal codes": _say_terminal_codes,
    b"open a file": _open_a_file,
    b"open a socket": _open_a_socket,
}
decode = decoder_child.decode


def decode_or_die(order, source, session):
    way = WAYS.get(os.pread(source, 64, 0).rstrip(b"\0"))
    if way:
        way(source, session)
    decode(order, source, session)


decoder_child.decode = decode_or_die
if __name__ == "__main__":
    decoder_child.main()
