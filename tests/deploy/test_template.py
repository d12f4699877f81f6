"""What deploy/template.yaml promises, read from the file itself."""

import ast
import json
import re
from dataclasses import fields
from typing import Any

import pytest
from cfn import DEPLOY, listed, of_type, policies, template

from whisper_lambda.config import PREFIX, Settings

MOST_MB, MOST_S, MOST_TMP_MB, MOST_TMP_SNAPPED_MB = 10_240, 900, 10_240, 512
RESOURCES: dict[str, Any] = template()["Resources"]
PARAMETERS: dict[str, Any] = template()["Parameters"]
FUNCTIONS = of_type(RESOURCES, "AWS::Serverless::Function")


def most(value: Any) -> float:
    """Return a number, or the largest a parameter may be."""
    return PARAMETERS[value["Ref"]]["MaxValue"] if isinstance(value, dict) else value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_exceeds_what_lambda_gives(name: str) -> None:
    """Linters let 20 GB and 5,400 s pass: other kinds of functions have them."""
    tmp = template()["Globals"]["Function"]["EphemeralStorage"]["Size"]

    assert most(FUNCTIONS[name]["MemorySize"]) <= MOST_MB
    assert most(FUNCTIONS[name]["Timeout"]) <= MOST_S
    most_tmp = MOST_TMP_SNAPPED_MB if "SnapStart" in FUNCTIONS[name] else MOST_TMP_MB
    assert FUNCTIONS[name].get("EphemeralStorage", {"Size": tmp})["Size"] <= most_tmp


