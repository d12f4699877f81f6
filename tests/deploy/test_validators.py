"""The template before AWS's own linters, checkov, and the transform that CloudFormation runs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cfn import DEPLOY, of_type, policies

pytestmark = pytest.mark.aws

BIN = Path(__file__).parents[2] / ".venv-aws" / "bin"
TEMPLATE = str(DEPLOY / "template.yaml")
OFFLINE = {"AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0", "PYTHONWARNINGS": "ignore"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **OFFLINE}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], capture_output=True, text=True, env=env, check=False
    )


def transformed(image: str) -> dict[str, Any]:
    done = run("python", str(Path(__file__).parent / "transformed.py"), image)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout[done.stdout.index("{") :])["Resources"]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return transformed("repository@sha256:" + "1" * 64)


def test_sam_takes_it() -> None:
    done = run("sam", "validate", "--lint", "-t", TEMPLATE)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid SAM Template" in done.stdout


def test_cfn_lint_finds_nothing() -> None:
    done = run("cfn-lint", "-t", TEMPLATE)

    assert (done.returncode, done.stdout) == (0, "")


def test_checkov_finds_nothing_that_was_not_skipped_for_a_reason() -> None:
    done = run("checkov", "-f", TEMPLATE, "--framework", "cloudformation", "-o", "json")
    results = json.loads(done.stdout[done.stdout.index("{") :])

    assert results["summary"]["failed"] == 0, results["results"]["failed_checks"]
    assert results["summary"]["passed"] > 80
    skipped = results["results"]["skipped_checks"]
    assert [c["check_id"] for c in skipped if not c["check_result"]["suppress_comment"]] == []


def test_the_alias_has_the_url_and_both_permissions(resources: dict[str, Any]) -> None:
    (url,) = of_type(resources, "AWS::Lambda::Url").values()
    granted = [
        (p["Action"], p.get("FunctionUrlAuthType"), p.get("InvokedViaFunctionUrl"))
        for p in of_type(resources, "AWS::Lambda::Permission").values()
        if p["FunctionName"] == url["TargetFunctionArn"] and p["Principal"] == "*"
    ]

    assert url["InvokeMode"] == "RESPONSE_STREAM"
    assert resources[url["TargetFunctionArn"]["Ref"]]["Type"] == "AWS::Lambda::Alias"
    assert sorted(granted, key=str) == sorted(
        [("lambda:InvokeFunctionUrl", "NONE", None), ("lambda:InvokeFunction", None, True)], key=str
    )


def test_nothing_managed_and_nothing_wild_is_granted(resources: dict[str, Any]) -> None:
    """SAM adds a managed policy to each role it makes; here it makes none."""
    roles = of_type(resources, "AWS::IAM::Role")

    assert [n for n, r in roles.items() if r.get("ManagedPolicyArns")] == []
    assert [a for _, s in policies(resources) for a in s["Action"] if a == "*" or a.endswith(":*")] == []


def test_every_function_is_within_what_lambda_gives(resources: dict[str, Any]) -> None:
    parameters = {"ApiMemoryMb", "ChunkMemoryMb", "ApiTimeoutS"}  # bounded where they are declared
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        for value, most in ((function["MemorySize"], 10_240), (function["Timeout"], 900)):
            assert value["Ref"] in parameters if isinstance(value, dict) else value <= most, name
        snapped = function.get("SnapStart", {}).get("ApplyOn") not in (None, "None")
        assert function["EphemeralStorage"]["Size"] <= (512 if snapped else 10_240), name


def test_another_image_is_another_version(resources: dict[str, Any]) -> None:
    """An alias of a version that is not published again would go on with the old image."""
    other = transformed("repository@sha256:" + "2" * 64)
    before, after = (set(of_type(r, "AWS::Lambda::Version")) for r in (resources, other))

    assert {n.split("Version")[0] for n in before & after} == {"KillFunction"}  # it has no image
    assert all(
        r["DeletionPolicy"] == "Delete" for r in resources.values() if r["Type"] == "AWS::Lambda::Version"
    )
