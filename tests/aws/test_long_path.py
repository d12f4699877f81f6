"""The whole way of a long recording on AWS's stand-in, with the shipped template and state machine.

CloudFormation (ministack's) makes what deploy/template.yaml says after SAM's own transform; each function's
image is replaced by a few lines that run the same code in ministack's worker. What is heard is heard by
real weights. What ministack does not have is left out: a budget, an alarm
on several metrics, and a role's policy (it checks none).
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx2
import numpy as np
import pytest

import clouds
from fakes import fake_service
from prompts import Prompt
from serving import client, pcm_wav, served
from weights import installed
from whisper_lambda import tenants
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates

pytestmark = [pytest.mark.aws, pytest.mark.model]

ROOT = Path(__file__).parents[2]
MACHINE = ROOT / "deploy" / "statemachine.asl.json"
STACK, USER = "long-path", "ana"
ABSENT = {"AWS::Budgets::Budget", "AWS::IAM::RolePolicy"}
WITHIN_S = 420.0  # a busy machine starts a worker with a model in tens of seconds

SHIM = """
import os, sys
sys.path[:0] = {paths!r}
from whisper_lambda.aws import events
from whisper_lambda.aws.doing import done
from whisper_lambda.aws.environment import open_environment
from whisper_lambda.aws.runtime import failure_of
from whisper_lambda.config import Platform, Settings
ENVIRONMENT = open_environment(Settings.from_env(), Platform.from_env(), {role!r})
def handler(event, context):
    try:
        return done(events.kind_of(event), event, ENVIRONMENT)
    except Exception as cause:
        told = failure_of(cause)
        raise type(told.kind, (Exception,), {{}})(told.message) from cause
"""


@dataclass
class Stack:
    """What CloudFormation made, and a server of ours in front of it."""

    outputs: dict[str, str]
    http: httpx2.Client
    hooks: list[dict[str, Any]] = field(default_factory=list)
    hook: str = ""

    def hand_in(self, recording: bytes, **fields: str) -> tuple[str, str, dict[str, str]]:
        """Ask for an upload and hand in its job, both before a byte is sent; return job and ticket."""
        ask = {"size_bytes": len(recording), "content_type": "audio/wav", "user_id": USER}
        ticket = self.http.post("/v1/uploads", json=ask).raise_for_status().json()
        order = {"upload": ticket["id"], "language": "es", "model": "base", "user_id": USER, **fields}
        job = self.http.post("/v1/jobs", json=order).raise_for_status().json()
        assert job["status"] == "queued"
        return job["id"], ticket["url"], ticket["headers"]

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for a job's end."""
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            job: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}", params={"user_id": USER}).json()
            if job["status"] not in ("queued", "running"):
                return job
            time.sleep(0.5)
        raise AssertionError(f"the job is still {job}")

    def executions(self, name: str) -> list[dict[str, Any]]:
        machine = self.outputs["StateMachineArn"]
        found = boto3.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
        return [e for e in found if e["name"] == name]

    def text(self, job_id: str) -> str:
        return str(
            self.http.get(f"/v1/jobs/{job_id}/result", params={"user_id": USER})
            .raise_for_status()
            .json()["text"]
        )


def function(name: str, properties: dict[str, Any], home: Path) -> dict[str, Any]:
    """Return a function of the template with the code of this checkout in place of its image."""
    if "ImageConfig" not in properties:
        return properties
    role = properties["ImageConfig"]["Command"][0]
    site = next((ROOT / ".venv" / "lib").glob("python3*/site-packages"))
    code = SHIM.format(paths=[str(ROOT / "src"), str(site)], role=role)
    kept = {k: v for k, v in properties.items() if k not in ("ImageConfig", "PackageType", "SnapStart")}
    variables = {
        **properties["Environment"]["Variables"],
        **{n: v for n, v in clouds.CREDENTIALS.items() if v},
        "AWS_ENDPOINT_URL": clouds.server(),
        "WHISPER_LAMBDA_HOME": str(home),
        "WHISPER_LAMBDA_WEBHOOKS_PRIVATE": "true",
        "WHISPER_LAMBDA_THREADS": "1",
    }
    return {
        **kept,
        "Runtime": "python3.11",
        "Handler": "index.handler",
        "Code": {"ZipFile": code},
        "Environment": {"Variables": variables},
    }


def absent(resource: dict[str, Any]) -> bool:
    """Tell whether ministack has no such resource; alarms on several metrics are among them."""
    return resource["Type"] in ABSENT or "Metrics" in resource.get("Properties", {})


def machine() -> str:
    """Return the shipped state machine, with the bound ministack knows for the one it does not.

    It passes MaxConcurrencyPath over, and would start a worker with a model for each of 41 chunks.
    """
    shipped = MACHINE.read_text(encoding="utf-8")
    bounded = shipped.replace('"MaxConcurrencyPath": "$.at_once"', '"MaxConcurrency": 2')
    assert bounded.count('"MaxConcurrency": 2') == 2
    return bounded


