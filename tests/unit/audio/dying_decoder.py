"""The decoding process, except that some files kill it. Started by tests in place of the real one."""

import os
import signal
import socket
import sys
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
