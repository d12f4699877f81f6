"""What people come for, with real weights: drop a recording, correct it, take the subtitles along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from prompts import Prompt
from whisper_lambda.tools.scoring import error_rate, normalise

pytestmark = pytest.mark.model


def spoken(srt: str) -> str:
    """Return the words of subtitles."""
    return " ".join(line for line in srt.splitlines() if line and not line.isdigit() and "-->" not in line)


def test_a_dropped_spanish_recording_becomes_subtitles(
    visit: Any, real_address: str, spanish: Prompt
) -> None:
    visitor = visit(real_address)
    page = visitor.open()
    visitor.drop(("llamada.flac", spanish.path.read_bytes()))
    visitor.read("llamada.flac")
    expect(page.locator(".about")).to_contain_text("Spanish")
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="srt").click()

    assert saved.value.suggested_filename == "llamada.srt"
    said = spoken(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert (
        error_rate([normalise(spanish.text, "es")], [normalise(said, "es")]).wer < 0.15
    )  # BasicTextNormalizer
