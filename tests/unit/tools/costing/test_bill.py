"""Bills against hand-worked cases, logs of each kind, and what is said beside others."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from whisper_lambda.economy.prices import price_book
from whisper_lambda.economy.speeds import Speed, speed, speeds
from whisper_lambda.errors import BadOption
from whisper_lambda.tools.costing import comparing
from whisper_lambda.tools.costing.bill import Way, month, wallet_bound_usd_per_hour
from whisper_lambda.tools.costing.workload import Workload, made_up, read_log

BOOK = price_book()
ONE_A_SECOND = Speed(1.0, 0.0, 10.0, 2.0, "by hand")
MONTH_S = 30 * 86_400.0


def load(*requests: tuple[float, float]) -> Workload:
    times, audio = (np.array(column) for column in zip(*requests, strict=True))
    return Workload(times, audio, MONTH_S)


def test_a_month_of_two_cold_requests_costs_what_it_costs_by_hand() -> None:
    """Two of 60 s, a day apart, at 1,769 MB: one core, and each also starts for 10 s."""
    way = Way(memory_mb=1769, architecture="x86_64", warmth="cold")

    bill = month(load((0.0, 20.0), (86_400.0, 20.0)), "t", ONE_A_SECOND, way, BOOK)

    assert bill.lines["duration"] == pytest.approx(2 * 30 * 1769 / 1024 * 0.0000166667, rel=1e-9)
    assert bill.lines["requests"] == pytest.approx(4e-7)
    assert (bill.p50_s, bill.cold_share, bill.hours) == (30.0, 1.0, pytest.approx(40 / 3600))


def test_snapstart_bills_the_snapshot_and_each_restore_instead_of_the_start() -> None:
    way = Way(memory_mb=2048, architecture="arm64", warmth="snapstart", versions=2)

    bill = month(load((0.0, 10.0), (86_400.0, 10.0)), "t", ONE_A_SECOND, way, BOOK)

    assert bill.lines["snapshots kept"] == pytest.approx(2 * 2 * MONTH_S * 0.0000015046, rel=1e-9)
    assert bill.lines["restores"] == pytest.approx(2 * 2 * 0.0001397998, rel=1e-9)
    assert bill.lines["duration"] == pytest.approx(2 * 10 * 2 * 0.0000133334, rel=1e-9)
    assert bill.p50_s == 12.0


def test_provisioned_capacity_is_paid_for_all_month_and_runs_cheaper() -> None:
    way = Way(memory_mb=1024, architecture="x86_64", warmth="provisioned", ready=1)

    bill = month(load((0.0, 10.0), (1.0, 10.0)), "t", Speed(1.0, 0.0, 10.0, 2.0, ""), way, BOOK)

    takes = 10 / (1024 / 1769)  # less than a core
    assert bill.lines["provisioned, idle or not"] == pytest.approx(MONTH_S * 0.0000041667, rel=1e-9)
    assert bill.lines["duration on provisioned"] == pytest.approx(takes * 0.0000097222, rel=1e-6)
    assert bill.lines["duration"] == pytest.approx((takes + 10) * 0.0000166667, rel=1e-6)


def test_pings_keep_one_warm_and_are_billed() -> None:
    way = Way(memory_mb=1024, architecture="x86_64", warmth="pings")
    sparse = load(*((3600.0 * n + 10, 1.0) for n in range(1, 600)))

    pinged = month(sparse, "t", ONE_A_SECOND, way, BOOK)
    cold = month(sparse, "t", ONE_A_SECOND, Way(memory_mb=1024, architecture="x86_64", warmth="cold"), BOOK)

    assert (pinged.cold_share, cold.cold_share) == (0.0, 1.0)
    assert pinged.lines["requests"] > 9 * cold.lines["requests"]


def test_the_wallets_bound_is_every_environment_busy_and_flooded() -> None:
    """aws.md: 10,240 MB x 900 s is 0.15 USD a request; a thousand at once 600 USD an hour, floods beside."""
    way = Way(memory_mb=10_240, architecture="x86_64", most=1000)

    assert wallet_bound_usd_per_hour(way, BOOK) == pytest.approx(600.0 + 720.0, rel=1e-4)


def test_no_month_costs_more_than_the_bound() -> None:
    way = Way(memory_mb=1769, architecture="x86_64", warmth="cold", most=3)
    flood = Workload(np.linspace(0, 3600, 20_000), np.full(20_000, 30.0), 3600.0)

    bill = month(flood, "t", ONE_A_SECOND, way, BOOK)

    assert bill.refused > 0
    assert bill.usd / (MONTH_S / 3600) <= wallet_bound_usd_per_hour(way, BOOK)


def test_an_hour_that_was_refused_is_no_cheap_hour() -> None:
    """Three of 20 s come at once, and one environment hears one of them."""
    way = Way(memory_mb=1769, architecture="x86_64", warmth="cold", most=1)

    crowded = month(load((0.0, 20.0), (1.0, 20.0), (2.0, 20.0)), "t", ONE_A_SECOND, way, BOOK)
    alone = month(load((0.0, 20.0)), "t", ONE_A_SECOND, way, BOOK)

    assert (crowded.refused, crowded.hours) == (2, pytest.approx(20 / 3600))
    assert crowded.usd_per_hour == pytest.approx(alone.usd_per_hour)


def test_times_of_a_log_are_said_to_be_the_same_in_every_row() -> None:
    times = np.array([0.0, 60.0])
    logged = Workload(times, np.array([20.0, 20.0]), 3600.0, np.array([1.0, 1.0]))
    asked = question(tiers=["tiny", "base"])

    said = comparing.text(comparing.compared(logged, asked, BOOK), logged, asked, BOOK)

    assert "those of other tiers and sizes compare nothing" in said


def test_made_up_days_hold_the_hours_asked_for_and_sleep_at_night() -> None:
    week = made_up(50.0, mean_s=30.0, days=7)
    hours = (week.times_s % 86_400) // 3600

    assert week.hours / 7 == pytest.approx(50.0, rel=0.03)
    assert (hours == 10).sum() > 4 * (hours == 3).sum()


LINE = {"time": "2026-11-25T08:00:00Z", "audio_s": 12.5, "engine_s": 0.6, "decode_s": 0.1, "route": "/t"}
LATER = {**LINE, "time": "2026-11-25T09:00:00Z", "audio_s": 30.0}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LATER) + "\nnot a line\n" + json.dumps({"event": "started"}) + "\n" + json.dumps(LINE),
        "2026-11-25T08:00:00 stream " + json.dumps(LINE) + "\n" + json.dumps(LATER),
        json.dumps(
            {"events": [{"message": json.dumps(LINE)}, {"message": "START"}, {"message": json.dumps(LATER)}]}
        ),
        "\n".join(json.dumps({"timestamp": 1, "message": json.dumps(each)}) for each in (LINE, LATER)),
        json.dumps([{"@timestamp": "x", "@message": json.dumps(each)} for each in (LINE, LATER)], indent=1),
    ],
    ids=["our log", "aws logs tail", "filter-log-events", "export", "Logs Insights"],
)
def test_real_requests_are_read_from_logs_of_each_kind(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.log").write_text(text)

    found = read_log(tmp_path / "x.log")

    assert found.times_s.tolist() == [0.0, 3600.0]
    assert found.audio_s.tolist() == [12.5, 30.0]
    assert found.measured_s is not None
    assert found.measured_s.tolist() == pytest.approx([0.7, 0.7])


def test_logs_insights_writes_tables_too(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["@timestamp", "@message"], *(["x", json.dumps(each)] for each in (LINE, LATER))])

    assert read_log(tmp_path / "x.csv").audio_s.tolist() == [12.5, 30.0]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"message": {"message": [1]}}),
        json.dumps({**LINE, "audio_s": 10**400}),
        json.dumps({**LINE, "engine_s": "quick"}),
        json.dumps({**LINE, "audio_s": math.nan}),
        "{" + '"a":' * 100_000,
    ],
)
def test_a_line_that_makes_no_sense_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.log").write_text(f"{json.dumps(LINE)}\n{line}\n")

    assert read_log(tmp_path / "x.log").audio_s.tolist() == [12.5]


@pytest.mark.parametrize("text", ['{"events": null}', '{"events": [1, {"message": {}}]}', "[" * 100_000])
def test_an_export_of_nothing_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.log").write_text(text)
    with pytest.raises(BadOption, match="no line with"):
        read_log(tmp_path / "x.log")


def test_a_table_will_do_and_without_times_taken_the_speeds_are_used(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("time,audio_s\n0,60\n7200,30\n")

    found = read_log(tmp_path / "x.csv")

    assert (found.audio_s.tolist(), found.measured_s, found.span_s) == ([60.0, 30.0], None, 7200.0)


def test_a_file_without_requests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("hello\n{}\n")
    with pytest.raises(BadOption, match="no line with"):
        read_log(tmp_path / "x.log")


def question(**changes: object) -> comparing.Question:
    asked = {"tiers": ["base"], "sizes_mb": [1769], "architectures": ["arm64"], **changes}
    return comparing.Question(**asked)  # type: ignore[arg-type]


def test_it_is_said_plainly_where_we_are_dearer() -> None:
    """A little audio a month, and a snapshot kept for it: Groq's 0.04 USD an hour is cheaper."""
    little = made_up(0.2, days=2)
    found = comparing.compared(little, question(), BOOK)
    snapstart = [b for b in found if b.way.warmth == "snapstart"]

    said = "\n".join(comparing.against_others(snapstart, BOOK))

    assert "DEARER here (cheaper from" in said
    assert "Groq" in said


