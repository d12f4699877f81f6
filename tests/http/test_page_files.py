"""GET / and its files: what a browser may do with them, who may have them, and how much they weigh."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx2
import pytest

import whisper_lambda.http.page.files
from fakes import fake_service
from serving import client, served
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.keys import key_file, new_key
from whisper_lambda.http.page.files import page_files, sent

MOST_BYTES = 150_000  # of all files together, unpacked, as they are written
MOST_BYTES_SENT = 145_000  # the same, without indentation and comments
ASSETS = Path(whisper_lambda.http.page.files.__file__).parent / "assets"
ROOT = Path(__file__).parents[2]


def test_the_page_may_use_nothing_but_its_own_files(http: httpx2.Client) -> None:
    page = http.get("/")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))

    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"


def test_every_file_the_page_names_is_there_and_may_be_kept_for_ever(http: httpx2.Client) -> None:
    named = set(re.findall(r'(?:href|src)="(page/[^"]+)"', http.get("/").text))
    answers = {name: http.get(f"/{name}") for name in named}

    assert len(named) > 4
    assert {a.status_code for a in answers.values()} == {200}
    assert {a.headers["cache-control"] for a in answers.values()} == {"public, max-age=31536000, immutable"}
    assert (
        answers[next(n for n in named if n.endswith(".js"))]
        .headers["content-type"]
        .startswith("text/javascript")
    )
    assert (
        answers[next(n for n in named if n.endswith(".css"))].headers["content-type"].startswith("text/css")
    )


def test_every_module_that_is_imported_exists() -> None:
    files = page_files().named
    imported = {
        m for f in files.values() for m in re.findall(r"""['"]\./([\w-]+\.js)['"]""", f.body.decode())
    }

    assert imported - set(files) == set()


def test_the_page_itself_is_asked_for_each_time_and_sent_when_it_changed(http: httpx2.Client) -> None:
    page = http.get("/")
    again = http.get("/", headers={"If-None-Match": page.headers["etag"]})

    assert page.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/", headers={"If-None-Match": '"another"'}).status_code == 200


def test_a_file_of_another_release_is_not_mixed_in(http: httpx2.Client) -> None:
    refused = http.get("/page/000000000000/main.js")

    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "path", ["/page/x/../../app.py", "/page/x/..%2fapp.py", "/page//main.js", "/page/x/"]
)
def test_nothing_beside_the_page_is_served(http: httpx2.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_all_of_it_weighs_less_than_a_photograph() -> None:
    files = page_files()
    bytes_of = {name: len(f.body) for name, f in files.named.items()} | {"index.html": len(files.index.body)}

    assert sum(bytes_of.values()) < MOST_BYTES_SENT, bytes_of
    assert sum(f.stat().st_size for f in ASSETS.iterdir()) < MOST_BYTES


def test_no_text_of_many_lines_loses_anything_when_it_is_sent() -> None:
    """Only whole lines between code are comments: a text in backquotes has neither those nor indentation."""
    for written in ASSETS.glob("*.js"):
        text, inside = written.read_text(encoding="utf-8"), False
        for line in text.splitlines():
            assert not (inside and re.match(r"\s+\S|\s*//", line)), f"{written.name}: {line}"
            if not line.strip().startswith("//"):
                inside ^= line.count("`") % 2 == 1
        assert not inside
        assert sent(text.encode()).count(b"\n") == text.count("\n")


def test_it_names_no_other_site() -> None:
    files = page_files()
    addresses = {
        address
        for f in (files.index, *files.named.values())
        for address in re.findall(rb"(?:https?:)?//[a-z0-9-]+\.[a-z0-9.]+", f.body)
    }

    assert addresses <= {b"http://www.w3.org"}  # the name of SVG


def test_no_module_makes_markup_of_text() -> None:
    doors = re.compile(
        rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    )

    assert [name for name, f in page_files().named.items() if doors.search(f.body)] == []


def test_the_page_is_told_what_this_server_can_do(http: httpx2.Client) -> None:
    facts = http.get("/page/facts").json()

    assert facts["realtime"] is True
    assert {"tiny", "base", "small"} <= set(facts["models"])


def test_with_keys_the_page_loads_and_its_questions_are_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, probe_every_s=0)
    key_file(settings).add(new_key("ana", time.time())[1])
    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings, gates=Gates.of(service, settings))) as address,
        client(address) as http,
    ):
        script = re.search(r'src="(page/[^"]+)"', http.get("/").text)
        assert script
        assert http.get(f"/{script[1]}").status_code == 200
        assert http.get("/page/facts").json()["max_upload_mb"] == 512
        assert http.get("/v1/models").status_code == 401
        assert http.post("/").status_code == 401
        assert http.post("/page/facts").status_code == 401


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    packed = {Path(n).name for n in zipfile.ZipFile(wheel).namelist() if "/http/page/assets/" in n}

    assert packed == {*page_files().named, "index.html"}
