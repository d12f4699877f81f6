"""A real browser, real servers: the page is driven as its users drive it.

Any error on the console fails the test; what the browser itself logs of a refused request is allowed
only where the test says so.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Locator, Page

from fakes import FakeEngine, fake_service
from serving import served
from weights import installed
from whisper_lambda.bootstrap import Service
from whisper_lambda.config import PREFIX, Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.staffing import Office

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    f"--{flag}"
    for flag in (
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "use-fake-ui-for-media-stream",
        "use-fake-device-for-media-stream",
        "autoplay-policy=no-user-gesture-required",
    )
]
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
GONE = "net::ERR_"


@dataclass
class Visitor:
    """A page and what its console said."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)  # statuses, or "gone": the server is away

    def noted(self, text: str) -> None:
        refused = REFUSED.search(text)
        known = refused[1] in self.allowed if refused else GONE in text and "gone" in self.allowed
        if not known:
            self.errors.append(text)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.address + path)
        self.page.wait_for_selector("main h1")
        return self.page

    def drop(self, *files: tuple[str, bytes]) -> None:
        """Let files fall on the page, as a hand would."""
        carried = [{"name": n, "data": base64.b64encode(b).decode()} for n, b in files]
        self.page.evaluate(
            """(files) => {
                const carried = new DataTransfer();
                for (const { name, data } of files) {
                    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                    carried.items.add(new File([bytes], name));
                }
                const how = { dataTransfer: carried, bubbles: true, cancelable: true };
                for (const kind of ['dragenter', 'dragover', 'drop'])
                    document.body.dispatchEvent(new DragEvent(kind, how));
            }""",
            carried,
        )

    def read(self, name: str) -> None:
        """Open the transcript of a file that is being written, when it is."""
        self.page.locator(".queue li", has_text=name).get_by_role("link", name="Read").click(timeout=60_000)
        self.page.wait_for_selector(".sheet .line, .sheet .empty")


@contextmanager
def visiting(browser: Browser, address: str, **context: object) -> Iterator[Visitor]:
    """Visit with a fresh profile; whatever the console complained of fails the test."""
    options = {"viewport": {"width": 1280, "height": 860}, "locale": "en-GB"} | context
    opened = browser.new_context(**options)
    page = opened.new_page()
    page.set_default_timeout(20_000)
    visitor = Visitor(page, address)
    page.on("console", lambda m: visitor.noted(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: visitor.errors.append(f"uncaught: {e}"))
    try:
        yield visitor
    finally:
        opened.close()
    assert visitor.errors == []


@contextmanager
def fake_server(
    engine: FakeEngine, *, jobs: bool = False, strangers: bool = False
) -> Iterator[tuple[str, Service]]:
    """Serve with a fake engine and a home of its own, doing jobs too, and open to strangers, if asked."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        # in a thread of its own: Playwright's event loop runs in this one, and DBOS would join it
        with fake_service(engine, settings) as service, ThreadPoolExecutor(1) as elsewhere:
            office = Office(service, settings)
            gates = Gates.of(service, replace(settings, probe_every_s=0), open_to_everyone=strangers)
            try:
                if jobs:
                    elsewhere.submit(office.hire).result()
                with served(create_app(service, settings, gates=gates, office=office)) as address:
                    yield address, service
            finally:
                elsewhere.submit(office.close).result()


@contextmanager
def real_server(home: Path, *more: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Start `whisper-lambda serve` with real base weights on a free port; give its address."""
    command = [
        str(Path(sys.executable).with_name("whisper-lambda")),
        "serve",
        "--port",
        "0",
        "--model",
        "base",
        *more,
    ]
    if not (home / "models").exists():  # jobs and the cache of its own, the weights of everybody
        installed("base")
        (home / "models").symlink_to(Settings().home / "models")
    log = (home / "serve.log").open("w+b")
    env = {**os.environ, f"{PREFIX}HOME": str(home), **(env or {})}
    process = subprocess.Popen(command, stderr=log, stdout=log, env=env)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on (\S+)", (home / "serve.log").read_text())):
            assert process.poll() is None, (home / "serve.log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


class Guarded(NamedTuple):
    """A server that asks for keys: a good one, and one that may send 30 s a day."""

    address: str
    key: str
    poor: str


def texts(locator: Locator) -> list[str]:
    """Return what elements say, on the screen or far from it.

    Not by innerText: lines far from the screen are not laid out, and it has nothing of them.
    """
    return [" ".join(text.split()) for text in locator.all_text_contents()]
