"""Whatever the document allows or forbids: no 5xx, and every refusal in the envelope (P6)."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from fakes import FakeEngine, fake_service
from serving import served
from whisper_lambda.config import Settings
from whisper_lambda.http import server
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates

SHORT = 40
CASES = int(os.environ.get("SCHEMA_CASES", SHORT))  # a route and mode; more for a long run
ENVELOPE = {"message", "type", "param", "code"}
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))
# Health and metrics have tests of their own; what takes no input cannot be sent a wrong one.
CALLS = [
    (path, method, mode)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for mode in GenerationMode
    if not path.startswith(("/health", "/metrics"))
    and (mode is GenerationMode.POSITIVE or "requestBody" in operation)
]


ANSWERS: Counter[int] = Counter()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `serve` does it: what is no HTTP at all is refused in our shape, and jobs and uploads are kept."""
    home = tmp_path_factory.mktemp("schema")
    config = Settings(home=home, probe_every_s=0, jobs_tenant_most=100_000)
    with (
        fake_service(FakeEngine(), config) as service,
        served(
            create_app(service, config, gates=Gates.of(service, config)),
            http=server.Connection,
            h11_max_incomplete_event_size=server.MOST_HEAD_BYTES,
        ) as address,
    ):
        yield address
    print(f"\n{ANSWERS.total():,} calls of {len(CALLS)} kinds: {dict(sorted(ANSWERS.items()))}")


@pytest.fixture(scope="module")
def schema(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), CALLS)
def test_no_call_is_answered_with_5xx_or_out_of_shape(
    schema: Any, address: str, path: str, method: str, mode: GenerationMode
) -> None:
    cases = schema[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=CASES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=CASES <= SHORT,  # `make test` makes the same calls every time
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def every_case(data: Any) -> None:
        try:
            case = data.draw(cases)
        except ValueError as cause:  # the generator now and then trips over a value it made itself
            if "Unsupported type" not in str(cause):
                raise
            reject()
        answer = case.call(base_url=address)
        ANSWERS[answer.status_code] += 1
        assert answer.status_code < 500, answer.content
        if answer.status_code >= 400 and method != "head":  # which has no body
            assert set(json.loads(answer.content)["error"]) == ENVELOPE
        assert "x-request-id" in answer.headers

    every_case()
