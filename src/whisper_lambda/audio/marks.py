"""The first bytes of a file and its name in; what kind of file it is, for people and for FFmpeg, out."""

from __future__ import annotations

from pathlib import Path

from whisper_lambda.errors import BadAudio, EmptyAudio, NoAudioStream

_GSM_FRAME, _GSM_NIBBLE = 33, 0xD  # bytes; what the first of them begins with
HEAD_BYTES = 8 * _GSM_FRAME  # of a file, for the functions here; noise is not GSM eight times over

# FFmpeg cannot tell these apart from noise, so the name decides; only among these, and only where
# the content is not plainly something else.
_HEADERLESS = {
    ".g722": ("g722", None),
    ".gsm": ("gsm", None),
    ".sln": ("sln", None),
    ".al": ("alaw", 8_000),
    ".alaw": ("alaw", 8_000),
    ".ul": ("mulaw", 8_000),
    ".ulaw": ("mulaw", 8_000),
}  # suffix: FFmpeg's demuxer, and Hz where it asks
_PICTURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
}
_MARKS = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or office document",
    b"\x1f\x8b": "a gzip archive",
    b"RIFF": "a RIFF file",
    b"RF64": "a RIFF file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"ID3": "an MP3 file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"caff": "a CAF file",
    b"#!AMR": "an AMR file",
    b"0&\xb2u": "a Windows Media file",
}


def headerless(head: bytes, name: str) -> tuple[str | None, int | None]:
    """Return FFmpeg's demuxer, and Hz where it asks, for a file only its name can tell; else (None, None)."""
    if _mark(head, _MARKS) or _mark(head, _PICTURES) or head[4:8] == b"ftyp":
        return None, None
    kind = _HEADERLESS.get(Path(str(name)).suffix.lower(), (None, None))
    if kind[0] == "gsm" and any(byte >> 4 != _GSM_NIBBLE for byte in head[::_GSM_FRAME]):
        return None, None
    return kind


def _mark(head: bytes, marks: dict[bytes, str]) -> str | None:
    return next((what for mark, what in marks.items() if head.startswith(mark)), None)


def explained(refusal: BadAudio, head: bytes) -> BadAudio:
    """Return the refusal with what the file is and what to do, as far as its first bytes tell."""
    if type(refusal) is not BadAudio:
        return refusal
    if picture := _mark(head, _PICTURES):
        return NoAudioStream(f"the file is {picture}; it has no audio")
    if head[:4] == b"RIFF" and "no 'data' tag" in str(refusal):
        return EmptyAudio("the wav file ends before its audio begins; record or send it again")
    if head[4:8] == b"ftyp" and "moov" in str(refusal):
        return BadAudio(
            "the mp4/m4a file was cut short: its index (moov) comes last and is missing; send it again whole"
        )
    if _is_text(head):
        return BadAudio("the file is text, not audio (a playlist is not followed); send wav, mp3, m4a or ogg")
    what = _mark(head, _MARKS) or "no file we know"
    return BadAudio(
        f"cannot decode the file as audio ({refusal}). It looks like {what}; send wav, mp3, m4a or ogg"
    )


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)  # noqa: PLR2004 - printable ASCII
