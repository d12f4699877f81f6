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
from contextlib import contextmanager
from typing import Any

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
    found: dict[int, list[float]] = {}
    with _restored(aws, function) as made:
        for size in sizes_mb:
            alias = _published(aws, function, size, made)
            _billed_s(aws, function, alias, payload)  # the cold one
            found[size] = [_billed_s(aws, function, alias, payload) for _ in range(runs)]
            say(f"{function}, {size} MB: {sum(found[size]) / runs:.3f} s")
    return found


@contextmanager
def _restored(aws: Any, function: str) -> Iterator[list[tuple[str, str]]]:  # noqa: ANN401
    """Hold the list of (alias, version) made; remove them and put the memory back in the end."""
    try:
        before = aws.get_function_configuration(FunctionName=function)["MemorySize"]
    except aws.exceptions.ResourceNotFoundException as cause:
        raise BadOption(f"there is no Lambda function {function!r} in this account and region") from cause
    made: list[tuple[str, str]] = []
    try:
        yield made
    finally:
        for alias, version in made:
            with contextlib.suppress(aws.exceptions.ResourceNotFoundException):
                aws.delete_alias(FunctionName=function, Name=alias)
            with contextlib.suppress(aws.exceptions.ResourceNotFoundException):
                aws.delete_function(FunctionName=function, Qualifier=version)
        aws.update_function_configuration(FunctionName=function, MemorySize=before)


def _published(aws: Any, function: str, size_mb: int, made: list[tuple[str, str]]) -> str:  # noqa: ANN401
    aws.update_function_configuration(FunctionName=function, MemorySize=size_mb)
    aws.get_waiter("function_updated_v2").wait(FunctionName=function)
    version = aws.publish_version(FunctionName=function, Description=f"tune {size_mb} MB")["Version"]
    alias = f"whisper-lambda-tune-{size_mb}"
    made.append((alias, version))
    with contextlib.suppress(aws.exceptions.ResourceNotFoundException):
        aws.delete_alias(FunctionName=function, Name=alias)  # left by a run that was killed
    aws.create_alias(FunctionName=function, Name=alias, FunctionVersion=version)
    aws.get_waiter("function_active_v2").wait(FunctionName=function, Qualifier=version)
    return alias


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
