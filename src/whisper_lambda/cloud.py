"""Settings in; stores on AWS, and a desk whose jobs Step Functions has done, out.

What `staffing` is to workers of one's own, to Lambda. boto3 is loaded by the first use of a store.
"""

from __future__ import annotations

from whisper_lambda.adapters.dynamodb import DynamoJobStore
from whisper_lambda.adapters.s3 import S3Objects
from whisper_lambda.adapters.stepfunctions import StepFunctionsFanout
from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption
from whisper_lambda.jobs.desk import Desk


def on_aws(settings: Settings) -> bool:
    """Whether jobs are kept on AWS: a table is named."""
    return settings.table is not None


def open_desk(settings: Settings) -> Desk:
    """Return a desk whose jobs Step Functions has done.

    Where no state machine is named, jobs are not begun here: the functions that do a job's parts are
    called by the machine, and cannot be told of it before it is made.

    Raises:
        BadOption: no table is named, or no bucket.
    """
    if not settings.table or not settings.bucket:
        raise BadOption(
            "jobs on AWS need a bucket and a table: WHISPER_LAMBDA_BUCKET and WHISPER_LAMBDA_TABLE"
        )
    machine = settings.state_machine
    return Desk(
        DynamoJobStore(settings.table, keep_s=settings.jobs_keep_s),
        S3Objects(settings.bucket, scratch=settings.scratch),
        settings,
        StepFunctionsFanout(machine, at_once=settings.chunks_at_once) if machine else None,
    )
