"""Events that are no HTTP: recorded ones, and what is made of them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from environments import environment
from lambda_events import http_event, recorded

from fakes import FakeEngine
from whisper_lambda.aws import events, warm
from whisper_lambda.aws.environment import check_door, open_environment
from whisper_lambda.aws.http_event import BadEvent
from whisper_lambda.config import Platform, Settings
from whisper_lambda.errors import BadOption, StorageFull
from whisper_lambda.http.keys import exported, new_key


class Noted:
    """Notes what events have done."""

    def __init__(self, *, fails: frozenset[str] = frozenset()) -> None:
        self.arrivals: list[tuple[str, int]] = []
        self.begun: list[str] = []
        self._fails = fails

    def arrived(self, key: str, size_bytes: int) -> None:
        if key in self._fails:
            raise StorageFull("no room")
        self.arrivals.append((key, size_bytes))

    def begin(self, job_id: str) -> None:
        self.begun.append(job_id)

    def step(self, event: Any) -> Any:
        return {"did": event["step"]}


def message(body: object, name: str = "m") -> dict[str, Any]:
    return {"messageId": name, "body": json.dumps(body), "eventSource": "aws:sqs"}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (recorded("function-url-post-multipart"), "http"),
        (recorded("function-url-iam-get"), "http"),
        (recorded("apigateway-v2-post-json"), "http"),
        (recorded("schedule"), "warm"),
        ({"warm": 3}, "warm"),
        (recorded("s3-put"), "objects"),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent"}, "objects"),
        (recorded("sqs-s3"), "queue"),
        ({"step": "chunk", "job": "job_1", "index": 3}, "step"),
    ],
)
def test_every_kind_of_event_is_recognised(event: dict, kind: str) -> None:
    assert events.kind_of(event) == kind
    assert next(k.name for k in events.TABLE if k.matches(event)) == kind


@pytest.mark.parametrize(
    "event", [{}, {"step": "dance"}, {"Records": []}, [], None, "warm", {"Records": [1]}]
)
def test_nothing_else_is(event: object) -> None:
    with pytest.raises(BadEvent):
        events.kind_of(event)


def test_keys_are_decoded_and_the_test_event_is_passed_over() -> None:
    jobs = Noted()

    assert events.queue(recorded("sqs-s3"), jobs) == {"batchItemFailures": []}
    assert jobs.arrivals == [("uploads/f3a1/charla larga.m4a", 7340032)]
    assert events.objects(recorded("s3-put"), jobs) == {"arrived": 1}
    assert jobs.arrivals[-1] == ("uploads/f3a1/una grabación+1.m4a", 7340032)


def test_one_bad_message_does_not_take_its_neighbours_with_it() -> None:
    jobs = Noted(fails=frozenset({"uploads/f3a1/charla larga.m4a"}))
    batch = {
        "Records": [
            message({"job": "job_1"}, "good"),
            {"messageId": "torn", "body": "{", "eventSource": "aws:sqs"},
            message({"hello": 1}, "strange"),
            message(["a list"], "list"),
            {**recorded("sqs-s3")["Records"][1], "messageId": "fails"},
            message({"job": "job_2"}, "good too"),
        ]
    }
    failed = [f["itemIdentifier"] for f in events.queue(batch, jobs)["batchItemFailures"]]

    assert failed == ["torn", "strange", "list", "fails"]
    assert jobs.begun == ["job_1", "job_2"]


def test_other_notifications_of_s3_are_nobodys_business() -> None:
    removed = recorded("s3-put")
    removed["Records"][0]["eventName"] = "ObjectRemoved:Delete"
    jobs = Noted()

    assert events.objects(removed, jobs) == {"arrived": 0}


def test_a_warm_up_answers_after_a_real_decode() -> None:
    engine = FakeEngine(text=" Please check the number and try again.", delay_s=0.3)
    with environment(engine=engine) as env:
        began = time.monotonic()
        told = warm.warmed({"warm": 1}, env, None)

    assert time.monotonic() - began >= 0.3
    assert (told["decoded"], told["warm"], told["environments"]) == (True, 1, ["env_test"])
    assert len(engine.heard) == 1


def test_a_warm_up_that_hears_other_words_says_so() -> None:
    with environment(engine=FakeEngine(text=" La la la.")) as env:
        told = warm.warmed({"warm": 1}, env, None)

    assert told["decoded"] is False
    assert "other words" in told["reason"]


def test_n_warm_ups_are_under_way_at_the_same_time() -> None:
    """Were one over before the next begins, Lambda would give both to one environment."""
    busy, most, lock, number = 0, 0, threading.Lock(), iter(range(100))

    def invoke(event: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy, most = busy + 1, max(most, busy + 1)
        time.sleep(event["hold_s"])
        with lock:
            busy -= 1
        return {"environments": [f"env_{next(number)}"], "decoded": True}

    with environment() as env:
        told = warm.warmed({"warm": 4, "hold_s": 0.5}, env, invoke)

    assert most == 3
    assert len(told["environments"]) == 4


def test_a_function_calls_the_version_of_itself_that_its_alias_names() -> None:
    """Without a version Lambda would warm $LATEST, which has no snapshot and answers nobody."""
    asked: list[dict] = []

    class Lambda:
        def invoke(self, **how: Any) -> dict:
            asked.append(how)
            return {"Payload": io.BytesIO(b'{"environments": ["env_2"], "decoded": true}')}

    invoke = warm.itself("api:7", Lambda)
    with environment() as env:
        told = warm.warmed({"warm": 2, "hold_s": 0.0}, env, invoke)

    assert [a["FunctionName"] for a in asked] == ["api:7"]
    assert [json.loads(a["Payload"])["warm"] for a in asked] == [1]
    assert told["environments"] == ["env_2", "env_test"]


@pytest.mark.parametrize(
    "event", [{"warm": 0}, {"warm": 101}, {"warm": "2"}, {"warm": True}, {"warm": 1, "hold_s": 61}]
)
def test_a_senseless_warm_up_is_a_bad_event(event: dict) -> None:
    with environment() as env, pytest.raises(BadEvent):
        warm.warmed(event, env, lambda _: {})


def test_a_function_without_a_live_key_does_not_start() -> None:
    now = time.time()
    _, live = new_key("hernan", now)
    _, dead = new_key("hernan", now - 10, expires=now - 5)

    for keys in (None, '{"keys": []}', exported([dead])):
        with pytest.raises(BadOption, match="no live API key"):
            check_door(Settings(keys=keys))
    check_door(Settings(keys=exported([live])))
    check_door(Settings(lambda_auth="iam"))


def test_an_unknown_command_does_not_start() -> None:
    with pytest.raises(BadOption, match="api, events"):
        open_environment(Settings(lambda_auth="iam"), Platform(), "dance")


def test_keys_leave_the_file_and_come_back_whole() -> None:
    now = time.time()
    text, key = new_key("hernan", now, concurrent=3, scopes=("transcribe",))
    from whisper_lambda.http.keys import key_file

    door = key_file(Settings(keys=exported([key])))

    assert door.check(text, "transcribe", now) == key
    assert len(exported([replace(key, scopes=("transcribe", "jobs"), concurrent=None)])) < 180


def test_a_laptop_never_loads_what_is_of_aws() -> None:
    code = (
        "import sys; from whisper_lambda.cli import run; run(['transcribe', '--help']); "
        "import whisper_lambda.api, whisper_lambda.bootstrap, whisper_lambda.http.app; "
        "of_aws = {'boto3', 'botocore', 'mangum', 'awslambdaric'}; "
        "print(*sorted({m.split('.')[0] for m in sys.modules} & of_aws))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1].strip() == ""


def test_mangum_too_leaves_a_gateways_stage_out_of_the_path(tmp_path: Path) -> None:
    sent = []
    for stage, path in (("prod", "/prod/v1/models"), ("v1", "/v1/v1/models"), ("$default", "/v1/models")):
        event = recorded("function-url-iam-get")
        event["requestContext"]["stage"], event["rawPath"] = stage, path
        event["requestContext"]["http"]["path"] = path
        sent.append(event)
    code = (
        "import json, sys; from types import SimpleNamespace; "
        "from whisper_lambda.aws.handler import handler; "
        "context = SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000); "
        "print(json.dumps([handler(e, context)['statusCode'] for e in json.load(sys.stdin)]))"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_LAMBDA_")}
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(sent),
        env={**kept, "WHISPER_LAMBDA_LAMBDA_AUTH": "iam", "WHISPER_LAMBDA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.splitlines()[-1] == "[200, 200, 200]"


def test_a_cold_start_loads_nothing_that_only_describes() -> None:
    code = (
        "import sys; from whisper_lambda.aws.environment import open_environment; "
        "from whisper_lambda.config import Platform, Settings; "
        "open_environment(Settings(lambda_auth='iam'), Platform(), 'plan'); "
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'fastapi', 'pydantic', 'boto3'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1].strip() == ""


def test_unsigned_requests_are_refused_where_they_must_be_signed() -> None:
    import asyncio

    from test_deadline import asked

    settings = Settings(lambda_auth="iam", lambda_invoke_mode="buffered")
    with environment(settings=settings) as env:
        unsigned = asyncio.run(asked(env, json.dumps(http_event(path="/v1/models")).encode(), 60)).answer
        signed = asyncio.run(asked(env, json.dumps(recorded("function-url-iam-get")).encode(), 60)).answer

    assert (unsigned[0], json.loads(unsigned[1])["error"]["code"]) == (403, "insufficient_scope")
    assert signed[0] == 200
