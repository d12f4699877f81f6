"""Fanout on AWS Step Functions: deploy/statemachine.asl.json calls the parts, each a Lambda function.

An execution bears its job's id, so that a job submitted twice is one execution. Its input holds the
id and nothing of whose it is: executions are kept for 90 days and cannot be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from whisper_lambda.adapters.boto import Client, code_of, failures
from whisper_lambda.job import Job

_WHAT = "Step Functions"


class StepFunctionsFanout:
    """Starts and stops executions of one state machine; see the port.

    Tenants' turns and priorities are not kept here: chunks of all jobs share the concurrency that is
    reserved for their function, and Step Functions tries again where that is used up.
    """

    def __init__(self, state_machine: str, *, at_once: int) -> None:
        """Name the machine; nothing is asked before it is needed.

        Args:
            state_machine: its ARN.
            at_once: most chunks of one job heard at the same time.
        """
        self._machine = state_machine
        self._at_once = at_once
        self._client = Client("stepfunctions")

    def submit(self, job: Job) -> None:
        """Have the job done; see the port.

        Raises:
            StorageFailed: Step Functions does not answer, or refuses us.
        """
        told = json.dumps({"job": job.id, "at_once": self._at_once})
        with failures(_WHAT):
            try:
                self._client().start_execution(stateMachineArn=self._machine, name=job.id, input=told)
            except Exception as cause:
                if code_of(cause) != "ExecutionAlreadyExists":  # it runs, or has ended
                    raise

    def cancel(self, job_id: str) -> None:
        """Stop the execution; a chunk under way is heard to its end and finds no place; see the port.

        Raises:
            StorageFailed: Step Functions does not answer, or refuses us.
        """
        with failures(_WHAT):
            try:
                self._client().stop_execution(executionArn=self._execution(job_id), cause="cancelled")
            except Exception as cause:
                if code_of(cause) not in {
                    "ExecutionDoesNotExist",
                    "ValidationException",
                }:  # never begun, or ended
                    raise

    def forget(self, job_ids: Sequence[str]) -> None:
        """Stop what may still run of these jobs. What AWS keeps of an execution is the job's id."""
        for job_id in job_ids:
            self.cancel(job_id)

    def close(self) -> None:
        """Give back connections; executions go on by themselves."""
        self._client.close()

    def _execution(self, job_id: str) -> str:
        return f"{self._machine.replace(':stateMachine:', ':execution:', 1)}:{job_id}"