def test_the_table_names_every_way_and_the_bound() -> None:
    found = comparing.compared(made_up(1.0, days=1), question(), BOOK)
    said = comparing.text(found, made_up(1.0, days=1), question(), BOOK)

    assert [b.way.warmth for b in found] == list(comparing.WARMTHS)
    assert "at the very most, with 20 at once" in said


def test_the_report_needs_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="the plots need the extra `bench`")
    found = comparing.compared(made_up(1.0, days=1), question(), BOOK)

    comparing.write_page(found, made_up(1.0, days=1), question(), BOOK, tmp_path / "r.html")

    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count("at the very most") == 1, "the plots' own program is left alone"
    assert "<script src=" not in page


def test_speeds_fall_with_cores_until_every_chunk_has_one() -> None:
    base = speed("base")

    assert base.seconds(20.0, 2.0) == base.seconds(20.0, 1.0), "one chunk is one thread's work"
    assert base.seconds(60.0, 2.0) < 0.6 * base.seconds(60.0, 1.0)
    assert base.seconds(20.0, 0.5) > 1.8 * base.seconds(20.0, 1.0)
    assert next(iter(speeds())) == "tiny.en"
    assert all(s.source for s in speeds().values())
    assert not math.isnan(base.init_s)
    with pytest.raises(BadOption, match="large"):
        speed("large-v9")
