"""A recording and a wish in; the conversation that gets it transcribed out.

Up to a few megabytes go in one direct request. What is larger, or refused as too large or too long,
is compressed where that can help, and goes up under a ticket for a job that is then watched. A
server without uploads (OpenAI's) gets everything directly. A server that would run out of time over a
direct request may make a job of it by itself.
"""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from whisper_lambda.audio import encode
from whisper_lambda.audio.decode import Limits, decode_blocks
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.client.replies import failure, param_at_fault
from whisper_lambda.client.steps import Call, Content, Conversation, Progress, Reply, Work
from whisper_lambda.client.trying import retried
from whisper_lambda.client.uploading import by_job, of_job
from whisper_lambda.client.wanted import Wanted, Written
from whisper_lambda.errors import BadOption
from whisper_lambda.types import SAMPLE_RATE, Samples

WORTH_ENCODING_BYTES = 1_000_000  # below this the network is quicker than an encoder starts
LONGEST_S = 24 * 3600.0
DECODE_TIMEOUT_S = 3600.0
_OK, _ACCEPTED, _TOO_LARGE = 200, 202, 413
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def transcribed(wanted: Wanted, content: Content) -> Conversation[Written]:
    """Get the recording transcribed, by the way that suits its size.

    Raises:
        WhisperLambdaError: what the server said, ServerUnreachable, RemoteFailed, or what is wrong
            with the recording (only where it had to be encoded).
    """
    with ExitStack() as held:
        key = uuid.uuid4().hex
        sent = content
        if _worth_encoding(wanted, content):
            sent = yield from _encoded(wanted, content, held)
        if wanted.way == "job" or (wanted.way == "auto" and sent.size_bytes > wanted.direct_bytes):
            written = yield from by_job(wanted, sent, key)
            if written is None and wanted.way == "job":
                raise BadOption("this server takes no jobs; let the way be chosen (auto), or send directly")
        else:
            written = None
        if written is None:
            written, sent = yield from _directly_if_it_goes(wanted, sent, key, held)
        return replace(written, encoded=sent is not content)


def _directly_if_it_goes(
    wanted: Wanted, content: Content, key: str, held: ExitStack
) -> Conversation[tuple[Written, Content]]:
    """Send in one request; what is too large or too long for that is compressed and becomes a job."""
    replies = yield from _directly(wanted, content, key)
    first = replies[wanted.formats[0]]
    if first.status == _ACCEPTED:
        return (yield from of_job(wanted, first, content)), content
    if first.status == _TOO_LARGE and wanted.way == "auto":
        if wanted.compress != "never" and not _is_compressed(content):
            content = yield from _encoded(wanted, content, held)
        written = yield from by_job(wanted, content, key)
        if written:
            return written, content
    for reply in replies.values():
        if reply.status != _OK:
            raise failure(reply)
    return Written(replies, "direct", content.size_bytes), content


def _worth_encoding(wanted: Wanted, content: Content) -> bool:
    if wanted.compress != "auto":
        return wanted.compress == "always"
    near = urlsplit(wanted.url).hostname in _LOOPBACK
    least = wanted.direct_bytes if near else min(WORTH_ENCODING_BYTES, wanted.direct_bytes)
    return content.size_bytes > least and not _is_compressed(content)


def _is_compressed(content: Content) -> bool:
    if isinstance(content.source, bytes):
        return encode.compressed(content.source[:16])
    with content.source.open("rb") as file:
        return encode.compressed(file.read(16))


def _encoded(wanted: Wanted, content: Content, held: ExitStack) -> Conversation[Content]:
    """Decode the recording here and encode it to Opus, in a file that goes with `held`."""
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="whisper-lambda-")))
    path = folder / f"recording{encode.SUFFIX}"
    given_up = threading.Event()

    def run() -> int:
        limits = Limits(max_seconds=LONGEST_S, max_bytes=1 << 40, timeout_s=DECODE_TIMEOUT_S)
        with closing(DecoderPool(1)) as decoders, path.open("wb") as out:
            done_s = 0.0

            def counted() -> Iterator[Samples]:
                nonlocal done_s
                for block in decode_blocks(content.source, limits, decoders, name=content.filename):
                    if given_up.is_set():
                        raise InterruptedError("the encoding was given up")
                    done_s += len(block) / SAMPLE_RATE
                    wanted.tell(Progress("encoding", done_s, 0.0))
                    yield block

            return encode.opus(counted(), out, kbit_per_s=wanted.kbit_per_s)

    size_bytes = yield Work(run, given_up.set)
    return Content(path, size_bytes, encode.MEDIA_TYPE, path.name)


def _directly(wanted: Wanted, content: Content, key: str) -> Conversation[dict[str, Reply]]:
    """Send everything in one request; several formats take one each, and only the first is work.

    All bear one key: what our server hears alike (of the same times) it takes off the key's day once.
    """
    replies: dict[str, Reply] = {}
    for wished in wanted.formats:
        reply = yield from retried(wanted, _direct_call(wanted, content, wished, key))
        if reply.status == 400 and param_at_fault(reply) == "response_format" and wished == "verbose_json":  # noqa: PLR2004
            reply = yield from retried(
                wanted, _direct_call(wanted, content, "json", key)
            )  # not every model has it
        replies[wished] = reply
        if reply.status != 200:  # noqa: PLR2004
            return dict.fromkeys(wanted.formats, reply)
    return replies


def _direct_call(wanted: Wanted, content: Content, wished: str, key: str) -> Call:
    may_wait = {"Prefer": "respond-async"} if wanted.way == "auto" else {}  # a job, where the time is short
    fields = [f for f in wanted.fields if wished == "verbose_json" or f[0] != "timestamp_granularities[]"]
    return Call(
        method="POST",
        url=f"{wanted.url}/v1/audio/{wanted.route}",
        headers={"Idempotency-Key": key, **may_wait},
        form=[*fields, ("response_format", wished)],
        recording=content,
    )
