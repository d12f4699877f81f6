"""Every state of the page: legible to everybody (axe), light and dark, desktop and phone, console silent.

`SHOTS=folder` also saves a picture of each.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from visiting import Guarded, fake_server

from fakes import FakeEngine
from serving import wav

SHOTS = os.environ.get("SHOTS")
LONG = os.environ.get("LONG")
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
SIZES = {"desktop": DESKTOP, "phone": PHONE}
WAYS = [(scheme, size) for scheme in ("light", "dark") for size in SIZES]
AXE = Axe()
RULES = {"resultTypes": ["violations"]}


def looked_at(page: Page, name: str) -> None:
    """Find no violation, however the page is seen: two ways always, all four in the long form."""
    found = []
    for scheme, size in WAYS if LONG else (WAYS[0], WAYS[3]):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(SIZES[size])
        page.wait_for_timeout(60)
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{scheme}-{size}.png")
        violations = AXE.run(page, options=RULES).response["violations"]
        found += [(scheme, size, v["id"], [n["html"][:160] for n in v["nodes"]][:3]) for v in violations]
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found += [(scheme, size, "scrolls sideways", wide)] if wide > 0 else []
    page.set_viewport_size(DESKTOP)
    assert found == []


@pytest.fixture(scope="module")
def slow() -> Iterator[tuple[str, FakeEngine]]:
    """A server whose engine says a little, slowly, and leaves something out."""
    engine = FakeEngine(text=" Buenas tardes, ¿me oye usted bien? Sí, perfectamente, siga.", drops=True)
    with fake_server(engine) as (address, _):
        yield address, engine


def test_the_first_sheet(visit: Any, fake_address: str) -> None:
    page = visit(fake_address).open()
    looked_at(page, "home")
    page.get_by_text("Names, terms and speakers").click()
    looked_at(page, "options")
    page.get_by_role("button", name="Forget everything").click()
    expect(page.locator("dialog[open]")).to_contain_text("Forget everything?")
    looked_at(page, "forget")


def test_the_queue_and_what_was_written(visit: Any, slow: tuple[str, FakeEngine]) -> None:
    address, engine = slow
    visitor = visit(address)
    visitor.allowed |= {"400", "415"}
    page = visitor.open()
    visitor.drop(("first.wav", wav(3)))
    expect(page.get_by_role("link", name="Read: first.wav")).to_be_visible()
    heard = threading.Event()
    engine.began = lambda: heard.wait(120)
    try:
        visitor.drop(("interview.wav", wav(60)), ("notes.mp3", b"no audio at all"), ("waits.wav", wav(2)))
        expect(page.locator("[data-state=failed]")).to_contain_text("not audio")
        looked_at(page, "queue")
        page.get_by_role("button", name="Cancel: interview.wav").click()
        page.get_by_role("button", name="Cancel: waits.wav").click()
        expect(page.locator(".queue li")).to_have_count(2)
    finally:
        heard.set()
        engine.began = lambda: None


def test_a_transcript_and_all_that_opens_from_it(visit: Any, slow: tuple[str, FakeEngine]) -> None:
    visitor = visit(slow[0])
    page = visitor.open()
    visitor.drop(("interview.wav", wav(75)))
    visitor.read("interview.wav")
    expect(page.locator(".line.left").first).to_contain_text("left out: repetition")
    page.wait_for_function("() => document.querySelector('.wave').width > 300")
    page.wait_for_load_state("networkidle")  # the wave's peaks came
    looked_at(page, "transcript")
    page.keyboard.press("Enter")
    expect(page.locator(".said[contenteditable]")).to_be_focused()
    looked_at(page, "editing")
    page.keyboard.press("Escape")
    for name, key in (("keyboard", "?"), ("speaker", "n"), ("again", "r")):
        page.keyboard.press(key)
        expect(page.locator("dialog[open]")).to_be_visible()
        looked_at(page, name)
        page.keyboard.press("Escape")
    for name in ("The request", "The receipt", "Shift", "Find", "Export"):
        page.get_by_text(name, exact=True).first.click()
        looked_at(page, name.removeprefix("The ").lower())
        page.keyboard.press("Escape")


def test_a_key_that_is_missing_and_one_that_is_wrong(visit: Any, guarded: Guarded) -> None:
    address, key = guarded.address, guarded.key
    visitor = visit(address)
    visitor.allowed.add("401")
    page = visitor.open()
    visitor.drop(("interview.wav", wav(3)))
    expect(page.locator("dialog[open]")).to_contain_text("This server asks for a key")
    looked_at(page, "key")
    page.get_by_label("Key", exact=True).fill("wl-not-this-one")
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("dialog .wrong")).to_contain_text("refused")
    looked_at(page, "key-wrong")
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    visitor.read("interview.wav")
    kept = page.evaluate("[sessionStorage, localStorage].map((s) => s.getItem('key'))")
    assert kept == [key, None]


def test_a_key_without_seconds_left_is_told_so(visit: Any, guarded: Guarded) -> None:
    visitor = visit(guarded.address)
    visitor.allowed |= {"401", "429"}
    page = visitor.open()
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_label("Key", exact=True).fill(guarded.poor)
    page.get_by_role("button", name="Use this key").click()
    visitor.drop(("first.wav", wav(20)), ("second.wav", wav(20)))
    expect(page.locator("[data-state=failed]").first).to_contain_text("s of audio a day")
    looked_at(page, "quota")


def test_what_is_not_here(visit: Any, fake_address: str) -> None:
    page = visit(fake_address).open("/#/t/nothing")
    expect(page.locator("h1")).to_contain_text("not in this browser")
    looked_at(page, "absent")


@pytest.mark.parametrize(("locale", "title"), [("es-AR", "Suelte"), ("fr-FR", "Déposez"), ("de-DE", "Drop")])
def test_it_speaks_the_browsers_language(visit: Any, fake_address: str, locale: str, title: str) -> None:
    page = visit(fake_address, locale=locale).open()

    expect(page.locator("h1")).to_contain_text(title)
    assert page.evaluate("document.documentElement.lang") == {"es-AR": "es", "fr-FR": "fr"}.get(locale, "en")
    page.locator("#tongue").select_option("es")
    expect(page.locator("h1")).to_contain_text("Suelte")
    page.reload()
    expect(page.locator("h1")).to_contain_text("Suelte")


def test_every_word_of_the_page_is_in_every_language() -> None:
    assets = Path(__file__).parents[2] / "src/whisper_lambda/http/page/assets"
    code = "\n".join(f.read_text(encoding="utf-8") for f in assets.glob("*.js"))
    said = {m.replace("\\'", "'") for m in re.findall(r"\bt\(\s*'((?:[^'\\]|\\.)*)'", code)}
    rows = [
        r.split("|") for r in (assets / "phrases.js").read_text(encoding="utf-8").splitlines() if "|" in r
    ]

    assert [r for r in rows if len(r) != 3 or not all(map(str.strip, r))] == []
    assert said - {r[0] for r in rows} == set()
    assert {r[0] for r in rows} - said == set()
    marks = [[sorted(re.findall(r"\{\w+\}", column)) for column in r] for r in rows]
    assert [r[0] for r, m in zip(rows, marks, strict=True) if not m[0] == m[1] == m[2]] == []
