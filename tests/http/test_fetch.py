"""`url`: off by default; then https, public addresses, redirects checked, size and time bounded."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import httpx2
import pytest
from test_hostile import ATTACKS

from fakes import fake_service
from serving import client, served, wav
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.network import Network

PUBLIC = "93.184.216.34"


class Site(BaseHTTPRequestHandler):
    """Answers with a recording, or as its path says."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/") or self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/drip":
            self.dripped(b"H", 60)
        elif self.path == "/gone":
            self.send_error(404)
        else:
            self.send_response(200)
            if self.path == "/short":
                self.send_header("Content-Length", "100000000")
            self.end_headers()
            self.dripped(bytes(1), 50) if self.path == "/slow" else self.wfile.write(self.content())

    def content(self) -> bytes:
        if self.path.startswith("/attack/"):
            return ATTACKS[unquote(self.path.removeprefix("/attack/"))][0]
        return bytes(3_000_000) if self.path == "/large" else wav()

    def dripped(self, drop: bytes, times: int) -> None:
        with contextlib.suppress(OSError):
            for _ in range(times):
                self.wfile.write(drop)
                time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, ssl.SSLContext]]:
    """An https server for media.example on the loopback, and who trusts it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate with")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=media",
         "-addext", "subjectAltName=DNS:media.example,DNS:half.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = identity.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    trust = ssl.create_default_context(cafile=str(certificate))
    yield server.server_address[1], trust
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def fetching(site: tuple[int, ssl.SSLContext]) -> Iterator[httpx2.Client]:
    """A server that fetches, for which media.example is a public address."""
    settings = Settings(
        fetch_urls=True, max_upload_mb=1, fetch_timeout_s=2.0, upload_memory_mb=0, max_audio_s=30.0
    )
    names = {
        "media.example": ["127.0.0.1"],
        "half.example": ["127.0.0.2", "127.0.0.3", "127.0.0.1"],
        "inside.example": ["10.0.0.7"],
        "both.example": [PUBLIC, "127.0.0.1"],
    }

    def resolve(host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            if host not in names:
                raise OSError(f"{host} is unknown") from None
            return names[host]

    plain = Network()
    network = Network(resolve, lambda ip: ip.startswith("127.0.0.") or plain.allowed(ip), site[1])
    real = Network(resolve, plain.allowed, site[1])
    with (
        fake_service(settings=settings) as service,
        served(create_app(service, settings, network=network)) as address,
        served(create_app(service, settings, network=real)) as strict,
        client(address) as http,
    ):
        http.headers["strict"] = strict
        yield http


def asked(http: httpx2.Client, url: str) -> httpx2.Response:
    return http.post("/v1/audio/transcriptions", data={"url": url})


def test_a_recording_is_fetched(fetching: httpx2.Client, site: tuple[int, ssl.SSLContext]) -> None:
    answer = asked(fetching, f"https://media.example:{site[0]}/talk.wav")

    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == "Hola a todos."


def test_the_next_address_of_a_host_is_tried(
    fetching: httpx2.Client, site: tuple[int, ssl.SSLContext]
) -> None:
    answer = asked(fetching, f"https://half.example:{site[0]}/talk.wav")

    assert answer.status_code == 200, answer.text


def test_a_redirect_is_followed(fetching: httpx2.Client, site: tuple[int, ssl.SSLContext]) -> None:
    answer = asked(fetching, f"https://media.example:{site[0]}/to//talk.wav")

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "path",
    [
        "to/http://media.example/x",
        "to/https://inside.example/x",
        "to/https://169.254.169.254/latest/meta-data",
        "to/file:///etc/passwd",
        "to/https://[::ffff:10.0.0.1]/",
        "loop",
        "gone",
        "slow",
        "drip",
        "short",
    ],
)
def test_what_a_site_may_not_lead_to(
    fetching: httpx2.Client, site: tuple[int, ssl.SSLContext], path: str
) -> None:
    answer = asked(fetching, f"https://media.example:{site[0]}/{path}")

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "fetch_refused"
    assert answer.json()["error"]["param"] == "url"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_is_fetched_is_refused_in_its_own_type(
    fetching: httpx2.Client, site: tuple[int, ssl.SSLContext], name: str
) -> None:
    answer = asked(fetching, f"https://media.example:{site[0]}/attack/{quote(name)}")

    error = ATTACKS[name][1]
    assert (answer.status_code, answer.json()["error"]["code"]) == (error.status, error.code)


def test_what_is_too_large_is_not_taken_in(fetching: httpx2.Client, site: tuple[int, ssl.SSLContext]) -> None:
    assert asked(fetching, f"https://media.example:{site[0]}/large").status_code == 413


PRIVATE = [
    "https://inside.example/x",
    "https://both.example/x",
    "https://127.0.0.1/x",
    "https://[::1]/x",
    "https://0.0.0.0/x",
    "https://10.1.2.3/x",
    "https://192.168.1.1/x",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/x",
    "https://224.0.0.1/x",
    "https://[fd00::1]/x",
    "https://[fe80::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://192.0.0.192/x",
    "https://[64:ff9b::7f00:1]/x",
    "https://[64:ff9b:1::a00:1]/x",
    "https://[::a00:1]/x",
    "https://[fec0::1]/x",
    "https://[2002:7f00:1::]/x",
]
MALFORMED = [
    "http://media.example/x",
    "ftp://media.example/x",
    "https://",
    "https:///x",
    "talk.wav",
    "https://user:pass@media.example/x",
    "https://unknown.example/x",
    "https://media.example:99999/x",
    "https://media.example:x/",
    "https://[::1/x",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_addresses_that_are_not_public_are_never_reached(fetching: httpx2.Client, url: str) -> None:
    with client(fetching.headers["strict"]) as http:
        answer = asked(http, url)

    assert answer.json()["error"]["code"] == "fetch_refused"
    assert "not on the public internet" in answer.json()["error"]["message"]


@pytest.mark.parametrize("ip", [PUBLIC, "2606:2800:220:1::1", f"::ffff:{PUBLIC}"])
def test_addresses_of_the_internet_may_be_reached(ip: str) -> None:
    assert Network().allowed(ip)


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_no_https_address_is_refused(fetching: httpx2.Client, url: str) -> None:
    answer = asked(fetching, url)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "fetch_refused"


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_nothing_but_https_is_even_connected_to(fetching: httpx2.Client, scheme: str) -> None:
    answer = asked(fetching, f"{scheme}://media.example/talk.wav")

    assert answer.json()["error"]["message"] == "only https addresses are fetched"


def test_fetching_is_off_by_default(http: httpx2.Client) -> None:
    answer = asked(http, "https://media.example/talk.wav")

    assert answer.status_code == 400
    assert "fetches no addresses" in answer.json()["error"]["message"]
