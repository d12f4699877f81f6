"""Alarms and the dashboard ask for metrics that exist, with the dimensions they are kept by."""

import json
import re
from typing import Any

import pytest
import watch
from cfn import of_type, template

from whisper_lambda.aws.emf import NAMESPACE, dimensions
from whisper_lambda.telemetry import METRICS

KNOWN = {m.name: [set(d) for d in dimensions(m)] for m in METRICS if m.kind != "gauge"}
AWS_KEEPS = {
    ("AWS/Lambda", "Errors"),
    ("AWS/Lambda", "Throttles"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    ("AWS/States", "ExecutionsFailed"),
}


def alarms() -> dict[str, Any]:
    return of_type(template()["Resources"], "AWS::CloudWatch::Alarm")


def body() -> dict[str, Any]:
    (dashboard,) = of_type(template()["Resources"], "AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"]["Fn::Sub"])


def asked(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics an alarm asks for."""
    several = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", ()) if "MetricStat" in m]
    return several or [alarm]


def test_the_template_holds_what_the_metric_list_gives() -> None:
    assert watch.main(["--check"]) == 0


def test_every_alarm_asks_for_a_metric_that_exists() -> None:
    for name, alarm in alarms().items():
        for metric in asked(alarm):
            if metric["Namespace"] != NAMESPACE:
                assert (metric["Namespace"], metric["MetricName"]) in AWS_KEEPS, name
                continue
            assert metric["MetricName"] in KNOWN, name
            assert {d["Name"] for d in metric["Dimensions"]} in KNOWN[metric["MetricName"]], name


def test_every_graph_asks_for_a_metric_that_exists() -> None:
    drawn = set()
    for widget in body()["widgets"]:
        for series in widget["properties"]["metrics"]:
            if isinstance(series[0], dict):
                search = series[0]["expression"]
                namespace, *names = re.search(r"\{(.*?)\}", search)[1].split(",")
                metric = re.search(r'MetricName="(\w+)"', search)[1]
            else:
                namespace, metric, *pairs, _ = series
                names = pairs[::2]
            assert namespace == NAMESPACE
            assert set(names) in KNOWN[metric], search if isinstance(series[0], dict) else series
            drawn.add(metric)

    assert drawn == set(KNOWN)  # nothing that is counted is left out


def test_a_metric_that_is_gone_cannot_be_watched() -> None:
    with pytest.raises(KeyError, match="no metric"):
        watch.ours("words_per_minute", "Api")


def test_every_name_in_the_dashboard_is_one_of_the_template() -> None:
    text = json.dumps(body())
    known = {*template()["Resources"], "AWS::Region"}

    assert set(re.findall(r"\$\{([^}]+)\}", text)) <= known


def test_alarms_say_what_to_do_and_stay_silent_while_nothing_runs() -> None:
    for alarm in alarms().values():
        assert len(alarm["AlarmDescription"].split(":")) > 1
        assert alarm["TreatMissingData"] == "notBreaching"
        assert {"Ref": "AlarmTopic"} in alarm["AlarmActions"]


def test_money_throws_the_kill_switch() -> None:
    kills = {"Ref": "KillTopic"}
    resources = template()["Resources"]
    limits = resources["Budget"]["Properties"]["NotificationsWithSubscribers"]

    assert [n for n, a in alarms().items() if kills in a["AlarmActions"]] == ["WalletAlarm"]
    assert kills in [s["Address"] for limit in limits for s in limit["Subscribers"]]
    assert resources["KillFunction"]["Properties"]["Events"]["Alarm"]["Properties"]["Topic"] == kills
