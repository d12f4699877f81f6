"""Live captions from a microphone that plays a recording; and when there is no microphone to be had."""

from __future__ import annotations

import re
import wave
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, WebSocketRoute, expect
from test_states import looked_at
from visiting import CHROMIUM, FLAGS, Visitor, texts, visiting

from prompts import Prompt
from serving import voice
from whisper_lambda.tools.scoring import error_rate, normalise

MICROPHONE_HZ = 48_000


@pytest.fixture(scope="module")
def speaking(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone says the Spanish recording once, after half a second, then is silent."""
    said = np.repeat(voice(), MICROPHONE_HZ // 16_000)
    samples = np.concatenate([np.zeros(MICROPHONE_HZ // 2, np.float32), said])
    path = tmp_path_factory.mktemp("microphone") / "mic.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={path}%noloop"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
    yield browser
    browser.close()


@pytest.mark.model
def test_what_is_said_is_read_along_and_kept(speaking: Browser, real_address: str, spanish: Prompt) -> None:
    with visiting(speaking, real_address) as visitor:
        page = visitor.open("/#/talk")
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("button", name="Stop and keep")).to_be_visible()
        log = page.get_by_role("log")
        expect(log).to_contain_text(re.compile(r"\w+ \w+"), timeout=30_000)
        assert page.evaluate("document.querySelector('.tentative').closest('[aria-live]')") is None
        looked_at(page, "talking")
        clock = page.locator(".talkbar .clock")
        expect(clock).to_contain_text(re.compile(r"0:(1[6-9]|[2-5]\d)"), timeout=60_000)
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Go on")).to_be_visible()
        paused = clock.inner_text()
        page.wait_for_timeout(1200)
        assert clock.inner_text() == paused
        page.get_by_role("button", name="Stop and keep").click()
        page.wait_for_selector(".sheet .line", timeout=30_000)
        said = " ".join(texts(page.locator(".said")))

        assert error_rate([normalise(spanish.text, "es")], [normalise(said, "es")]).wer < 0.35
        assert page.evaluate("document.querySelector('.wave').getAttribute('aria-valuemax')") != "0"
        page.keyboard.press("p")
        page.wait_for_function("() => CSS.highlights.get('spoken').size === 1")
        page.reload()
        page.wait_for_selector(".sheet .line")
        expect(page.locator(".said").last).to_have_text(re.compile(r"\w"))
        assert " ".join(texts(page.locator(".said"))) == said


def without_sockets(visitor: Visitor) -> list[str]:
    """Let the page believe it is served by AWS Lambda; return the sockets it opens all the same."""

    def told(route: Route) -> None:
        facts = route.fetch().json()
        route.fulfill(json={**facts, "realtime": False})

    visitor.page.route("**/page/facts", told)
    opened: list[str] = []
    visitor.page.on("websocket", lambda socket: opened.append(socket.url))
    return opened


def talked(page: Page, until: str, *, begin: bool = True) -> str:
    """Begin to talk, stop when the log shows what is waited for, and return what was kept."""
    if begin:
        page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("log")).to_contain_text(re.compile(until), timeout=60_000)
    page.get_by_role("button", name="Stop and keep").click()
    page.wait_for_selector(".sheet .line", timeout=30_000)
    return " ".join(texts(page.locator(".said")))


def test_without_a_socket_live_words_come_step_by_step(speaking: Browser, fake_address: str) -> None:
    with visiting(speaking, fake_address) as visitor:
        sockets = without_sockets(visitor)
        steps: list[str] = []
        visitor.page.on("request", lambda r: steps.append(r.url) if "/v1/live/" in r.url else None)
        visitor.page.add_init_script(
            """navigator.wakeLock.request = async (kind) => {
                globalThis.awake = kind;
                return { release: () => { globalThis.awake = 'released'; } };
            };"""
        )
        page = visitor.open("/#/talk")
        page.get_by_role("button", name="Begin").click()
        page.wait_for_function("() => globalThis.awake === 'screen'")
        words = talked(page, "w8", begin=False).split()
        assert page.evaluate("awake") == "released"

        numbers = [int(word.removeprefix("w")) for word in words]  # a garbled word would not be a number
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) > 6
        assert sockets == []
        assert len(steps) >= 2
        assert len(set(steps)) == 1


def test_a_step_whose_answer_is_lost_loses_no_sound(speaking: Browser, fake_address: str) -> None:
    with visiting(speaking, fake_address) as visitor:
        visitor.allowed |= {"gone"}
        without_sockets(visitor)
        lost: list[str] = []

        def lose(route: Route) -> None:
            """Do the second step, and keep its answer back."""
            lost.append(route.request.url)
            if len(lost) == 2:
                route.fetch()
                route.abort("connectionreset")
            else:
                route.continue_()

        visitor.page.route("**/v1/live/*", lose)
        page = visitor.open("/#/talk")
        assert "garble" not in talked(page, r"w\d+ w\d+ w\d+")
        assert len(set(lost)) == 1  # sent again as it was: the same session goes on


def test_last_words_that_do_not_come_are_heard_from_the_recording(
    speaking: Browser, fake_address: str
) -> None:
    with visiting(speaking, fake_address) as visitor:

        def slow(socket: WebSocketRoute) -> None:
            """Let nothing more through once the page has asked for the last words."""
            server = socket.connect_to_server()
            ending: list[bool] = []

            def asked(message: str | bytes) -> None:
                ending.extend([True] * (isinstance(message, str) and ".commit" in message))
                server.send(message)

            socket.on_message(asked)
            server.on_message(lambda message: None if ending else socket.send(message))

        visitor.page.route_web_socket(re.compile("/v1/realtime"), slow)
        page = visitor.open("/#/talk")
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("log")).to_contain_text("w3", timeout=60_000)
        page.get_by_role("button", name="Stop and keep").click()

        expect(page.locator(".queue li")).to_contain_text("Talk", timeout=30_000)
        expect(page.locator(".queue li").get_by_role("link", name="Read")).to_be_visible(timeout=30_000)


@pytest.mark.long
def test_where_a_socket_cannot_be_opened_steps_take_its_place(speaking: Browser, fake_address: str) -> None:
    with visiting(speaking, fake_address) as visitor:
        visitor.page.route_web_socket(re.compile("/v1/realtime"), lambda socket: socket.close())
        steps: list[str] = []
        visitor.page.on("request", lambda r: steps.append(r.url) if "/v1/live/" in r.url else None)
        page = visitor.open("/#/talk")
        assert "w5" in talked(page, "w5")
        assert steps


@pytest.mark.model
@pytest.mark.long
def test_really_heard_step_by_step(speaking: Browser, real_address: str, spanish: Prompt) -> None:
    with visiting(speaking, real_address) as visitor:
        sockets = without_sockets(visitor)
        page = visitor.open("/#/talk")
        page.get_by_role("button", name="Begin").click()
        clock = page.locator(".talkbar .clock")
        expect(clock).to_contain_text(re.compile(r"0:(1[6-9]|[2-5]\d)"), timeout=60_000)
        page.get_by_role("button", name="Stop and keep").click()
        page.wait_for_selector(".sheet .line", timeout=30_000)
        said = " ".join(texts(page.locator(".said")))

        assert error_rate([normalise(spanish.text, "es")], [normalise(said, "es")]).wer < 0.35
        assert sockets == []


def test_without_https_the_page_says_why_there_is_no_microphone(browser: Browser, fake_address: str) -> None:
    with visiting(browser, fake_address) as visitor:
        visitor.page.add_init_script(
            "Object.defineProperty(globalThis, 'isSecureContext', { get: () => false });"
        )
        page = visitor.open("/#/talk")
        expect(page.locator(".wrong")).to_contain_text("https")
        expect(page.get_by_role("button", name="Begin")).to_be_disabled()
        looked_at(page, "insecure")


def test_a_server_that_is_gone_is_told_in_words(speaking: Browser, fake_address: str) -> None:
    with visiting(speaking, fake_address) as visitor:
        visitor.page.add_init_script(
            """AudioWorklet.prototype.addModule = async () => {
                throw new DOMException('Failed to load worklet module script (Network error)', 'AbortError');
            };"""
        )
        page = visitor.open("/#/talk")
        page.get_by_role("button", name="Begin").click()
        expect(page.locator(".wrong")).to_have_text("The server cannot be reached.")


def test_a_refused_microphone_is_told_in_words(playwright: Playwright, fake_address: str) -> None:
    flags = [f for f in FLAGS if "fake" not in f]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
    try:
        with visiting(browser, fake_address) as visitor:
            page = visitor.open("/#/talk")
            page.get_by_role("button", name="Begin").click()
            expect(page.locator(".wrong")).to_contain_text(re.compile("microphone", re.IGNORECASE))
            looked_at(page, "refused")
    finally:
        browser.close()
