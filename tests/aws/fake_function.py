"""A Lambda function whose application does what its path says: for tests of what runs functions."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from environments import environment  # noqa: E402 - found beside this file

from whisper_lambda.aws.runtime import run  # noqa: E402
from whisper_lambda.aws.runtime_api import RuntimeApi  # noqa: E402
from whisper_lambda.config import Platform, Settings  # noqa: E402

TICKS = 0
HELD: list[bytes] = []


def tick() -> None:
    global TICKS  # noqa: PLW0603 - this is the whole point
    while True:
        TICKS += 1
        time.sleep(0.01)


HEADERS = [(b"content-type", b"application/json"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
Query = dict[str, str]


async def look(scope, query: Query, body: bytes) -> object:
    named = {k.decode(): v.decode() for k, v in scope["headers"]}
    return {"pid": os.getpid(), "ticks": TICKS, "size": len(body), "headers": named, **query}


async def sleep(_, query: Query, __: bytes) -> object:
    if "mark" in query:
        Path(query["mark"]).write_text("begun")
    await asyncio.sleep(float(query["s"]))
    return {"pid": os.getpid()}


async def tire(_, query: Query, __: bytes) -> object:
    """Wait until the clock has ticked so often."""
    until = TICKS + int(query["ticks"])
    while until > TICKS:
        await asyncio.sleep(0.01)
    return {"ticks": TICKS}


async def block(_, query: Query, __: bytes) -> object:
    time.sleep(float(query["s"]))
    return {}


async def eat(_, query: Query, __: bytes) -> object:
    HELD.append(b"x" * int(query["mb"]) * 1_000_000)
    await asyncio.sleep(5)
    return {}


async def leave(*_) -> object:
    os._exit(3)


async def drip(query: Query, receive, send) -> None:
    gone = asyncio.create_task(receive())
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    for n in range(int(query["n"])):
        if gone.done():
            Path(query["mark"]).write_text("gone")
            return
        size = int(query.get("bytes", "0"))
        piece = b"x" * size if size else f"{n}\n".encode()
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(float(query["s"]))
    if query.get("break"):
        raise ValueError("broke off")
    await send({"type": "http.response.body", "body": b""})


async def app(scope, receive, send) -> None:
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    body = (await receive())["body"]
    if scope["path"] == "/drip":
        await drip(query, receive, send)
        return
    told = await globals()[scope["path"][1:]](scope, query, body)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def main() -> None:
    threading.Thread(target=tick, daemon=True).start()
    platform = Platform.from_env()
    settings = Settings.from_env()
    if sys.argv[1] == "broken":
        raise SystemExit(4)
    with environment(app, settings=settings) as env:
        asyncio.run(run(RuntimeApi(platform.runtime_api), platform, lambda: env))
    os._exit(0)


main()
