"""Receipts against bills worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import fake_service
from whisper_lambda.config import Settings
from whisper_lambda.economy.receipt import chunks_by_model, receipt
from whisper_lambda.errors import BadOption
from whisper_lambda.http.app import create_app
from whisper_lambda.types import ModelChoice, Timings, Transcript


def heard(**timings: float) -> Transcript:
    return Transcript((), "es", 60.0, model=ModelChoice("base", "base"), chunks=3, timings=Timings(**timings))


@pytest.mark.parametrize(
    ("settings", "timings", "init_s", "billed_ms", "gb_s", "usd"),
    [
        # 2.5 s at 3008 MB = 7.34375 GB-s, x 0.0000166667 = 0.000122396..., and a request
        (Settings(), {"decode_s": 0.5, "vad_s": 0.2, "engine_s": 1.8}, 0.0, 2500, 7.34375, 0.0001225960781),
        # loading the model is billed, waiting is not; 4 s x 1.7275390625 GB x 0.0000133334
        (
            Settings(receipt_memory_mb=1769, receipt_architecture="arm64"),
            {"engine_s": 3.0}, 1.0, 4000, 6.910156, 0.0000923358824,
        ),
        # on Lambda the function's own memory is billed
        (Settings(lambda_memory_mb=1024), {"engine_s": 0.0103}, 0.0, 11, 0.011, 0.0000003833337),
    ],
)  # fmt: skip
def test_a_receipt_is_to_the_ten_billionth_what_it_is_by_hand(
    settings: Settings, timings: dict[str, float], init_s: float, billed_ms: int, gb_s: float, usd: float
) -> None:
    bill = receipt(heard(**timings), settings, queue_s=99.0, init_s=init_s)

    assert (bill.billed_ms, bill.gb_s) == (billed_ms, gb_s)
    assert bill.usd == pytest.approx(usd, abs=1e-10)
    assert bill.queue_s == 99.0


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ((), ""),
        (("base",), "base 0"),
        (("tiny.en", "tiny.en", "base", "tiny.en"), "tiny.en 0-1,3; base 2"),
        (("base", "tiny.en", "base", "base", "base"), "base 0,2-4; tiny.en 1"),
    ],
)
def test_a_receipt_says_which_chunks_each_model_heard(served: tuple[str, ...], said: str) -> None:
    assert chunks_by_model(served) == said


@pytest.mark.parametrize("wrong", [{"prices_file": Path("gone.json")}, {"receipt_architecture": "m68k"}])
def test_no_server_begins_on_prices_no_receipt_can_be_written_from(wrong: dict[str, Any]) -> None:
    """Each recording would be heard first, and refused when its bill is written."""
    with fake_service() as service, pytest.raises(BadOption):
        create_app(service, Settings(**wrong))
