"""One local environment: a process that answers events, frozen between them, ended when it takes too much."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whisper_lambda.aws.local.api import Call, LocalApi, Piece
from whisper_lambda.config import with_environment
from whisper_lambda.tools.processes import memory_mb, tree

LOOK_S = 0.1  # between two looks at the memory
INIT_S = 10.0  # Lambda grants so much; what takes longer is begun again within the first event
MIB_PER_MB = 1000 / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """What is configured of a function."""

    role: str = "api"
    memory_mb: int = 3008
    timeout_s: float = 60.0
    snap_start: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable, "-m", "whisper_lambda.aws")
    ready_s: float = 60.0  # an environment that is not ready by then is given up


class Ended(Exception):
    """The environment is no more: it failed to start, took too long or too much memory, or left."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.told = {"errorType": kind, "errorMessage": message}


class Sandbox:
    """Holds the process. One event at a time."""

    def __init__(self, function: Function, say: Callable[[str], None]) -> None:
        self.function = function
        self.api = LocalApi()
        self.alive = False
        self.init_s = 0.0
        self.call: Call | None = None  # the one under way, or the last
        self._say = say
        self._peak_mib = 0.0
        self._told_init = False
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it asks for its first event; then freeze it.

        Raises:
            Ended: it reported a failure, or left, or is not ready within its time.
        """
        began = time.monotonic()
        await self.api.open()
        function = self.function
        variables = {
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_LAMBDA_FUNCTION_NAME": f"local-{function.role}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if function.snap_start else "on-demand",
            **function.variables,
        }
        self._process = await asyncio.create_subprocess_exec(
            *function.command,
            function.role,
            env=with_environment(variables),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C comes to us alone
        )
        self.alive = True
        async with self._watched(function.ready_s, "the environment was not ready in time"):
            await _first(self.api.idle.wait(), self.api.ended.wait())
            if self.api.failure:
                raise Ended(str(self.api.failure.get("errorType")), str(self.api.failure.get("errorMessage")))
        self.init_s = time.monotonic() - began
        if self.init_s > INIT_S:
            self._say(f"init took {self.init_s:.1f} s; Lambda begins again after {INIT_S:g} s")
        self._freeze()

    async def answer(self, event: bytes) -> AsyncGenerator[Piece]:
        """Thaw the process, pass its answer on, and freeze it when it asks for the next event.

        Whatever happens the answer ends, with a piece of the kind "failed" where it went wrong.
        """
        began = time.monotonic()
        call = Call(event, time.time() + self.function.timeout_s)
        self._say(f"START RequestId: {call.id}")
        self._signal(signal.SIGCONT)
        self.api.give(call)
        watch = asyncio.create_task(self._until_idle(call))
        self.call = call
        try:
            async for piece in call.answer():
                yield piece
        finally:
            call.leave()
            await watch
            self._report(call, time.monotonic() - began)

    async def _until_idle(self, call: Call) -> None:
        late = f"Task timed out after {self.function.timeout_s:.2f} seconds"
        try:
            async with self._watched(self.function.timeout_s, late):
                await self.api.idle.wait()
        except Ended as end:
            self._say(f"RequestId: {call.id} {end}")
            self.api.abandon(call, end.told)
        else:
            self.api.abandon(call, {"errorType": "Runtime.NoResponse", "errorMessage": "no answer came"})
            self._freeze()

    @contextlib.asynccontextmanager
    async def _watched(self, within_s: float, late: str) -> AsyncIterator[None]:
        """Run a step that must end in time, with a living process that does not take too much memory."""
        task = asyncio.current_task()
        assert task
        ended: list[Ended] = []

        async def watch() -> None:
            deadline = time.monotonic() + within_s
            while not ended:
                await asyncio.sleep(LOOK_S)
                if found := self._amiss(time.monotonic() > deadline, late):
                    ended.append(found)
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not ended:
                await self.stop()
                raise
            task.uncancel()
            await self.stop()
            raise ended[0] from None
        except Ended:
            await self.stop()
            raise
        finally:
            watching.cancel()

    def _amiss(self, late: bool, told: str) -> Ended | None:
        assert self._process
        if self._process.returncode is not None:
            return Ended("Runtime.ExitError", f"the process left with code {self._process.returncode}")
        used = sum(memory_mb(pid)[1] for pid in tree(self._process.pid)) * MIB_PER_MB
        self._peak_mib = max(self._peak_mib, used)
        if used > self.function.memory_mb:
            return Ended(
                "Runtime.OutOfMemory", f"{used:.0f} MB are more than {self.function.memory_mb}; killed"
            )
        return Ended("Sandbox.Timedout", told) if late else None

    def _report(self, call: Call, took_s: float) -> None:
        init = "" if self._told_init else f"  Init Duration: {self.init_s * 1000:.2f} ms"
        self._told_init = True
        self._say(
            f"REPORT RequestId: {call.id}  Duration: {took_s * 1000:.2f} ms  "
            f"Billed Duration: {math.ceil(took_s * 1000)} ms  Memory Size: {self.function.memory_mb} MB  "
            f"Max Memory Used: {self._peak_mib:.0f} MB{init}"
        )

    def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        if self._process and self._process.returncode is None:
            for pid in list(tree(self._process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    async def stop(self) -> None:
        """End the process and its children; nothing of it is waited for."""
        self.alive = False
        await self.api.close()
        if self._process and self._process.returncode is None:
            self._signal(signal.SIGKILL)
            await self._process.wait()


async def _first(*waits: Any) -> None:  # noqa: ANN401 - coroutines
    tasks = [asyncio.ensure_future(w) for w in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
