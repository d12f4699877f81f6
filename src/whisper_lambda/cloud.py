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
    """Whether jobs are kept on AWS: one place named means all three must be.

    Raises:
        BadOption: some of bucket, table and state machine are named, and not all.
    """
    named = {
        "BUCKET": settings.bucket,
        "TABLE": settings.table,
        "STATE_MACHINE": settings.state_machine,
    }
    if not settings.table and not settings.state_machine:
        return False  # a bucket alone holds cache and uploads
    if missing := [name for name, value in named.items() if not value]:
        raise BadOption(
            f"jobs on AWS need a bucket, a table and a state machine: set WHISPER_LAMBDA_{missing[0]} too"
        )
    return True


def open_desk(settings: Settings) -> Desk:
    """Return a desk that takes jobs and has Step Functions do them.

    Raises:
        BadOption: a place they need is not named.
    """
    if not on_aws(settings) or not (settings.bucket and settings.table and settings.state_machine):
        raise BadOption("jobs on AWS need WHISPER_LAMBDA_BUCKET, ..._TABLE and ..._STATE_MACHINE")
    return Desk(
        DynamoJobStore(settings.table, keep_s=settings.jobs_keep_s),
        S3Objects(settings.bucket, scratch=settings.scratch),
        settings,
        StepFunctionsFanout(settings.state_machine, at_once=settings.chunks_at_once),
    )
