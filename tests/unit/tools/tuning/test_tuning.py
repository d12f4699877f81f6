"""The tuner: strategies and their address by hand, a local optimum that is known, Lambda on moto."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import socket
import struct
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from typer.testing import CliRunner

from prompts import FIXTURES
from whisper_lambda.adapters.boto import Client
from whisper_lambda.cli.app import app
from whisper_lambda.economy.prices import price_book
from whisper_lambda.errors import BadOption, BoundTooTight, RemoteFailed
from whisper_lambda.tools.random_weights import Shape, write_random_model
from whisper_lambda.tools.tuning import choosing, local, on_lambda, quota
from whisper_lambda.tools.tuning.choosing import Point
from whisper_lambda.tools.tuning.template import set_memory

POINTS = [Point(512, 4000.0, 4e-6, 5), Point(1024, 1500.0, 3e-6, 5), Point(2048, 1000.0, 6e-6, 5)]


def test_the_middle_of_the_runs_is_what_counts() -> None:
    """Of ten, the two least and the two most are left out: a cold start moves nothing."""
    assert choosing.trimmed_mean([1, 2, 3, 4, 5, 6, 7, 8, 900, 1000]) == 5.5
    assert choosing.trimmed_mean([7.0]) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        choosing.trimmed_mean([])


def test_a_point_is_priced_as_aws_prices_it() -> None:
    """1.5 s at 2 GB: 3 GB-s x 0.0000133334 and a request."""
    point = choosing.point(2048, [1.4996, 1.5, 1.5004], price_book(), "arm64")

    assert point.duration_ms == pytest.approx(1500.333, abs=0.001)
    assert point.usd == pytest.approx(1.501 * 2 * 0.0000133334 + 2e-7, rel=1e-9)


@pytest.mark.parametrize(
    ("strategy", "bounds", "memory_mb"),
    [
        ("cost", {}, 1024),
        ("speed", {}, 2048),
        ("balanced", {}, 1024),
        ("balanced", {"weight": 0.0}, 2048),
        ("balanced", {"weight": 1.0}, 1024),
        ("speed", {"max_usd": 5e-6}, 1024),
        ("cost", {"max_ms": 1200.0}, 2048),
    ],
)
def test_strategies_choose_what_they_say(strategy: Any, bounds: dict[str, float], memory_mb: int) -> None:
    assert choosing.best(POINTS, strategy, **bounds).memory_mb == memory_mb


def test_bounds_nothing_is_within_are_refused_with_what_there_is() -> None:
    with pytest.raises(BoundTooTight, match="quickest takes 1000 ms"):
        choosing.best(POINTS, "cost", max_ms=10.0)


def test_the_address_carries_sizes_milliseconds_and_dollars() -> None:
    columns = choosing.visualisation(POINTS[::-1]).split("#")[1].split(";")
    sizes, ms, usd = (base64.b64decode(c) for c in columns)

    assert struct.unpack("<3h", sizes) == (512, 1024, 2048)
    assert struct.unpack("<3f", ms) == (4000.0, 1500.0, 1000.0)
    assert struct.unpack("<3f", usd) == pytest.approx((4e-6, 3e-6, 6e-6))


STUB = """
import json, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"seconds": float(sys.argv[1])}), flush=True)
"""


def test_the_local_sweep_finds_a_known_optimum(tmp_path: Path) -> None:
    """A program that gains from memory up to 1,769 MB and not beyond: that is where it is cheapest."""
    (tmp_path / "stub.py").write_text(STUB)
    takes = {512: 6.0, 1024: 2.9, 1769: 1.6, 3538: 1.5}
    sides = {"stub": lambda mb: [sys.executable, str(tmp_path / "stub.py"), str(takes[mb])]}

    found = local.sweep(sides, list(takes), [{"audio": "a"}, {"audio": "b"}], audio_s=60.0, rounds=3)

    points = [choosing.point(m.memory_mb, m.seconds, price_book(), "x86_64") for m in found]
    assert [m.seconds for m in found] == [(2 * t,) * 3 for t in takes.values()]
    assert choosing.best(points, "cost").memory_mb == 1769
    assert choosing.best(points, "speed").memory_mb == 3538
    assert choosing.best(points, "balanced").memory_mb == 1769


def test_random_weights_say_so_many_tokens_surely_and_then_end(tmp_path: Path) -> None:
    """What makes them a stand-in for time: no loop, no doubt, and as many steps as words would take."""
    (tmp_path / "like").mkdir()
    (tmp_path / "like" / "config.json").write_text(
        '{"lang_ids": [50259], "suppress_ids": [], "suppress_ids_begin": []}'
    )
    names = {50_257: "<|endoftext|>", 50_258: "<|startoftranscript|>", 50_363: "<|notimestamps|>"}
    (tmp_path / "like" / "vocabulary.txt").write_text("".join(f"{names.get(n, n)}\n" for n in range(51_865)))
    write_random_model(tmp_path / "m", Shape(64, 1, 1, 2), tmp_path / "like", says=17)
    model = ctranslate2.models.Whisper(str(tmp_path / "m"), compute_type="int8")
    heard = ctranslate2.StorageView.from_array(np.zeros((1, 80, 3000), np.float32))

    for beam in (1, 5):
        [said] = model.generate(heard, [[50258, 50259, 50359, 50363]], beam_size=beam, return_scores=True)
        assert len(set(said.sequences_ids[0])) == 17
        assert said.scores[0] > -0.5


def test_on_a_shared_machine_processor_time_stands_for_the_clocks() -> None:
    """Half a core takes twice as long; two threads on two cores half as long."""
    reckoned = [local.Measured("a", mb, "", (99.0,), (3.0,), 10.0).reckoned_s[0] for mb in (885, 1769, 3538)]

    assert reckoned == pytest.approx([6.0, 3.0, 1.5], rel=0.01)


def test_threads_that_were_asked_for_are_what_processor_time_is_shared_by() -> None:
    """One thread at two cores' worth of memory uses one of them."""
    one = local.Measured("a", 3538, "", (99.0,), (3.0,), 10.0, threads=1)
    two = local.Measured("a", 3538, "", (99.0,), (3.0,), 10.0, threads=2)

    assert (one.reckoned_s, two.reckoned_s) == ((3.0,), (1.5,))


