"""The price book against figures worked out by hand, and what becomes of an operator's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whisper_lambda.config import Settings
from whisper_lambda.economy.prices import ARCHITECTURES, billed_ms, price_book
from whisper_lambda.errors import BadOption


@pytest.mark.parametrize(
    ("billed", "memory_mb", "architecture", "storage_mb", "by_hand"),
    [
        # 1 s x 1 GB x 0.0000166667 + 0.0000002
        (1000, 1024, "x86_64", 512, 0.0000168667),
        # 0.5 s x 2.9375 GB x 0.0000133334 = 0.00001958343125, and 0.0000002
        (500, 3008, "arm64", 512, 0.00001978343125),
        # 900 s x 10 GB x 0.0000166667 = 0.1500003, and 0.0000002: the dearest request there is
        (900_000, 10_240, "x86_64", 512, 0.1500005),
        # the same with 10 GB of /tmp: 900 s x 9.5 GB x 0.0000000309 = 0.000264195 more
        (900_000, 10_240, "x86_64", 10_240, 0.150264695),
        # 1 ms x 0.125 GB x 0.0000166667 = 0.0000000020833375, and 0.0000002
        (1, 128, "x86_64", 512, 0.0000002020833375),
    ],
)
def test_an_invocation_costs_what_it_costs_by_hand(
    billed: int, memory_mb: int, architecture: str, storage_mb: int, by_hand: float
) -> None:
    usd = price_book().invocation_usd(billed, memory_mb, architecture, storage_mb=storage_mb)

    assert usd == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(
    ("seconds", "billed"),
    [
        (0.0, 1),
        (0.0001, 1),
        (0.001, 1),
        (0.0011, 2),
        (0.007, 7),
        (1.2, 1200),
        (1.2000004, 1201),
        (59.9999, 60_000),
    ],
)
def test_durations_are_rounded_up_to_whole_milliseconds(seconds: float, billed: int) -> None:
    """0.007 s is 7 ms though a float makes it a little more."""
    assert billed_ms(seconds) == billed


def test_every_figure_has_a_date_a_unit_and_a_source_with_an_address() -> None:
    book = price_book()

    for figure in (*book.prices.values(), *book.alternatives):
        assert figure.effective.startswith("20"), figure
        assert book.sources[figure.source].url.startswith("https://")
    assert all(p.per for p in book.prices.values())
    assert all(p.region == "us-east-1" for p in book.prices.values())


def test_arm_is_cheaper_on_every_count() -> None:
    book = price_book()

    for kind in ("gb_s", "provisioned_gb_s", "provisioned_running_gb_s"):
        x86, arm = (book.usd(f"lambda.{a}.{kind}") for a in ARCHITECTURES)
        assert arm == pytest.approx(0.8 * x86, rel=1e-4)


def test_an_operators_file_replaces_and_adds_entries(tmp_path: Path) -> None:
    own = {
        "as_of": "2027-01-01",
        "sources": {"us": {"title": "our contract", "url": "https://example.com", "read": "2027-01-01"}},
        "prices": [
            {"name": "lambda.arm64.gb_s", "usd": 0.00001, "source": "us"},
            {"name": "gpu.hour", "usd": 0.5, "per": "hour", "source": "us", "effective": "2027-01-01"},
        ],
    }
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(own))

    book = price_book(Settings(prices_file=path))

    assert book.gb_s("arm64") == 0.00001
    assert book.prices["lambda.arm64.gb_s"].per == "GB-second", "what the file leaves out stays"
    assert book.usd("gpu.hour") == 0.5
    assert book.gb_s("x86_64") == price_book().gb_s("x86_64")
    assert book.as_of == "2027-01-01"


@pytest.mark.parametrize(
    "own",
    [
        "not json",
        "[]",
        '{"price": []}',
        '{"prices": [{"name": "lambda.request", "usd": -1}]}',
        '{"prices": [{"name": "lambda.request", "usd": "cheap"}]}',
        '{"prices": [{"name": "lambda.request", "usd": NaN}]}',
        '{"prices": [{"name": "lambda.request", "usd": 1, "source": "hearsay"}]}',
        '{"prices": [{"name": "new"}]}',
    ],
)
def test_a_file_that_is_no_price_list_is_refused_by_name(tmp_path: Path, own: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(own)

    with pytest.raises(BadOption, match=r"prices\.json"):
        price_book(Settings(prices_file=path))


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(BadOption, match=r"lambda\.arm64\.gb_s"):
        price_book().usd("lambda.riscv.gb_s")
    with pytest.raises(BadOption, match="x86_64, arm64"):
        price_book().gb_s("riscv")
