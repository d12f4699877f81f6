"""What CloudWatch reads of a request. The rules are those of the EMF specification."""

from __future__ import annotations

import io
import json

import pytest

from whisper_lambda.aws import emf
from whisper_lambda.config import Settings
from whisper_lambda.economy.receipt import invocation_bill
from whisper_lambda.telemetry import METRICS

HEARD = {
    "request_id": "req_1",
    "route": "/transcribe",
    "status": 200,
    "model": "base",
    "audio_s": 14.7,
    "engine_s": 0.6,
    "rtf": 0.05,
    "chunks": 2,
    "cached_chunks": 1,
    "gb_s": 2.1,
    "usd": 3.5e-05,
    "duration_s": 0.8,
    "dropped": {"silence": 2, "repetition": 1},
}


def of(line: dict, name: str) -> list[list[str]]:
    found = [d for d in line["_aws"]["CloudWatchMetrics"] if name in {m["Name"] for m in d["Metrics"]}]
    assert len(found) == 1, name
    return found[0]["Dimensions"]


def test_a_line_holds_a_value_for_every_metric_and_dimension_it_names() -> None:
    line = emf.line(HEARD, "api", 1_764_000_000.0)

    assert line["_aws"]["Timestamp"] == 1_764_000_000_000
    named = [m["Name"] for d in line["_aws"]["CloudWatchMetrics"] for m in d["Metrics"]]
    assert len(named) == len(set(named))
    assert all(isinstance(line[name], int | float) for name in named)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "whisper_lambda"
        assert all(isinstance(line[d], str) for dims in directive["Dimensions"] for d in dims)
    assert (line["audio_seconds"], line["cache_hits"], line["dropped"], line["usd"]) == (14.7, 1, 3, 3.5e-05)
    assert (of(line, "rtf"), of(line, "requests")) == ([["function"], ["function", "model"]], [["function"]])


def test_every_metric_named_is_one_of_the_list() -> None:
    line = emf.line(HEARD | {"init_type": "on-demand", "cold_start_s": 1.2}, "api", 0.0)
    named = {m["Name"] for d in line["_aws"]["CloudWatchMetrics"] for m in d["Metrics"]}

    assert named <= {m.name for m in METRICS}
    assert named >= {"cold_starts", "init_seconds", "gb_seconds", "audio_seconds", "rtf", "request_seconds"}


def test_an_environment_is_born_once() -> None:
    out = io.StringIO()
    meter = emf.EmfMeter("api", out=out)
    meter.born({"init_type": "snap-start", "cold_start_s": 0.4})
    meter.count(HEARD)
    meter.count(HEARD)
    first, second = map(json.loads, out.getvalue().splitlines())

    assert (first["cold_starts"], first["init_type"], first["init_seconds"]) == (1, "snap-start", 0.4)
    assert of(first, "cold_starts") == [["function"], ["function", "init_type"]]
    assert "cold_starts" not in second
    assert b'cold_starts_total{init_type="snap-start"} 1.0' in meter.text()


def test_what_a_part_of_a_job_costs_is_counted_though_it_answers_nobody() -> None:
    """The alarm on an hour's money sums `usd` of every function: chunks of jobs are most of it."""
    settings = Settings(lambda_memory_mb=3008)
    line = emf.line({"trigger": "step", "duration_s": 2.0, **invocation_bill(settings, 2.0)}, "chunk", 0.0)

    assert line["gb_seconds"] == pytest.approx(2.0 * 3008 / 1024)
    assert line["usd"] == pytest.approx(2.0 * 3008 / 1024 * 0.0000166667 + 2e-7, rel=1e-4)
    assert of(line, "usd") == [["function"]]


def test_units_are_words_cloudwatch_knows() -> None:
    known = {"Seconds", "Count", "None"}

    assert {emf.unit(m) for m in METRICS} <= known
    assert {emf.unit(m) for m in METRICS if m.unit == "s"} == {"Seconds"}


def test_failures_and_what_ran_out_of_time_are_counted() -> None:
    line = emf.line({"status": 504, "route": "/transcribe", "code": "x", "out_of_time": "cut"}, "api", 0.0)

    assert (line["failures"], line["out_of_time"], line["outcome"], line["code"]) == (1, 1, "cut", "x")
    assert of(line, "out_of_time") == [["function"], ["function", "outcome"]]


def test_nothing_is_said_of_nothing() -> None:
    out = io.StringIO()
    emf.EmfMeter("api", out=out).count({"trigger": "warm"})

    assert out.getvalue() == ""
