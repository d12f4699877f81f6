"""Capacity: figures by hand, and where limits begin to bite."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from whisper_lambda.cli.app import app
from whisper_lambda.economy.prices import price_book
from whisper_lambda.economy.speeds import Speed, speed
from whisper_lambda.tools.costing.scale import markdown, need

BOOK = price_book()


def test_a_thousand_hours_come_to_what_they_come_to_by_hand() -> None:
    """128,571 chunks of 28 s, each one second of one core at 1,769 MB."""
    found = need(1000.0, Speed(1 / 28, 0.0, 0.0, 0.0, ""), 1769, "arm64", BOOK)

    chunks = 1000 * 3600 / 28
    assert found.usd_a_day["Lambda"] == pytest.approx(chunks * (1769 / 1024 * 0.0000133334 + 2e-7), rel=1e-3)
    assert found.usd_a_day["Step Functions"] == pytest.approx((chunks + 6000) * 0.000025, rel=1e-6)
    write, read = 6.25e-7, 1.25e-7  # a unit: 17 and 7 a chunk, 24 and 12 a job
    assert found.usd_a_day["DynamoDB"] == pytest.approx(
        chunks * (17 * write + 7 * read) + 1000 * (24 * write + 12 * read)
    )
    assert found.usd_a_day["S3"] == pytest.approx(
        chunks * (2 * 5e-6 + 5 * 4e-7) + 1000 * 3 * (5e-6 + 4e-7), rel=1e-6
    )
    assert found.chunks_a_s == pytest.approx(2 * chunks / 86_400)
    assert found.busy_cores == pytest.approx(found.chunks_a_s)
    assert 3 < found.at_once < 15
    assert found.bites == ()


def test_limits_bite_at_a_million_hours_and_not_at_a_thousand() -> None:
    few, many = (need(h, speed("base"), 1769, "arm64", BOOK) for h in (1000.0, 1_000_000.0))

    assert few.bites == ()
    assert [b.split(":")[0] for b in many.bites] == ["Lambda", "S3", "S3", "DynamoDB"]
    assert many.at_once == pytest.approx(many.simulated_busy, rel=0.15)


def test_the_tables_of_the_documents_are_what_the_command_prints() -> None:
    printed = CliRunner().invoke(app, ["cost", "scale"])
    page = (Path(__file__).parents[4] / "docs" / "scale.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in printed.output.splitlines() if line.startswith(("|", "*"))]

    assert printed.exit_code == 0
    assert len(rows) == 16
    assert [row for row in rows if row not in page] == []


def test_the_page_says_everything() -> None:
    said = markdown([need(10.0, speed("base"), 1769, "arm64", BOOK)], "base", 1769, "arm64")

    assert "* 10 h a day: no limit bites." in said