def template(home: Path) -> dict[str, Any]:
    """Return deploy/template.yaml as CloudFormation gets it from SAM, made fit for ministack."""
    python = clouds.VENV / "bin" / "python"
    done = subprocess.run(
        [python, ROOT / "tests/deploy/transformed.py", "image@sha256:0"],
        capture_output=True,
        text=True,
        check=True,
    )
    made: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    made["Resources"] = {n: r for n, r in made["Resources"].items() if not absent(r)}
    for name, resource in made["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"] = function(name, resource["Properties"], home)
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            resource["Properties"].pop("DefinitionS3Location", None)
            resource["Properties"]["DefinitionString"] = machine()
    return made


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = installed("base").path.parents[1]
    with clouds.ministack():
        cloudformation = boto3.client("cloudformation")
        values = {"ImageUri": "image@sha256:0", "Keys": '{"keys": []}', "Model": "base", "UrlAuth": "AWS_IAM"}
        parts, s3 = clouds.bucket(), boto3.client("s3")
        s3.put_object(Bucket=parts, Key="template", Body=json.dumps(template(home)).encode())
        cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"{clouds.server()}/{parts}/template",
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        told = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
        outputs = {o["OutputKey"]: o["OutputValue"] for o in told}
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            bucket=outputs["BucketName"],
            table=outputs["TableName"],
            state_machine=outputs["StateMachineArn"],
            webhooks_private=True,
            chunks_at_once=2,
        )
        with (
            hooked() as (address, hooks),
            fake_service(settings=settings) as service,
            served(create_app(service, settings, gates=Gates.of(service, settings))) as face,
            client(face) as http,
        ):
            yield Stack(outputs, http, hooks, address)


class hooked:
    """A receiver of webhooks, and what it was sent."""

    def __enter__(self) -> tuple[str, list[dict[str, Any]]]:
        hooks: list[dict[str, Any]] = []

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hooks.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/", hooks

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def repeated(prompt: Prompt, times: int, pause_s: float) -> bytes:
    """Return a recording said so many times, so far apart that each is a chunk."""
    said = samples_of(prompt.path)
    pause = np.zeros(int(pause_s * 16_000), np.float32)
    return pcm_wav(np.concatenate([np.concatenate([said, pause]) for _ in range(times)]))


def samples_of(path: Path) -> np.ndarray:
    with fake_service() as service:
        return service.decode(path).samples


def waited(tell: Callable[[], Any], within_s: float = 60.0) -> Any:
    """Return what is true at last."""
    end = time.monotonic() + within_s
    while not (told := tell()) and time.monotonic() < end:
        time.sleep(0.2)
    return told


def test_a_recording_put_to_s3_becomes_words_and_a_webhook(stack: Stack, prompts: list[Prompt]) -> None:
    """Upload, S3, SQS, plan, an inline Map, merge, DynamoDB, webhook; and the same events again and again."""
    prompt = next(p for p in prompts if p.path.stem == "es-followme-status")
    recording = repeated(prompt, 3, 28.0)
    job_id, url, headers = stack.hand_in(recording, webhook=stack.hook)
    assert stack.executions(job_id) == []  # nothing runs before the recording is there

    httpx2.put(url, content=recording, headers=headers).raise_for_status()
    job = stack.ended(job_id)

    assert job["status"] == "completed", job
    assert job["progress"]["chunks"] == 3
    text = stack.text(job_id)
    assert len(text.split()) >= 3 * len(prompt.text.split()) * 0.8
    hook = waited(lambda: [h for h in stack.hooks if h["data"]["id"] == job_id])
    assert [h["type"] for h in hook] == ["job.completed"]
    assert waited(lambda: stack.executions(job_id)[0]["status"] == "SUCCEEDED")

    notice = {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"object": {"key": upload_key(job_id), "size": len(recording)}},
            }
        ]
    }
    sqs, queue = boto3.client("sqs"), stack.outputs["QueueUrl"]
    bodies = [json.dumps(notice)] * 10 + [json.dumps({"Event": "s3:TestEvent"})] * 3
    random.Random(5).shuffle(bodies)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda body: sqs.send_message(QueueUrl=queue, MessageBody=body), bodies))
    assert waited(lambda: emptied(queue), 120)

    assert len(stack.executions(job_id)) == 1
    assert stack.text(job_id) == text
    assert len([h for h in stack.hooks if h["data"]["id"] == job_id]) == 1


def upload_key(job_id: str) -> str:
    return f"uploads/{tenants.folder(tenants.of_user(USER))}/upl_{job_id.removeprefix('job_')}"


def emptied(queue: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return all(told[n] == "0" for n in names)


def test_many_chunks_are_read_from_s3_by_a_distributed_map(stack: Stack, prompts: list[Prompt]) -> None:
    prompt = min(prompts, key=lambda p: p.path.stat().st_size if p.language == "es" else 10**9)
    recording = repeated(prompt, 41, 28.0)
    job_id, url, headers = stack.hand_in(recording)
    httpx2.put(url, content=recording, headers=headers, timeout=120).raise_for_status()
    job = stack.ended(job_id)

    assert job["status"] == "completed", job
    assert job["progress"]["chunks"] == 41
    said = prompt.text.split()[0].strip(",.").lower()
    assert stack.text(job_id).lower().count(said) >= 35
    assert waited(lambda: stack.executions(job_id)[0]["status"] == "SUCCEEDED")


def test_poison_is_set_aside_and_harms_nothing_beside_it(stack: Stack) -> None:
    sqs, queue, aside = boto3.client("sqs"), stack.outputs["QueueUrl"], stack.outputs["DeadLettersUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})  # as shipped: 360 s
    lost = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]}
    for body in ("no JSON at all", json.dumps(lost), json.dumps({"job": "job_nobodys"})):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Event": "s3:TestEvent"}))

    def set_aside() -> bool:
        told = sqs.get_queue_attributes(QueueUrl=aside, AttributeNames=["ApproximateNumberOfMessages"])
        return told["Attributes"]["ApproximateNumberOfMessages"] == "3"

    assert waited(set_aside, 180)
    assert waited(lambda: emptied(queue))