def test_what_cannot_be_written_in_the_end_is_said_before_anything_is_heard(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("Resources: {}\n")
    recording = str(FIXTURES / "es-tt-allbusy.flac")
    told = CliRunner().invoke(app, ["tune", recording, "--write-template", str(tmp_path / "t.yaml")])

    assert isinstance(told.exception, BadOption)
    assert "MemorySize" in str(told.exception)
    assert " MB: " not in told.output, "no run was made"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--quality", "perfect"],
        ["--threads", "many"],
        ["--memory", "64"],
        ["-m", "base,tiny.en", "--random-weights"],
        ["-m", "tiny.en", "--against-faster-whisper"],
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_starts(wrong: list[str]) -> None:
    told = CliRunner().invoke(app, ["tune", str(FIXTURES / "es-tt-allbusy.flac"), *wrong])

    assert isinstance(told.exception, BadOption)


@pytest.mark.model
def test_tiers_and_qualities_are_swept_side_by_side(tmp_path: Path) -> None:
    command = ["tune", str(FIXTURES / "en-ss-noservice.flac"), "-l", "en", "-m", "base,tiny.en"]
    how = [
        "--quality",
        "balanced,fast",
        "--memory",
        "1769",
        "--runs",
        "1",
        "--json",
        str(tmp_path / "o.json"),
    ]
    told = CliRunner().invoke(app, command + how)

    assert told.exit_code == 0, told.output
    found = json.loads((tmp_path / "o.json").read_text())
    assert set(found["usd_per_audio_hour"]) == {
        f"whisper-lambda {model} {quality}"
        for model in ("base", "tiny.en")
        for quality in ("balanced", "fast")
    }
    assert found["power"] == 1769


SPIN = """
import json, os, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    started, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.15: pass
    print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)
"""


def test_a_small_size_gets_little_processor_time(tmp_path: Path) -> None:
    """0.15 s of work at a tenth of a core takes 1.5 s of the clock; where no quota can be made, skip."""
    (tmp_path / "spin.py").write_text(SPIN)
    with quota.held_to(177, "probe") as (_, enforced):
        if "quota" not in enforced:
            pytest.skip(enforced)
    command = [sys.executable, str(tmp_path / "spin.py")]

    [small] = local.sweep({"spin": lambda mb: command}, [177], [{}], audio_s=1.0, rounds=1)

    assert small.seconds[0] > 1.0
    assert small.enforced == "CPU quota of 0.10 cores"
    assert list(Path("/sys/fs/cgroup").glob(f"**/whisper-lambda-tune-{os.getpid()}-*")) == []


def test_where_no_cgroup_can_be_made_the_cores_are_bound_and_that_is_told(tmp_path: Path) -> None:
    with quota.held_to(1769, "x", cgroup=tmp_path) as (_, enforced):
        assert enforced == "bound to 1 cores (no cgroup to be had)"


# --- on Lambda ---


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        ("REPORT RequestId: 1\tDuration: 1234.5 ms\tBilled Duration: 1235 ms\tMemory Size: 512 MB", 1.235),
        ('x\n{"type":"platform.report","record":{"metrics":{"billedDurationMs":77}}}\n', 0.077),
    ],
)
def test_billed_durations_are_read_from_either_form_of_log(log: str, seconds: float) -> None:
    assert on_lambda.billed_s(log) == seconds


def test_a_log_without_a_report_is_an_error() -> None:
    with pytest.raises(RemoteFailed, match="no billed duration"):
        on_lambda.billed_s('{"type":"platform.start"}\nhello')


