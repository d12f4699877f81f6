"""Servers that hear with a FakeEngine: what they pass on is what is tested here."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from openai import OpenAI

from fakes import FakeEngine, fake_service
from serving import client, sdk, served
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def address(engine: FakeEngine) -> Iterator[str]:
    settings = Settings()
    with fake_service(engine, settings) as service, served(create_app(service, settings)) as address:
        yield address


@pytest.fixture(scope="session")
def openai(address: str) -> Iterator[OpenAI]:
    with sdk(address) as openai:
        yield openai


@pytest.fixture
def http(address: str) -> Iterator[httpx2.Client]:
    with client(address) as http:
        yield http
