"""`whisper-lambda deploy`: what it would run and cost. The programs are stand-ins that note their call."""

import json
import re
import stat
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from clouds import moto
from whisper_lambda.cli import run
from whisper_lambda.economy.prices import price_book
from whisper_lambda.errors import BadOption
from whisper_lambda.http.keys import KeyFile, new_key
from whisper_lambda.tools import deploying, deployment
from whisper_lambda.tools.deployment import Deployment

ROOT = Path(__file__).parents[2]
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"size": 1, "digest": "sha256:" + "1" * 64},
        "layers": [],
    }
)
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/whisper-lambda@sha256:" + "0" * 64


def to(**parameters: str) -> Deployment:
    return Deployment(root=ROOT, parameters=parameters)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    KeyFile(path).add(new_key("me", time.time())[1])
    return path


@pytest.fixture
def sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `sam` that writes down what it was called with, a word a line."""
    said, program = tmp_path / "said", tmp_path / "bin" / "sam"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {said}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return said


def test_a_plan_names_every_type_and_what_silence_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "plan", "--root", str(ROOT)]) == 0

    told = capsys.readouterr().out
    assert "6 AWS::Serverless::Function" in told
    assert re.search(r"USD +11\.46 +SnapStart: a snapshot of 3008 MB", told)
    assert "kill switch" in told


def test_without_snapshots_silence_costs_what_watching_costs() -> None:
    costs = {
        c.what.split(":")[0].split()[0]: c.usd for c in deployment.at_rest(to(SnapStart="off"), price_book())
    }

    assert "SnapStart" not in costs
    assert costs["Lambda,"] == 0.0


def test_more_snapshots_cost_more() -> None:
    one, both = (
        sum(c.usd for c in deployment.at_rest(to(SnapStart=which), price_book()))
        for which in ("api", "api-and-chunk")
    )

    assert both - one == pytest.approx(11.46, abs=0.01)


def test_the_hours_alarm_is_below_what_an_hour_can_cost() -> None:
    """An alarm that cannot be reached guards nothing."""
    assert float(to().parameter("HourlyUsd")) < deployment.most_usd_an_hour(to(), price_book())


def test_nothing_reserved_is_no_bound() -> None:
    assert deployment.most_usd_an_hour(to(ApiAtOnce="0"), price_book()) == float("inf")


def test_the_build_names_platform_model_and_dockerfile() -> None:
    command = deployment.build(Deployment(root=ROOT, model="base", architecture="arm64", base="mine:1"))

    assert command[:4] == ["docker", "build", "--platform", "linux/arm64"]
    assert {"MODEL=base", "BASE=mine:1"} <= set(command)
    assert Path(command[command.index("-f") + 1]).is_file()


def test_apply_refuses_a_door_that_is_open_to_everybody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = ["--keys", str(tmp_path / "none.json"), "--root", str(ROOT), "--dry-run"]

    assert run(["deploy", "apply", *none]) == 2
    assert "no live API key" in capsys.readouterr().err
    assert run(["deploy", "apply", *none, "--set", "UrlAuth=AWS_IAM"]) == 0


def test_a_dry_run_shows_no_hash(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "apply", "--dry-run", "--keys", str(keys), "--root", str(ROOT)]) == 0

    told = capsys.readouterr().err
    digest = json.loads(keys.read_text())["keys"][0]["digest"]
    assert told.startswith("sam deploy --template-file")
    assert digest not in told


def test_sam_gets_image_keys_and_parameters(keys: Path, sam: Path) -> None:
    hashes = deployment.checked_keys(keys.read_text(), 1, signed=False)
    deploying.run(deployment.apply(to(SnapStart="off"), image=IMAGE, keys=hashes))

    words = sam.read_text().splitlines()
    assert words[0] == "deploy"
    assert f'ImageUri="{IMAGE}"' in words
    assert 'SnapStart="off"' in words
    given = next(w for w in words if w.startswith("Keys="))
    assert json.loads(json.loads(given.removeprefix("Keys="))) == json.loads(keys.read_text())


def test_what_fails_is_said_and_not_called_done(tmp_path: Path, sam: Path) -> None:
    program = sam.parent / "bin" / "sam"
    program.write_text("#!/bin/sh\nexit 3\n")

    with pytest.raises(Exception, match="exit code 3"):
        deploying.run(deployment.destroy(to()))


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BadOption, match="sam is not installed"):
        deploying.run(deployment.destroy(to()))


@pytest.mark.parametrize("pair", ["SnapStart", "Keys=x", "Nonsense=1", "ImageUri=x"])
def test_only_parameters_of_the_template_can_be_set(pair: str) -> None:
    with pytest.raises(BadOption, match="--set takes"):
        deployment.parsed([pair], ROOT)


def test_outside_a_checkout_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "plan", "--root", str(tmp_path)]) == 2
    assert "run this in a checkout" in capsys.readouterr().err


def test_a_stack_that_is_not_there_is_said_so() -> None:
    with moto(), pytest.raises(BadOption, match="there is no stack"):
        deploying.status(to())


def test_a_stack_is_looked_for_in_the_region_that_was_named() -> None:
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    with moto():
        boto3.client("cloudformation", region_name="eu-west-1").create_stack(
            StackName="whisper-lambda", TemplateBody=template
        )

        assert deploying.status(replace(to(), region="eu-west-1")) == {"Status": "CREATE_COMPLETE"}
        with pytest.raises(BadOption, match="no stack whisper-lambda in us-east-1"):
            deploying.status(to())


def test_the_image_is_named_by_digest() -> None:
    with moto():
        ecr = boto3.client("ecr")
        with pytest.raises(BadOption, match="deploy push"):
            deploying.image_uri(to())
        deploying._repository(ecr, "whisper-lambda")
        deploying._repository(ecr, "whisper-lambda")  # is there already
        ecr.put_image(repositoryName="whisper-lambda", imageTag="small-x86_64", imageManifest=MANIFEST)

        assert re.fullmatch(
            r"\d+\.dkr\.ecr\.us-east-1\.amazonaws\.com/whisper-lambda@sha256:[0-9a-f]{64}",
            deploying.image_uri(to()),
        )


def test_a_bucket_is_emptied_before_it_goes() -> None:
    with moto():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="kept")
        for number in range(3):
            s3.put_object(Bucket="kept", Key=str(number), Body=b"")

        assert deploying.remove_data(to(), "kept") == 3
        assert s3.list_buckets()["Buckets"] == []


def test_the_kill_switch_stops_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that the template ships, run as it stands."""
    code = re.search(
        r"      InlineCode: \|\n((?:        .*\n|\n)+)", (ROOT / deployment.TEMPLATE).read_text()
    )
    assert code
    named: dict[str, object] = {}
    exec(textwrap.dedent(code[1]), named)
    with moto():
        functions = boto3.client("lambda")
        role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        for name in ("api", "chunk"):
            functions.create_function(
                FunctionName=name,
                Role=role,
                PackageType="Image",
                Code={"ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/x@sha256:" + "0" * 64},
            )
        monkeypatch.setenv("FUNCTIONS", "api,chunk")
        named["handler"]({}, None)

        kept = [functions.get_function_concurrency(FunctionName=n) for n in ("api", "chunk")]
        assert [k["ReservedConcurrentExecutions"] for k in kept] == [0, 0]
