"""/docs and /openapi.json say what is there, and the page needs no other site."""

from __future__ import annotations

import re

import httpx2
import pytest

ROUTES = ("/transcribe", "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/models", "/asr")


def test_the_page_loads_nothing_from_anywhere(http: httpx2.Client, address: str) -> None:
    page = http.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert re.findall(r"<script|<link|<img|@import|url\(", page.text) == []
    assert set(re.findall(r"https?://[^/\s<\"]+", page.text)) == {address}
    assert [route for route in ROUTES if route not in page.text] == []


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_a_monitor_may_ask_for_the_head_alone(http: httpx2.Client, path: str) -> None:
    head, whole = http.head(path), http.get(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


def test_the_document_names_every_field_and_our_errors(http: httpx2.Client) -> None:
    document = http.get("/openapi.json").json()
    form = document["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"][
        "multipart/form-data"
    ]

    assert {"file", "timestamp_granularities[]", "keywords[]", "chunking_strategy[type]", "hotwords"} <= set(
        form["schema"]["properties"]
    )
    assert form["schema"]["required"] == ["file"]
    assert "HTTPValidationError" not in str(document)
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "default" in operation["responses"]
