"""Options and a recording in, what is to be said to the server about them out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Unpack, get_args
from urllib.parse import urlsplit

from whisper_lambda.api import OptionKeywords, options_from
from whisper_lambda.client.replies import parsed, transcript
from whisper_lambda.client.sending import transcribed
from whisper_lambda.client.steps import Content, Conversation, Tell
from whisper_lambda.client.wanted import Compress, Wanted, Written, quiet
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import BadOption
from whisper_lambda.transcript.formats import Layout
from whisper_lambda.types import Options, Transcript

Recording = str | os.PathLike[str] | bytes
_SPELLED = {"hotwords": ("hotwords", ","), "languages": ("languages[]", "")}  # name on the wire, separator


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is wanted of a recording, beside `Options`."""

    formats: Sequence[str] = ("verbose_json",)
    model: str | None = None
    layout: Layout | None = None
    budget_usd: float | None = None
    max_latency_s: float | None = None
    tell: Tell = quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a server is and how it is talked to."""

    url: str
    key: str | None
    compress: Compress
    kbit_per_s: float
    attempts: int

    def talk(
        self, recording: Recording, asking: Asking, **options: Unpack[OptionKeywords]
    ) -> Conversation[Written]:
        """Return the conversation that gets the recording transcribed; it begins when it is carried.

        Raises:
            OSError: the file cannot be read.
            BadOption: an option is wrong (UnknownLanguage: there is no such language).
        """
        if isinstance(asking.formats, str) or not asking.formats:
            raise BadOption("formats is a list of names, one at least, such as ['srt', 'vtt']")
        checked = options_from(**options)
        bounds = asdict(Bounds(budget_usd=asking.budget_usd, max_latency_s=asking.max_latency_s))
        wanted = Wanted(
            url=self.url,
            fields=[
                *form(checked, asking.model, asking.layout),
                *((name, repr(float(value))) for name, value in bounds.items() if value is not None),
            ],
            formats=asking.formats,
            route="translations" if checked.task == "translate" else "transcriptions",
            compress=self.compress,
            kbit_per_s=self.kbit_per_s,
            attempts=self.attempts,
            tell=asking.tell,
        )
        return transcribed(wanted, content(recording))


def connection(url: str, key: str | None, compress: Compress, kbit_per_s: float, attempts: int) -> Connection:
    """Return where the server is.

    Raises:
        BadOption: no server can be at that address, or another argument makes no sense.
    """
    try:
        parts = urlsplit(url)
    except ValueError as cause:
        raise BadOption(f"a server's address is http://... or https://..., not {url!r}: {cause}") from cause
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise BadOption(f"a server's address is http://... or https://..., not {url!r}")
    if attempts < 1:
        raise BadOption(f"attempts is 1 or more, not {attempts}")
    if compress not in get_args(Compress):
        raise BadOption(f"compress is one of {', '.join(get_args(Compress))}, not {compress!r}")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise BadOption("an API key has no spaces, line ends or letters beyond ASCII: was it copied whole?")
    plain = url.rstrip("/").removesuffix("/v1")  # OpenAI's base_url ends in it
    return Connection(url=plain, key=key, compress=compress, kbit_per_s=kbit_per_s, attempts=attempts)


def form(options: Options, model: str | None, layout: Layout | None = None) -> list[tuple[str, str]]:
    """Return the form fields that say what the options say; what is at its default is not sent.

    So a server that knows OpenAI's fields alone understands every request that uses no more.
    """
    sent = [("model", model or "whisper-1")]
    for each in fields(Options):
        value = getattr(options, each.name)
        if value == each.default or each.name in ("task", "times"):
            continue
        name, separator = _SPELLED.get(each.name, (each.name, ""))
        if isinstance(value, tuple):
            sent += [(name, separator.join(value))] if separator else [(name, v) for v in value]
        else:
            sent.append((name, _text(value)))
    if options.times == "word":
        sent += [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    for each in fields(Layout):
        value = getattr(layout or Layout(), each.name)
        if value != each.default:
            sent.append((each.name, _text(value)))
    return sent


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def content(recording: Recording) -> Content:
    """Return the recording as something to send.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    if isinstance(recording, bytes):
        return Content(recording, len(recording))
    path = Path(recording)
    size_bytes = path.stat().st_size
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; send its files one by one")
    return Content(path, size_bytes, filename=path.name)


def heard(written: Written) -> Transcript:
    """Return the transcript out of what the server wrote."""
    return transcript(parsed(written.bodies["verbose_json"]))


def texts(written: Written) -> dict[str, str]:
    """Return what the server wrote, format by format."""
    return {name: reply.body.decode("utf-8", "replace") for name, reply in written.bodies.items()}
