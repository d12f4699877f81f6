"""A transcript under its reader's hands: every way to change it, to take it along and to find it again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from test_reading import exported, kept, lines_of
from visiting import fake_server, texts

from fakes import FakeEngine
from serving import voice, wav
from whisper_lambda.audio.decode import Limits, decode_blocks
from whisper_lambda.audio.sandbox import DecoderPool

SAVED_MS = 900  # a change is kept when nothing has followed it for a moment


def said(page: Page) -> list[str]:
    return texts(page.locator(".said"))


def segments(page: Page) -> list[dict[str, Any]]:
    return json.loads(exported(page, "everything, for programs"))["segments"]


def test_lines_are_split_joined_shifted_deleted_and_all_of_it_taken_back(
    visit: Any, fake_address: str
) -> None:
    page = kept(visit(fake_address), lines_of(40))
    before = segments(page)
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    first, second = (page.locator(".said").nth(n) for n in (0, 1))
    expect(first).to_have_text("uno dos")
    expect(second).to_have_text("tres cuatro cinco seis siete, ocho nueve diez.")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("j")
    expect(page.locator(".said")).to_have_text([s["text"] for s in before])
    page.keyboard.press("]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("}")
    page.keyboard.press("End")
    page.keyboard.press("Control+Backspace")
    expect(page.locator(".said")).to_have_count(3)
    page.locator(".tools").get_by_role("button", name="Shift").click()
    page.get_by_label("Seconds, with a minus").fill("-2")
    page.locator("dialog[open]").get_by_role("button", name="Shift").click()
    expect(page.locator("dialog[open]")).to_have_count(0)

    moved = [round(a["start"] - b["start"], 3) for a, b in zip(segments(page), before, strict=False)]
    assert moved == [0.1, 0.1, -1.9]
    assert [w["start"] for w in segments(page)[1]["words"]] == [
        round(w["start"] + 0.1, 3) for w in before[1]["words"]
    ]
    for _ in range(6):
        page.keyboard.press("Control+z")
    expect(page.locator("#status")).to_contain_text("Taken back: line split")
    assert segments(page) == before
    page.keyboard.press("Control+z")
    expect(page.locator("#status")).to_contain_text("nothing to take back")
    for _ in range(5):
        page.keyboard.press("Control+Shift+z")
    expect(page.locator(".said")).to_have_count(3)


def test_doubted_words_are_marked_counted_and_walked_through(visit: Any, fake_address: str) -> None:
    page = kept(visit(fake_address), lines_of(40))
    page.wait_for_function("() => CSS.highlights.get('doubtful').size === 3")  # every seventeenth of forty
    doubts = page.get_by_role("button", name="Doubtful words: 3")
    doubts.click()
    doubts.click()
    expect(page.locator(".line.here .said")).to_have_text(lines_text(3))


def lines_text(number: int) -> str:
    return "".join(w[0] for w in lines_of(40)[number]["words"]).strip()


def test_a_speaker_is_renamed_once_for_all_lines(visit: Any, fake_address: str) -> None:
    lines = lines_of(40)
    for n, line in enumerate(lines):
        line["who"] = f"Speaker {n % 2 + 1}"
    page = kept(visit(fake_address), lines)
    page.locator(".who").first.click()
    page.get_by_label("Name").fill("Ana")
    page.locator("dialog[open]").get_by_role("button", name="Name").click()

    expect(page.locator(".who")).to_have_text(["Ana", "Speaker 2", "Ana", "Speaker 2"])
    assert exported(page, "plain text").startswith("Ana: uno dos")
    page.keyboard.press("Control+z")
    expect(page.locator(".who").first).to_have_text("Speaker 1")


def test_words_are_replaced_everywhere_and_keep_their_times(visit: Any, fake_address: str) -> None:
    page = kept(visit(fake_address), lines_of(40))
    before = segments(page)
    page.keyboard.press("/")
    page.get_by_label("Find", exact=True).fill("DIEZ.")
    expect(page.locator(".count")).to_have_text("4 found")
    page.wait_for_function("() => CSS.highlights.get('found').size === 4")
    page.get_by_label("Replace by").fill("$& 10")
    page.get_by_role("button", name="Replace all").click()
    expect(page.locator(".said").first).to_contain_text("$& 10")

    after = segments(page)
    assert {s["text"].split(" ocho ")[1] for s in after} == {"nueve $& 10"}
    page.get_by_label("Find", exact=True).press("Escape")
    expect(page.get_by_label("Find", exact=True)).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('.line') !== null")  # keys go on where they were
    assert [s["words"][:9] for s in after] == [s["words"][:9] for s in before]
    assert all(s["words"][-1]["end"] <= s["end"] for s in after)


def test_text_is_copied_and_printed(visit: Any, fake_address: str) -> None:
    visitor = visit(fake_address, permissions=["clipboard-read", "clipboard-write"])
    visitor.page.add_init_script("globalThis.print = () => { globalThis.printed = true; };")
    page = kept(visitor, lines_of(40))
    page.get_by_text("Export", exact=True).click()
    page.get_by_role("button", name="Copy all of the text").click()
    expect(page.locator("#status")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.split("\n")[:4] == said(page)

    page.get_by_text("Export", exact=True).click()
    page.get_by_role("button", name="Print").click()
    page.wait_for_function("() => globalThis.printed === true")
    page.emulate_media(media="print")
    for gone in (".top", "footer", ".deck", ".acts", ".tools"):
        expect(page.locator(gone).first).to_be_hidden()
    expect(page.locator(".said").last).to_be_visible()


def test_what_was_written_is_found_by_any_of_its_words(visit: Any, fake_address: str) -> None:
    visitor = visit(fake_address)
    kept(visitor, lines_of(40), id="one", name="uno.wav")
    lines = lines_of(10)
    lines[0]["words"][0][0] = " Canción"
    page = kept(visitor, lines, id="two", name="entrevista.wav")
    page.goto(f"{visitor.address}/#/")
    past = page.locator(".past li .name")
    expect(past).to_have_count(2)
    for query, names in (
        ("CANCION nueve", ["entrevista.wav"]),
        ("entrevista", ["entrevista.wav"]),
        ("uno", ["uno.wav"]),
        ("nothing", []),
    ):
        page.get_by_label("Find in all transcripts").fill(query)
        expect(past).to_have_text(names)
    expect(page.locator(".past .empty")).to_be_visible()

    page.get_by_label("Find in all transcripts").fill("")
    page.get_by_role("button", name="Forget: uno.wav").click()
    page.locator("dialog[open]").get_by_role("button", name="Forget").click()
    expect(past).to_have_text(["entrevista.wav"])
    page.reload()
    expect(past).to_have_text(["entrevista.wav"])


def test_every_change_is_kept_without_asking(visit: Any, fake_address: str) -> None:
    page = kept(visit(fake_address), lines_of(20))
    page.keyboard.press("Enter")
    page.keyboard.press("Home")
    page.keyboard.type("Bien: ")
    page.keyboard.press("Escape")
    page.wait_for_timeout(SAVED_MS)
    page.reload()
    expect(page.locator(".said").first).to_have_text(re.compile("^Bien: uno dos"))


def test_each_channel_is_a_speaker(visit: Any, fake_address: str) -> None:
    visitor = visit(fake_address)
    page = visitor.open()
    page.get_by_text("Names, terms and speakers").click()
    page.get_by_label("One speaker on each channel").check()
    visitor.drop(("llamada.wav", wav(4, channels=2)))
    visitor.read("llamada.wav")

    expect(page.locator(".who").first).to_have_text(re.compile(r"\w"))
    assert len(set(texts(page.locator(".who")))) == 2
    page.get_by_role("button", name="The request").click()
    expect(page.locator("dialog pre")).to_contain_text("by_channel=true")


def test_what_the_server_would_not_take_is_made_smaller_here(visit: Any) -> None:
    """A limit of 300 kB: a WAV of 470 kB becomes Opus, and the server hears all of it."""
    engine = FakeEngine()
    with fake_server(engine) as (address, _):
        visitor = visit(address)
        visitor.page.route("**/page/facts", lambda route: route.fulfill(json=_small(route)))
        sent: list[bytes] = []
        visitor.page.on(
            "request",
            lambda r: sent.append(r.post_data_buffer or b"") if "/v1/audio/transcriptions" in r.url else None,
        )
        page = visitor.open()
        if not page.evaluate("'AudioEncoder' in globalThis"):
            pytest.skip("this Chromium has no WebCodecs")
        visitor.drop(("llamada.wav", wav(14.7)))
        visitor.read("llamada.wav")
        expect(page.locator(".about")).to_contain_text("0:14")

        [body] = sent
        opus = body[body.index(b"OggS") :]
        assert len(body) < 80_000
        pool = DecoderPool(1)
        try:
            heard = sum(map(len, decode_blocks(opus, Limits(60, 1 << 20, 30), pool)))
        finally:
            pool.close()
        assert abs(heard - len(voice())) < 1_600  # a tenth of a second


def _small(route: Route) -> dict[str, Any]:
    return {**route.fetch().json(), "max_upload_mb": 0.3, "uploads": False}
