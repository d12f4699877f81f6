"""The metrics as CloudWatch reads them from a log: one line of JSON (EMF) a request, no network call.

Names are those of `telemetry.METRICS`, without a prefix, in the namespace `whisper_lambda`. Each goes out by
function; a few also by one label (`Metric.emf_by`). Every further combination would be billed as a
metric of its own, so the rest (route, status, code) are plain properties for Logs Insights.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TextIO

from whisper_lambda.telemetry import METRICS, Facts, Meter, Metric, counts

NAMESPACE = "whisper_lambda"
FUNCTION = "function"  # the dimension every metric has
PROPERTIES = ("request_id", "route", "status", "code", "trigger", "model", "init_type", "memory_mb")


def dimensions(metric: Metric) -> list[list[str]]:
    """Return the sets of dimensions a metric is kept by."""
    return [[FUNCTION], *([[FUNCTION, *metric.emf_by]] if metric.emf_by else [])]


def unit(metric: Metric) -> str:
    """Return the unit as CloudWatch spells it."""
    if metric.unit == "s":
        return "Seconds"
    return "Count" if metric.kind == "counter" and not metric.unit else "None"


def line(facts: Facts, function: str, now: float) -> dict[str, Any]:
    """Return the line that tells CloudWatch of one request; {} where it would say nothing.

    Args:
        facts: what is known of the request.
        function: name of the Lambda function.
        now: seconds since the epoch.
    """
    values: dict[str, float] = defaultdict(float)
    by: dict[str, str] = {}
    for name, amount, labels in counts(facts):
        values[name] += amount
        by.update({k: v for k, v in labels.items() if k in _BY[name]})
    if not values:
        return {}
    told = [_METRICS[name] for name in values]
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [s for s in dimensions(m) if all(d == FUNCTION or by.get(d) for d in s)],
            "Metrics": [{"Name": m.name, "Unit": unit(m)}],
        }
        for m in told
    ]
    head = {"_aws": {"Timestamp": round(now * 1000), "CloudWatchMetrics": _merged(directives)}}
    properties = {name: facts[name] for name in PROPERTIES if facts.get(name) not in (None, "")}
    return {**head, FUNCTION: function, **properties, **by, **values}


def _merged(directives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put metrics of the same dimensions into one directive."""
    merged: dict[str, dict[str, Any]] = {}
    for directive in directives:
        known = merged.setdefault(json.dumps(directive["Dimensions"]), {**directive, "Metrics": []})
        known["Metrics"].extend(directive["Metrics"])
    return list(merged.values())


class EmfMeter(Meter):
    """Counts as every meter does, and writes each request's line for CloudWatch."""

    def __init__(
        self,
        function: str,
        *,
        out: TextIO = sys.stdout,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to `out`.

        Args:
            function: name of the Lambda function.
            out: what CloudWatch reads.
            clock: seconds since the epoch.
        """
        super().__init__()
        self._function = function
        self._birth: Facts = {}
        self._out = out
        self._clock = clock

    def born(self, birth: Facts) -> None:
        """Take the facts of how this environment started: they are told with its first request only."""
        self._birth = birth

    def count(self, facts: Facts) -> None:
        """Count one request and write its line."""
        birth, self._birth = self._birth, {}
        facts = {**birth, **facts}
        super().count(facts)
        if told := line(facts, self._function, self._clock()):
            self._out.write(json.dumps(told, separators=(",", ":")) + "\n")
            self._out.flush()


_METRICS = {metric.name: metric for metric in METRICS}
_BY = {metric.name: frozenset(metric.emf_by) for metric in METRICS}