class Recorded:
    """moto's client, but for `invoke`: moto runs no code, so billed durations are made up by size."""

    def __init__(self, client: Any, billed_ms: dict[int, int], fails_at: int = 0) -> None:
        self._client, self._billed, self._fails_at = client, billed_ms, fails_at
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def invoke(self, **asked: Any) -> dict[str, Any]:
        version = self._client.get_alias(FunctionName=asked["FunctionName"], Name=asked["Qualifier"])[
            "FunctionVersion"
        ]
        size = self._client.get_function_configuration(FunctionName="fn", Qualifier=version)["MemorySize"]
        if size == self._fails_at:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "no"}')}
        log = f"REPORT Billed Duration: {self._billed[size]} ms"
        return {"LogResult": base64.b64encode(log.encode()).decode(), "Payload": io.BytesIO(b"{}")}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    moto = pytest.importorskip("moto", reason="AWS's stand-in; the test requirements have it")
    boto3 = pytest.importorskip("boto3", reason="the extra `aws`; the test requirements have it")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        trust = {"Version": "2012-10-17", "Statement": []}
        role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as file:
            file.writestr("f.py", "def h(e, c): return e")
        client = boto3.client("lambda")
        client.create_function(
            FunctionName="fn", Runtime="python3.12", Role=role["Role"]["Arn"], Handler="f.h",
            Code={"ZipFile": code.getvalue()}, MemorySize=256,
        )  # fmt: skip
        yield client


def left(aws: Any) -> tuple[list[str], list[str], int]:
    aliases = [a["Name"] for a in aws.list_aliases(FunctionName="fn")["Aliases"]]
    versions = [v["Version"] for v in aws.list_versions_by_function(FunctionName="fn")["Versions"]]
    return aliases, versions, aws.get_function_configuration(FunctionName="fn")["MemorySize"]


def test_a_function_is_tried_at_each_size_and_left_as_it_was(aws: Any) -> None:
    billed = {512: 4000, 1024: 2000, 2048: 1900}

    found = on_lambda.sweep("fn", list(billed), b"{}", runs=2, client=Recorded(aws, billed))

    assert found == {512: [4.0, 4.0], 1024: [2.0, 2.0], 2048: [1.9, 1.9]}
    assert left(aws) == ([], ["$LATEST"], 256)


def test_a_run_that_fails_leaves_nothing_behind(aws: Any) -> None:
    with pytest.raises(RemoteFailed, match="errorMessage"):
        on_lambda.sweep("fn", [512, 1024], b"{}", client=Recorded(aws, {512: 1}, fails_at=1024))

    assert left(aws) == ([], ["$LATEST"], 256)


def test_a_version_that_was_there_is_not_removed(aws: Any) -> None:
    """AWS publishes no second version of what has not changed: it names the last one again."""

    class Unchanged(Recorded):
        def publish_version(self, **_: Any) -> dict[str, Any]:
            return {"Version": "1"}

    aws.publish_version(FunctionName="fn")

    on_lambda.sweep("fn", [256], b"{}", runs=1, client=Unchanged(aws, {256: 1}))

    assert left(aws) == ([], ["$LATEST", "1"], 256)


def test_what_cannot_be_removed_keeps_the_rest_from_nothing(aws: Any) -> None:
    class Locked(Recorded):
        def delete_alias(self, **what: Any) -> None:
            if what["Name"] in [a["Name"] for a in aws.list_aliases(FunctionName="fn")["Aliases"]]:
                raise PermissionError("not yours")

    with pytest.raises(PermissionError):
        on_lambda.sweep("fn", [512], b"{}", runs=1, client=Locked(aws, {512: 1}))

    assert left(aws)[2] == 256, "the memory is what it was"


def test_an_invocation_whose_answer_is_lost_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have run, and would be billed beside the second."""
    pytest.importorskip("boto3", reason="the extra `aws`; the test requirements have it")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.getsockname()[1]}")
        came: list[bytes] = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = server.accept()
                    with line:
                        came.append(line.recv(65_536))

        threading.Thread(target=hang_up, daemon=True).start()
        client = Client("lambda", once=True)()
        with pytest.raises(Exception, match="closed"):
            client.invoke(FunctionName="fn", Payload=b"{}")

    assert len(came) == 1
    assert client.meta.config.read_timeout > 900


def test_a_function_that_is_not_there_is_named(aws: Any) -> None:
    with pytest.raises(BadOption, match="nobody"):
        on_lambda.sweep("nobody", [512], b"{}", client=Recorded(aws, {}))


def test_the_chosen_size_is_written_into_the_template_and_nothing_else(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[4] / "deploy" / "template.yaml"
    copy = tmp_path / "template.yaml"
    copy.write_text(shipped.read_text("utf-8"))

    set_memory(copy, 1770)

    before, after = shipped.read_text("utf-8").splitlines(), copy.read_text().splitlines()
    assert [a for b, a in zip(before, after, strict=True) if a != b] == ["    Default: 1770"]


def test_a_template_without_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("Resources: {}\n")
    with pytest.raises(BadOption, match="no memory parameter"):
        set_memory(tmp_path / "t.yaml", 1770)
