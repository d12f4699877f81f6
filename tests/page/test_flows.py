"""What people come for, with real weights: drop a recording, correct it, take it along; whatever happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from test_states import looked_at
from visiting import fake_server, real_server, texts

from fakes import FakeEngine
from prompts import Prompt
from serving import wav
from whisper_lambda.tools.scoring import error_rate, normalise

SPOKEN = """() => {
    const [range] = CSS.highlights.get('spoken');
    return range.startContainer.data.slice(range.startOffset, range.endOffset);
}"""


def spoken(srt: str) -> str:
    """Return the words of subtitles."""
    return " ".join(line for line in srt.splitlines() if line and not line.isdigit() and "-->" not in line)


def exported(page: Page, way: str) -> str:
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=re.compile(f"^{way}")).click()
    return Path(saved.value.path()).read_text(encoding="utf-8")


def heard(visit: Any, address: str, prompt: Prompt) -> Page:
    """Drop the recording, and open what became of it."""
    visitor = visit(address)
    page: Page = visitor.open()
    visitor.drop(("llamada.flac", prompt.path.read_bytes()))
    visitor.read("llamada.flac")
    page.wait_for_function("() => document.querySelector('.wave').width > 300")
    return page


@pytest.mark.model
def test_a_spanish_recording_is_dropped_and_becomes_subtitles(
    visit: Any, real_address: str, spanish: Prompt
) -> None:
    page = heard(visit, real_address, spanish)
    expect(page.locator(".about")).to_contain_text("Spanish")
    said = spoken(exported(page, "srt"))
    assert (
        error_rate([normalise(spanish.text, "es")], [normalise(said, "es")]).wer < 0.15
    )  # BasicTextNormalizer

    line = page.locator(".said").first
    box = line.bounding_box()
    assert box
    page.mouse.click(box["x"] + 130, box["y"] + 12)  # a click on a word plays it, and marks it
    page.wait_for_function("() => CSS.highlights.get('spoken').size === 1")
    assert page.evaluate(SPOKEN) in texts(line)[0]
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.model
def test_a_transcript_is_corrected_taken_back_heard_again_and_taken_along(
    visit: Any, real_address: str, spanish: Prompt
) -> None:
    page = heard(visit, real_address, spanish)
    lines = page.locator(".said")
    before, count = texts(lines)[0], lines.count()
    for keys in ("Enter", "Home"):
        page.keyboard.press(keys)
    page.keyboard.type("Buenas: ")
    page.keyboard.press("Escape")
    expect(lines.first).to_have_text(f"Buenas: {before}")
    page.keyboard.press("Control+z")
    expect(lines.first).to_have_text(before)
    page.keyboard.press("Control+Shift+z")

    page.keyboard.press("s")
    expect(lines).to_have_count(count + 1)
    page.keyboard.press("n")
    page.get_by_label("Name").fill("Operadora")
    page.locator("dialog[open]").get_by_role("button", name="Name").click()
    page.keyboard.press("/")
    page.get_by_label("Find", exact=True).fill("BUENAS")
    expect(page.locator(".count")).to_have_text("1 found")
    page.get_by_label("Replace by").fill("Hola")
    page.get_by_role("button", name="Replace all").click()
    vtt = exported(page, "vtt")
    assert "<v Operadora>Hola: " in vtt
    _is_kept(page, vtt)
    _is_heard_again(page)


def _is_kept(page: Page, vtt: str) -> None:
    """Load the page again: everything is as it was."""
    page.wait_for_timeout(900)  # it is kept when nothing has changed for a moment
    page.reload()
    expect(page.locator(".said").first).to_contain_text("Hola: ")
    assert exported(page, "vtt") == vtt


def _is_heard_again(page: Page) -> None:
    """Have one line heard again by another model; the others stay."""
    others = texts(page.locator(".said"))[1:]
    page.get_by_role("button", name="Hear again").click()
    page.get_by_label("Model").select_option("base")
    page.locator("dialog[open]").get_by_role("button", name="Hear again").click()
    expect(page.locator("#status")).to_contain_text("heard again with base", timeout=60_000)
    expect(page.locator(".said").first).not_to_contain_text("Hola: ")
    for n, other in enumerate(reversed(others), 1):
        expect(page.locator(".said").nth(-n)).to_have_text(other)
    page.keyboard.press("Control+z")
    expect(page.locator(".said").first).to_contain_text("Hola: ")


def test_a_long_recording_is_a_job_and_survives_a_reload(visit: Any) -> None:
    """Of three minutes, with an engine that takes its time; twelve minutes, really heard, are below."""
    with fake_server(FakeEngine(text=" Y así fue.", delay_s=0.4, serial=True), jobs=True) as (address, _):
        visitor = visit(address)
        page = visitor.open()
        visitor.drop(("consejo.wav", wav(180)))
        expect(page.locator(".queue .state")).to_contain_text("heard", timeout=120_000)
        page.reload()
        expect(page.locator(".queue li", has_text="consejo.wav")).to_be_visible()
        visitor.read("consejo.wav")
        expect(page.locator(".about")).to_contain_text("3:00")
        expect(page.locator(".said").nth(5)).to_be_attached()
        page.get_by_text("Export", exact=True).click()
        expect(page.get_by_role("button", name="Copy a link")).to_be_visible()
        [job] = page.request.get(f"{address}/v1/jobs").json()["data"]

        other = visit(address).open(f"/#/job/{job['id']}")  # the link, in another browser
        expect(other.locator(".about")).to_contain_text("3:00", timeout=60_000)
        expect(other.locator(".said")).to_have_text(texts(page.locator(".said")))


def test_where_strangers_may_hand_in_no_jobs_long_recordings_are_streamed(visit: Any) -> None:
    with fake_server(FakeEngine(), strangers=True) as (address, _):
        visitor = visit(address)
        visitor.allowed.add("403")
        page = visitor.open()
        visitor.drop(("consejo.wav", wav(150)))
        visitor.read("consejo.wav")
        expect(page.locator(".about")).to_contain_text("2:30")
        assert page.request.get(f"{address}/v1/jobs").status == 403


@pytest.mark.model
@pytest.mark.long
def test_twelve_minutes_really_heard_survive_a_reload(visit: Any, real_address: str, spanish: Prompt) -> None:
    visitor = visit(real_address)
    page = visitor.open()
    visitor.drop(("pleno.wav", wav(720)))
    expect(page.locator(".queue .state")).to_contain_text("of 12:00 heard", timeout=300_000)
    page.reload()
    expect(page.locator(".queue .state")).to_contain_text("of 12:00 heard", timeout=300_000)
    page.locator(".queue li").get_by_role("link", name="Read").click(timeout=1_200_000)
    expect(page.locator(".about")).to_contain_text("12:00")
    said = normalise(" ".join(texts(page.locator(".said"))), "es")
    expected = normalise(" ".join([spanish.text] * 49), "es")  # 720 s of a recording of 14.7 s

    assert error_rate([expected], [said]).wer < 0.25
    times = page.locator(".at").all_text_contents()
    assert times[-1] > "11:"


@pytest.mark.model
def test_the_server_goes_away_and_comes_back(visit: Any, tmp_path: Path, spanish: Prompt) -> None:
    with real_server(tmp_path) as address:
        visitor = visit(address)
        visitor.allowed.add("gone")
        page = visitor.open()
    visitor.drop(("llamada.flac", spanish.path.read_bytes()))
    expect(page.locator(".queue .state")).to_contain_text("waiting for the server")
    looked_at(page, "offline")
    with real_server(tmp_path, "--port", address.rpartition(":")[2]):
        visitor.read("llamada.flac")
        expect(page.locator(".said").first).to_contain_text("representantes")
