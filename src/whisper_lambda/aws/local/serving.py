"""The gateway behind a socket, for as long as nobody ends it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from whisper_lambda.aws.local.gateway import Gateway, Pool
from whisper_lambda.aws.local.sandbox import Function


async def serve(
    listener: socket.socket,
    function: Function,
    *,
    concurrency: int,
    buffered: bool,
    signed: bool,
    say: Callable[[str], None],
) -> None:
    """Answer at a socket until SIGTERM or Ctrl-C, then end every environment."""
    pool = Pool(function, concurrency=concurrency, say=say)
    config = uvicorn.Config(
        Gateway(pool, buffered=buffered, signed=signed),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        await pool.close()