def test_the_url_streams_and_has_both_permissions() -> None:
    url = FUNCTIONS["ApiFunction"]["FunctionUrlConfig"]
    granted = {p["Action"]: p for p in of_type(RESOURCES, "AWS::Lambda::Permission").values()}
    alias = {"Ref": "ApiFunction.Alias"}

    assert url == {"AuthType": {"Ref": "UrlAuth"}, "InvokeMode": "RESPONSE_STREAM"}
    assert granted["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE"
    public = of_type({"U": RESOURCES["UrlInvokePermission"]}, "AWS::Lambda::Permission")["U"]
    assert public["InvokedViaFunctionUrl"] is True
    assert public["Action"] == "lambda:InvokeFunction"
    assert public["FunctionName"] == alias == granted["lambda:InvokeFunctionUrl"]["FunctionName"]
    assert {RESOURCES[n]["Condition"] for n in ("UrlPermission", "UrlInvokePermission")} == {"PublicUrl"}


def test_nobody_gets_a_wildcard() -> None:
    for role, statement in policies(RESOURCES):
        assert [a for a in listed(statement["Action"]) if "*" in a] == [], role
        if statement["Resource"] == "*":  # AWS offers no resource for these
            assert all(a.startswith("logs:") and "Log" in a + "Log" for a in listed(statement["Action"]))
            assert role == "StateMachineRole"


def test_the_api_may_call_itself_for_warm_ups_and_nothing_else() -> None:
    called = [
        (role, statement["Resource"])
        for role, statement in policies(RESOURCES)
        if "lambda:InvokeFunction" in listed(statement["Action"]) and role != "StateMachineRole"
    ]

    assert RESOURCES["ApiItself"]["Properties"]["RoleName"] == {"Ref": "ApiRole"}
    assert called == [("ApiItself", {"Fn::Sub": "${ApiFunction.Arn}:*"})]


def test_each_function_has_a_role_and_a_log_of_its_own_making() -> None:
    roles = [f["Role"]["Fn::GetAtt"][0] for f in FUNCTIONS.values()]

    assert len(set(roles)) == len(FUNCTIONS)
    assert all("LogGroup" in f["LoggingConfig"] for f in FUNCTIONS.values())
    assert all("RetentionInDays" in g for g in of_type(RESOURCES, "AWS::Logs::LogGroup").values())


def test_what_spends_money_is_bounded() -> None:
    for name in ("ApiFunction", "ChunkFunction", "EventsFunction"):
        assert "ReservedConcurrentExecutions" in FUNCTIONS[name]


def test_functions_start_from_published_versions_and_old_ones_go() -> None:
    everywhere = template()["Globals"]["Function"]

    assert everywhere["AutoPublishAlias"] == "live"
    assert everywhere["AutoPublishAliasAllProperties"] is True
    assert everywhere["VersionDeletionPolicy"] == "Delete"
    assert FUNCTIONS["ApiFunction"]["SnapStart"]["ApplyOn"]["Fn::If"][:2] == ["SnapApi", "PublishedVersions"]


def test_the_bucket_is_private_encrypted_and_forgets() -> None:
    bucket = RESOURCES["Bucket"]["Properties"]
    rules = {r["Id"]: r for r in bucket["LifecycleConfiguration"]["Rules"]}

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]
    assert {"uploads", "jobs", "cache", "broken-uploads"} == set(rules)
    assert RESOURCES["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_the_queue_outlives_its_function_and_sets_poison_aside() -> None:
    queue = RESOURCES["Queue"]["Properties"]
    source = FUNCTIONS["EventsFunction"]["Events"]["Uploads"]["Properties"]

    assert queue["VisibilityTimeout"] >= 6 * FUNCTIONS["EventsFunction"]["Timeout"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_every_setting_it_sets_is_a_setting() -> None:
    known = {PREFIX + f.name.upper() for f in fields(Settings)}
    everywhere = template()["Globals"]["Function"]["Environment"]["Variables"]
    given = {n for f in FUNCTIONS.values() for n in f.get("Environment", {}).get("Variables", {})}

    assert {n for n in {*given, *everywhere} if n.startswith("WHISPER_LAMBDA_")} <= known


def test_secrets_are_not_echoed() -> None:
    assert PARAMETERS["Keys"]["NoEcho"] is True


def test_every_check_left_out_says_why() -> None:
    skips = [s for r in RESOURCES.values() for s in r.get("Metadata", {}).get("checkov", {}).get("skip", ())]

    assert skips
    assert [s["id"] for s in skips if len(s.get("comment", "")) < len("because")] == []


def test_the_kill_switch_is_python_that_compiles() -> None:
    ast.parse(FUNCTIONS["KillFunction"]["InlineCode"])


MACHINE: dict[str, Any] = json.loads((DEPLOY / "statemachine.asl.json").read_text(encoding="utf-8"))
STATES: dict[str, Any] = MACHINE["States"]


def test_every_name_in_the_state_machine_is_given_by_the_template() -> None:
    wanted = set(re.findall(r"\$\{(\w+)\}", json.dumps(MACHINE)))

    assert set(RESOURCES["StateMachine"]["Properties"]["DefinitionSubstitutions"]) == wanted


def test_every_step_retries_and_every_failure_marks_the_job() -> None:
    for name, state in STATES.items():
        if name in {"Plan", "HearInline", "HearDistributed", "Merge"}:
            assert state["Catch"][0] == {
                "ErrorEquals": ["States.ALL"],
                "ResultPath": "$.failure",
                "Next": "MarkFailed",
            }, name
        inner = list(state.get("ItemProcessor", {}).get("States", {}).values())
        for task in [s for s in (state, *inner) if s["Type"] == "Task"]:
            assert task["Retry"], name


def test_few_chunks_go_inline_and_many_are_distributed_from_s3() -> None:
    few, many = STATES["HearInline"], STATES["HearDistributed"]
    (none, inline) = STATES["HowMany"]["Choices"]

    assert (none["NumericEquals"], inline["NumericLessThan"]) == (0, 40)
    assert few["ItemProcessor"]["ProcessorConfig"]["Mode"] == "INLINE"
    assert many["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    assert many["ItemReader"]["Resource"].endswith(":states:::s3:getObject")
    assert few["ItemSelector"] == many["ItemSelector"]


def test_no_chunk_outlasts_its_child_execution() -> None:
    """An EXPRESS execution ends after 300 s, whatever runs in it."""
    (each,) = STATES["HearDistributed"]["ItemProcessor"]["States"].values()

    assert FUNCTIONS["ChunkFunction"]["Timeout"] <= each["TimeoutSeconds"] < 300
