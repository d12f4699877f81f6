"""Every way a recording comes in, and what becomes of one that does not get through at first."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from test_states import looked_at
from visiting import Visitor, fake_server

from fakes import FakeEngine
from serving import wav

PASTED = """(data) => {
    const carried = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    carried.items.add(new File([bytes], 'pasted.wav', { type: 'audio/wav' }));
    const how = { clipboardData: carried, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new ClipboardEvent('paste', how));
}"""

TOLD = """() => {
    globalThis.told = [];
    new MutationObserver(() => told.push(document.querySelector('.queue .state')?.textContent))
        .observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture
def flaky() -> Iterator[tuple[str, FakeEngine]]:
    """A server whose engine can be told to fail."""
    engine = FakeEngine()
    with fake_server(engine) as (address, _):
        yield address, engine


def row(page: Page, name: str) -> Any:
    return page.locator(".queue li", has_text=name)


def test_a_file_is_picked_or_pasted_or_recorded_here(visit: Any, fake_address: str) -> None:
    page = visit(fake_address, permissions=["microphone"]).open()
    page.locator("#pick").set_input_files(
        [{"name": n, "mimeType": "audio/wav", "buffer": wav(2)} for n in ("one.wav", "two.wav")]
    )
    page.evaluate(PASTED, base64.b64encode(wav(2)).decode())
    page.get_by_role("button", name="record", exact=True).click()
    stop = page.get_by_role("button", name=re.compile(r"stop recording \(\d+:(0[1-9]|[1-5]\d)\)"))
    expect(stop).to_be_visible()
    looked_at(page, "recording")
    stop.click()
    for name in ("one.wav", "two.wav", "pasted.wav", "Recording"):
        expect(row(page, name).get_by_role("link", name="Read")).to_be_visible()


def test_what_failed_is_tried_again_and_what_goes_up_is_told(
    visit: Any, flaky: tuple[str, FakeEngine]
) -> None:
    address, engine = flaky
    visitor: Visitor = visit(address)
    visitor.allowed.add("500")
    page = visitor.open()
    slow = page.context.new_cdp_session(page)
    slow.send("Network.enable")
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000},
    )
    engine.fails = True
    page.evaluate(TOLD)
    visitor.drop(("once.wav", wav(20)))
    expect(row(page, "once.wav")).to_have_attribute("data-state", "failed")
    assert [t for t in page.evaluate("told") if t and re.fullmatch(r"sending, [1-9]\d? %", t)] != []
    engine.fails = False
    page.get_by_role("button", name="Try again: once.wav").click()
    visitor.read("once.wav")
    expect(page.locator(".said").first).to_have_text("Hola a todos.")


def test_the_request_is_shown_for_a_terminal_and_for_the_sdks(visit: Any, fake_address: str) -> None:
    visitor = visit(fake_address)
    page = visitor.open()
    page.locator("select[name=language]").select_option("es")
    visitor.drop(("it's.wav", wav(2)))
    visitor.read("it's.wav")
    page.get_by_role("button", name="The request").click()
    shown = page.locator("dialog pre")
    expect(shown).to_contain_text("-F 'language=es'")
    expect(shown).to_contain_text("it'\\''s.wav")
    page.get_by_label("Python").check()
    expect(shown).to_contain_text("client.audio.transcriptions.create(")
    compile(shown.inner_text(), "shown", "exec")
    page.get_by_label("JavaScript").check()
    expect(shown).to_contain_text("new OpenAI({ baseURL:")


def test_who_wants_no_motion_gets_none(visit: Any, fake_address: str) -> None:
    visitor = visit(fake_address, reduced_motion="reduce")
    visitor.open()
    moving = """() => document.getAnimations().length
        + (matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : 100)"""
    visitor.drop(("one.wav", wav(2)))
    visitor.read("one.wav")
    assert visitor.page.evaluate(moving) == 0
