"""A Lambda function's name in; what runs at each memory size were billed out, by versions and aliases.

For each size: set the memory, wait, publish a version, put an alias on it, invoke, read the billed
duration from the end of the log. Whatever happens, the aliases and versions go and the memory is what
it was.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from whisper_lambda.adapters.boto import Client
from whisper_lambda.errors import BadOption, RemoteFailed
from whisper_lambda.tools.extras import needed

_TEXT = re.compile(r"Billed Duration: (\d+(?:\.\d+)?) ms")


def sweep(
    function: str,
    sizes_mb: Sequence[int],
    payload: bytes,
    *,
    runs: int = 5,
    say: Callable[[str], None] = lambda line: None,
    client: Any = None,  # noqa: ANN401 - boto3's clients have no type
) -> dict[int, list[float]]:
    """Return the billed seconds of `runs` invocations at each size; each size is first invoked once.

    Args:
        function: name or ARN.
        sizes_mb: memory sizes.
        payload: event of each invocation, JSON.
        runs: invocations that count.
        say: told how it goes.
        client: boto3's `lambda` client; None = made from the environment's credentials.

    Raises:
        BadOption: there is no such function.
        RemoteFailed: an invocation failed; its error is told.
        ModuleNotFoundError: boto3 is not installed (extra `aws`).
    """
    aws = client or needed("boto3", extra="aws").client("lambda")
    caller = client or Client("lambda", once=True)()
    found: dict[int, list[float]] = {}
    with _restored(aws, function) as left:
        theirs = _versions(aws, function)
        for size in sizes_mb:
            alias = _published(aws, function, size, left, theirs)
            _billed_s(caller, function, alias, payload)  # the cold one
            found[size] = [_billed_s(caller, function, alias, payload) for _ in range(runs)]
            say(f"{function}, {size} MB: {sum(found[size]) / runs:.3f} s")
    return found


@contextmanager
def _restored(aws: Any, function: str) -> Iterator[ExitStack]:  # noqa: ANN401
    """Hold what is removed in the end, each even where another cannot be; then the memory goes back."""
    try:
        before = aws.get_function_configuration(FunctionName=function)["MemorySize"]
    except aws.exceptions.ResourceNotFoundException as cause:
        raise BadOption(f"there is no Lambda function {function!r} in this account and region") from cause
    with ExitStack() as left:
        left.callback(_set_memory, aws, function, before)
        yield left


def _versions(aws: Any, function: str) -> frozenset[str]:  # noqa: ANN401
    pages = aws.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    return frozenset(each["Version"] for page in pages for each in page["Versions"])


def _set_memory(aws: Any, function: str, size_mb: int) -> None:  # noqa: ANN401
    """Set the memory once an earlier change is through: AWS refuses to change a function that is changing."""
    aws.get_waiter("function_updated_v2").wait(FunctionName=function)
    aws.update_function_configuration(FunctionName=function, MemorySize=size_mb)


def _published(
    aws: Any,  # noqa: ANN401
    function: str,
    size_mb: int,
    left: ExitStack,
    theirs: frozenset[str],
) -> str:
    """Return an alias on a version of this size; both are removed in the end, unless it was there before."""
    _set_memory(aws, function, size_mb)
    aws.get_waiter("function_updated_v2").wait(FunctionName=function)
    version = aws.publish_version(FunctionName=function, Description=f"tune {size_mb} MB")["Version"]
    if version not in theirs:  # AWS gives the last one again where nothing has changed since
        left.callback(_gone, aws, aws.delete_function, FunctionName=function, Qualifier=version)
    alias = f"whisper-lambda-tune-{size_mb}"
    _gone(aws, aws.delete_alias, FunctionName=function, Name=alias)  # left by a run that was killed
    left.callback(_gone, aws, aws.delete_alias, FunctionName=function, Name=alias)
    aws.create_alias(FunctionName=function, Name=alias, FunctionVersion=version)
    aws.get_waiter("function_active_v2").wait(FunctionName=function, Qualifier=version)
    return alias


def _gone(aws: Any, remove: Callable[..., object], **what: str) -> None:  # noqa: ANN401
    with contextlib.suppress(aws.exceptions.ResourceNotFoundException):
        remove(**what)


def _billed_s(aws: Any, function: str, alias: str, payload: bytes) -> float:  # noqa: ANN401
    answer = aws.invoke(FunctionName=function, Qualifier=alias, Payload=payload, LogType="Tail")
    if answer.get("FunctionError"):
        raise RemoteFailed(f"{function} failed: {answer['Payload'].read()[:300].decode(errors='replace')}")
    return billed_s(base64.b64decode(answer.get("LogResult", "")).decode(errors="replace"))


def billed_s(log: str) -> float:
    """Return the billed duration a log tail reports, in text or as JSON.

    Raises:
        RemoteFailed: it reports none.
    """
    if match := _TEXT.search(log):
        return float(match[1]) / 1000
    for line in log.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(line)
            if told["type"] == "platform.report":
                return float(told["record"]["metrics"]["billedDurationMs"]) / 1000
    raise RemoteFailed("the function's log reports no billed duration")
