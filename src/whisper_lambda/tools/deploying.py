"""Doing what `deployment` says: docker and sam as programs, ECR, CloudFormation and Lambda by boto3."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from whisper_lambda.adapters.boto import Client, code_of, failures
from whisper_lambda.errors import BadOption, StorageFailed
from whisper_lambda.tools.deployment import Deployment, build, local_tag, push, shown

HOLD_S = 2.0  # each environment is kept busy for so long: the others have begun by then


def run(command: Sequence[str], *, stdin: str | None = None) -> None:
    """Run a program with this terminal's output.

    Raises:
        BadOption: it is not installed.
        StorageFailed: it failed; what it said is on the terminal.
    """
    if not shutil.which(command[0]):
        raise BadOption(f"{command[0]} is not installed: docs/deploy.md says what is needed")
    done = subprocess.run(command, input=stdin, text=True, check=False)
    if done.returncode:
        raise StorageFailed(f"{command[0]} failed with exit code {done.returncode}: {shown(command)[:200]}")


def push_image(to: Deployment) -> str:
    """Send the image to ECR, making its repository if need be; return it by digest."""
    ecr = Client("ecr", to.region)()
    _repository(ecr, to.repository)
    granted = ecr.get_authorization_token()["authorizationData"][0]
    registry = granted["proxyEndpoint"].removeprefix("https://")
    user, _, password = base64.b64decode(granted["authorizationToken"]).decode().partition(":")
    run(["docker", "login", "--username", user, "--password-stdin", registry], stdin=password)
    for command in push(to, registry):
        run(command)
    return image_uri(to)


def image_uri(to: Deployment) -> str:
    """Return the image in ECR, by digest.

    Raises:
        BadOption: it was never pushed.
    """
    ecr = Client("ecr", to.region)()
    tag = local_tag(to).partition(":")[2]
    try:
        found = ecr.describe_images(repositoryName=to.repository, imageIds=[{"imageTag": tag}])
        uri = ecr.describe_repositories(repositoryNames=[to.repository])["repositories"][0]["repositoryUri"]
    except Exception as cause:
        if code_of(cause) in {"ImageNotFoundException", "RepositoryNotFoundException"}:
            raise BadOption(f"ECR has no {local_tag(to)}: whisper-lambda deploy push") from cause
        raise
    return f"{uri}@{found['imageDetails'][0]['imageDigest']}"


def _repository(ecr: Any, name: str) -> None:  # noqa: ANN401 - boto3 makes its clients' types at run time
    try:
        ecr.create_repository(
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": True},
            encryptionConfiguration={"encryptionType": "AES256"},
        )
    except Exception as cause:
        if code_of(cause) != "RepositoryAlreadyExistsException":
            raise
    # Two images are kept: the one that runs and the one before it.
    rule = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 2}
    policy = {"rules": [{"rulePriority": 1, "selection": rule, "action": {"type": "expire"}}]}
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps(policy))


def built(to: Deployment) -> None:
    """Build the image on this machine."""
    run(build(to))


def outputs(to: Deployment) -> dict[str, str]:
    """Return what the stack tells of itself.

    Raises:
        BadOption: there is no such stack.
    """
    with failures("CloudFormation"):
        try:
            asked = Client("cloudformation", to.region)().describe_stacks(StackName=to.stack)
        except Exception as cause:
            if code_of(cause) == "ValidationError":
                raise BadOption(
                    f"there is no stack {to.stack} in {to.region}: whisper-lambda deploy apply"
                ) from cause
            raise
    stack = asked["Stacks"][0]
    told = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", ())}
    return {"Status": stack["StackStatus"], **told}


def status(to: Deployment) -> dict[str, str]:
    """Return how the stack and its API function are, and whether the kill switch is thrown."""
    told = outputs(to)
    name = told.get("ApiFunctionName")
    if name:
        kept = Client("lambda", to.region)().get_function_concurrency(FunctionName=name)
        reserved = kept.get("ReservedConcurrentExecutions")
        told["ApiAtOnce"] = "not reserved" if reserved is None else str(reserved)
        if reserved == 0:
            told["KillSwitch"] = "THROWN: nothing runs; look at the bill, then whisper-lambda deploy apply"
    return told


def warm(to: Deployment, count: int) -> dict[str, Any]:
    """Have the API function really decode in so many environments at once; return what they say.

    Each call holds its environment until the others must have begun (aws/warm.py), so that they are distinct.
    """
    alias, client = outputs(to)["ApiAlias"], Client("lambda", to.region, once=True)()

    def one(_: int) -> dict[str, Any]:
        ask = {"warm": 1, "hold_s": HOLD_S if count > 1 else 0.0}
        answer = client.invoke(FunctionName=alias, Payload=json.dumps(ask).encode())
        told: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise StorageFailed(f"the function failed: {told.get('errorMessage', '')}")
        return told

    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(one, range(count)))
    ids = sorted({e for answer in answers for e in answer.get("environments", ())})
    return {
        "asked": count,
        "environments": ids,
        "decoded": all(answer.get("decoded") for answer in answers),
        "took_s": max(answer.get("took_s", 0.0) for answer in answers),
        "init_type": sorted({str(answer.get("init_type")) for answer in answers}),
    }


def remove_data(to: Deployment, bucket: str) -> int:
    """Empty and delete the bucket that outlives its stack; return how many objects it held."""
    s3, count = Client("s3", to.region)(), 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [{"Key": found["Key"]} for found in page.get("Contents", ())]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
            count += len(keys)
    s3.delete_bucket(Bucket=bucket)
    return count
