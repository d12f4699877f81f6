"""One browser for all, a fresh profile for each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright
from visiting import CHROMIUM, FLAGS, Guarded, Visitor, fake_server, real_server, visiting

from fakes import FakeEngine, fake_service, from_noon
from serving import served
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.keys import key_file, new_key


def _of_the_page(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the page's tests last: while Playwright runs, no other test can start an event loop."""
    items.sort(key=_of_the_page)
    if CHROMIUM is None:
        why = "NO CHROMIUM ON THIS MACHINE: the page is NOT tested (apt-get install chromium)"
        for item in filter(_of_the_page, items):
            item.add_marker(pytest.mark.skip(reason=why))


expect.set_options(timeout=20_000)  # as much as a busy machine may need


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Open a page of a server: visit(address, **context options)."""
    with ExitStack() as stack:
        yield lambda address, **context: stack.enter_context(visiting(browser, address, **context))


@pytest.fixture(scope="package")
def fake_address() -> Iterator[str]:
    with fake_server(FakeEngine(text=" Hola a todos, esto es una prueba.", delay_s=0.05)) as (address, _):
        yield address


@pytest.fixture(scope="package")
def real_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_server(tmp_path_factory.mktemp("serve")) as address:
        yield address


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that asks for keys."""
    settings = Settings(home=tmp_path_factory.mktemp("guarded"), probe_every_s=0)
    text, key = new_key("ana", time.time())
    little, poor = new_key("poor", time.time(), audio_s_per_day=30)
    door = key_file(settings)
    door.add(key)
    door.add(poor)
    with (
        fake_service(FakeEngine(), settings) as service,
        served(
            create_app(service, settings, gates=Gates.of(service, settings, clock=from_noon()))
        ) as address,
    ):
        yield Guarded(address, text, little)
