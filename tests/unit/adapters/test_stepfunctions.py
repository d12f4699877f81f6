"""StepFunctionsFanout before moto: executions bear their job's id, so twice is once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from clouds import moto
from whisper_lambda.adapters.stepfunctions import StepFunctionsFanout
from whisper_lambda.errors import StorageFailed
from whisper_lambda.job import Job, Order
from whisper_lambda.types import Options

WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 300, "End": True}}}
JOB = Job(
    id="job_7",
    tenant="ana@example.com",
    order=Order(options=Options()),
    source="jobs/x/source",
    size_bytes=3,
    created=1.0,
)


@dataclass
class Machine:
    fanout: StepFunctionsFanout
    arn: str
    client: Any

    def executions(self) -> list[dict[str, Any]]:
        return self.client.list_executions(stateMachineArn=self.arn)["executions"]

    def input_of(self, number: int) -> str:
        arn = self.executions()[number]["executionArn"]
        return self.client.describe_execution(executionArn=arn)["input"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with moto():
        client = boto3.client("stepfunctions")
        role = "arn:aws:iam::123456789012:role/states"
        made = client.create_state_machine(name="jobs", definition=json.dumps(WAITS), roleArn=role)
        arn = made["stateMachineArn"]
        yield Machine(StepFunctionsFanout(arn, at_once=20), arn, client)


def test_a_job_submitted_twice_is_one_execution(machine: Machine) -> None:
    machine.fanout.submit(JOB)
    machine.fanout.submit(JOB)

    assert [e["name"] for e in machine.executions()] == ["job_7"]


def test_an_execution_knows_the_job_and_not_whose_it_is(machine: Machine) -> None:
    """AWS keeps it for 90 days and deletes it for nobody."""
    machine.fanout.submit(JOB)

    assert json.loads(machine.input_of(0)) == {"job": "job_7", "at_once": 20}


def test_a_cancelled_job_is_stopped(machine: Machine) -> None:
    machine.fanout.submit(JOB)
    machine.fanout.cancel("job_7")

    assert [e["status"] for e in machine.executions()] == ["ABORTED"]


def test_cancelling_what_never_began_or_has_ended_is_nothing(machine: Machine) -> None:
    machine.fanout.cancel("job_never")
    machine.fanout.submit(JOB)
    machine.fanout.forget(["job_7", "job_never"])
    machine.fanout.cancel("job_7")

    assert [e["status"] for e in machine.executions()] == ["ABORTED"]


def test_a_machine_that_is_not_there_is_a_failure_of_storage(machine: Machine) -> None:
    gone = StepFunctionsFanout(machine.arn + "-gone", at_once=1)

    with pytest.raises(StorageFailed, match="StateMachineDoesNotExist"):
        gone.submit(JOB)
