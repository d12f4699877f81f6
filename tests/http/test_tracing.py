"""Spans and metrics, where the operator wants them: of requests, and never of what was said or asked."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakes import fake_service
from serving import wav
from whisper_lambda.config import Settings
from whisper_lambda.http import tracing
from whisper_lambda.http.app import create_app

CANARY = "pelican"


def spans_of(tmp_path: Path, *, on: bool, aside: bool = True) -> list[str]:
    """Ask once, with a word in the query; return what each span says."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings = Settings(home=tmp_path, opentelemetry=on)
    with fake_service(settings=settings) as service:
        app = create_app(service, settings)
        assert isinstance(app, FastAPI) == on  # only FastAPI would trace
        if isinstance(app, FastAPI):
            app._telemetry["tracer_provider"] = provider
        client = TestClient(tracing.QueryAside(app) if aside else app)
        answer = client.post(
            f"/v1/audio/transcriptions?prompt={CANARY}&language=es",
            content=wav(),
            headers={"Content-Type": "audio/wav", "Host": "localhost"},
        )

    assert answer.json()["text"] == "Hola a todos."
    return [f"{span.name} {dict(span.attributes or {})}" for span in exporter.get_finished_spans()]


def test_requests_leave_spans_that_hold_no_word_of_their_query(tmp_path: Path) -> None:
    spans = spans_of(tmp_path, on=True)

    assert any("/v1/audio/transcriptions" in span for span in spans), spans
    assert CANARY not in "".join(spans)


def test_the_query_would_be_told_if_it_did_not_step_aside(tmp_path: Path) -> None:
    assert CANARY in "".join(spans_of(tmp_path, on=True, aside=False))


def test_nothing_is_traced_unless_it_is_wished_for(tmp_path: Path) -> None:
    assert spans_of(tmp_path, on=False) == []
