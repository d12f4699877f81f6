"""Uploads: a ticket, the bytes, what is refused; and that deleting one's data leaves none of it."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import numpy as np
import pytest

from fakes import FakeEngine
from guarded import Guarded, guarded, wait_for
from serving import pcm_wav, voice, wav
from whisper_lambda import tenants
from whisper_lambda.bootstrap import segments
from whisper_lambda.config import Settings

WAV = wav(3.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", probe_every_s=0.0, cache_mb=10)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("uploads")
    settings = Settings(home=home, probe_every_s=0.0, cache_mb=10)
    with guarded(settings, FakeEngine(text=" Canario a la vista.")) as place:
        yield place


@pytest.fixture
def ana(place: Guarded) -> Iterator[httpx2.Client]:
    with client(place, place.key("ana")) as http:
        yield http


@pytest.fixture
def bob(place: Guarded) -> Iterator[httpx2.Client]:
    with client(place, place.key("bob")) as http:
        yield http


def client(place: Guarded, key: str | None) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=place.url, timeout=120, headers=headers)


def ticket(http: httpx2.Client, body: bytes = WAV, **more) -> dict:
    answer = http.post("/v1/uploads", json={"size_bytes": len(body), **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def code(answer: httpx2.Response) -> str:
    return answer.json()["error"]["code"]


def bare(method: str, url: str, **how) -> httpx2.Response:
    """Without a key, as a browser or curl sends to a signed address."""
    with httpx2.Client(timeout=120) as http:
        return http.request(method, url, **how)


# --- the ordinary way ---


def test_a_recording_is_announced_sent_and_heard(ana: httpx2.Client) -> None:
    made = ticket(ana, content_type="audio/wav", sha256=hashlib.sha256(WAV).hexdigest(), filename="x.wav")
    assert (made["object"], made["method"], made["offset"], made["size_bytes"]) == (
        "upload",
        "PUT",
        0,
        len(WAV),
    )
    assert made["id"].startswith("upl_")
    assert time.time() < made["expires_at"] < time.time() + 3601

    sent = bare(made["method"], made["url"], content=WAV, headers=made["headers"])
    assert sent.status_code == 200, sent.text
    assert sent.json()["status"] == "complete"
    assert sent.headers["upload-offset"] == str(len(WAV))
    heard = ana.post("/v1/audio/transcriptions", data={"upload": made["id"]})
    assert heard.json()["text"] == "Canario a la vista."


def test_the_founding_endpoint_takes_what_was_sent_ahead(ana: httpx2.Client, bob: httpx2.Client) -> None:
    made = ticket(ana)
    assert bare("PUT", made["url"], content=WAV).status_code == 200

    heard = ana.post("/transcribe", data={"upload": made["id"], "language": "es"})
    both = ana.post("/transcribe", data={"upload": made["id"]}, files={"file": ("a.wav", WAV)})
    foreign = bob.post("/transcribe", data={"upload": made["id"]})

    assert heard.json()["text"] == "Canario a la vista."
    assert heard.json()["duration_s"] == 3.0
    assert (both.status_code, both.json()["error"]["param"]) == (400, "file")
    assert (foreign.status_code, foreign.json()["error"]["param"]) == (404, "upload")


def test_it_goes_on_where_it_broke_off(ana: httpx2.Client) -> None:
    made = ticket(ana, sha256=hashlib.sha256(WAV).hexdigest())
    third = len(WAV) // 3
    for start, stop in ((0, third), (third, third + 1), (third + 1, len(WAV))):
        assert bare("HEAD", made["url"]).headers["upload-offset"] == str(start)
        sent = bare(
            "PUT",
            made["url"],
            content=WAV[start:stop],
            headers={"Content-Range": f"bytes {start}-{stop - 1}/{len(WAV)}"},
        )
        assert sent.json()["offset"] == stop, sent.text

    assert bare("HEAD", made["url"]).headers["upload-length"] == str(len(WAV))
    assert ana.post("/v1/audio/transcriptions", data={"upload": made["id"]}).status_code == 200


def test_what_came_before_the_line_broke_is_kept(place: Guarded, ana: httpx2.Client) -> None:
    made = ticket(ana)
    parts = urlsplit(made["url"])
    with socket.create_connection(place.address) as line:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Length: {len(WAV)}\r\n\r\n"
        line.sendall(head.encode() + WAV[:50_000])
        time.sleep(0.3)
    wait_for(lambda: bare("HEAD", made["url"]).headers["upload-offset"] == "50000")
    rest = {"Content-Range": f"bytes 50000-{len(WAV) - 1}/{len(WAV)}"}
    wait_for(lambda: bare("PUT", made["url"], content=WAV[50_000:], headers=rest).status_code == 200)

    assert ana.post("/v1/audio/transcriptions", data={"upload": made["id"]}).status_code == 200


def test_a_server_without_keys_takes_uploads_too(settings: Settings) -> None:
    with guarded(settings) as place, client(place, None) as http:
        made = ticket(http, user_id="leo")
        assert bare("PUT", made["url"], content=WAV).status_code == 200
        heard = {
            user: http.post("/v1/audio/transcriptions", data={"upload": made["id"], "user_id": user})
            for user in ("leo", "eva")
        }

    assert heard["leo"].status_code == 200
    assert code(heard["eva"]) == "upload_not_found"


# --- what is refused ---


def test_a_ticket_is_good_once(ana: httpx2.Client) -> None:
    made = ticket(ana)
    assert bare("PUT", made["url"], content=WAV).status_code == 200
    again = bare("PUT", made["url"], content=WAV)

    assert (again.status_code, code(again)) == (409, "upload_conflict")


def altered(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    return parts._replace(
        query=urlencode({**dict(parse_qsl(parts.query, keep_blank_values=True)), **changes})
    ).geturl()


@pytest.mark.parametrize(
    "change",
    [
        {"size": "999999"},
        {"type": "text/html"},
        {"expires": "99999999999"},
        {"sha256": "0" * 64},
        {"signature": "0" * 64},
        {"signature": "é"},
        {"signature": ""},
    ],
    ids=str,
)
def test_an_altered_address_is_refused(ana: httpx2.Client, change: dict[str, str]) -> None:
    made = ticket(ana)
    for method in ("PUT", "HEAD"):
        assert (
            bare(method, altered(made["url"], **change), content=WAV if method == "PUT" else None).status_code
            == 403
        )


def test_a_ticket_of_one_upload_is_none_of_another(ana: httpx2.Client) -> None:
    first, second = ticket(ana), ticket(ana)
    query = urlsplit(first["url"]).query
    mixed = urlsplit(second["url"])._replace(query=query).geturl()

    assert code(bare("PUT", mixed, content=WAV)) == "upload_ticket_refused"
    assert code(bare("PUT", mixed.split("?")[0], content=WAV)) == "missing_api_key"


def test_it_expires(tmp_path: Path, settings: Settings) -> None:
    with guarded(replace(settings, upload_expires_s=0.0)) as place, client(place, place.key("ana")) as ana:
        made = ticket(ana)
        time.sleep(1.1)
        late = bare("PUT", made["url"], content=WAV)

    assert (late.status_code, code(late)) == (403, "upload_ticket_refused")
    assert "expired" in late.json()["error"]["message"]


def test_keys_and_tickets_hold(place: Guarded, ana: httpx2.Client, bob: httpx2.Client) -> None:
    """Every route with no key, a wrong one, a revoked one and another tenant's."""
    made = ticket(ana)
    gone = place.key("ana")
    place.door.revoke(gone.split("_")[1], time.time())
    keys = {"none": None, "wrong": "wl_00000000_" + "x" * 43, "revoked": gone}
    for name, key in keys.items():
        with client(place, key) as http:
            assert http.post("/v1/uploads", json={"size_bytes": 1}).status_code == 401, name
            assert http.delete("/v1/data").status_code == 401, name
            asked = http.post("/v1/audio/transcriptions", data={"upload": made["id"]})
            assert asked.status_code == 401, name
            if key:  # a key that does not hold is refused though the ticket would
                assert http.put(made["url"], content=WAV).status_code == 401, name
    other = bob.put(made["url"], content=WAV)
    assert (other.status_code, code(other)) == (403, "upload_ticket_refused")
    assert ana.put(made["url"], content=WAV).status_code == 200
    taken = bob.post("/v1/audio/transcriptions", data={"upload": made["id"]})
    assert (taken.status_code, code(taken), taken.json()["error"]["param"]) == (
        404,
        "upload_not_found",
        "upload",
    )


def test_another_type_than_announced_is_refused(ana: httpx2.Client) -> None:
    made = ticket(ana, content_type="audio/wav")
    for headers in ({"Content-Type": "text/html"}, {}):
        assert code(bare("PUT", made["url"], content=WAV, headers=headers)) == "upload_mismatch"
    assert bare("PUT", made["url"], content=WAV, headers=made["headers"]).status_code == 200


def test_a_corrupt_upload_is_refused_whole_and_can_be_sent_again(ana: httpx2.Client) -> None:
    made = ticket(ana, sha256=hashlib.sha256(WAV).hexdigest())
    spoiled = WAV[:-1] + bytes([WAV[-1] ^ 1])
    assert code(bare("PUT", made["url"], content=spoiled)) == "upload_mismatch"
    assert bare("HEAD", made["url"]).headers["upload-offset"] == "0"
    assert code(ana.post("/v1/audio/transcriptions", data={"upload": made["id"]})) == "upload_not_found"

    assert bare("PUT", made["url"], content=WAV).status_code == 200


def test_more_than_announced_is_refused_as_soon_as_it_comes(place: Guarded, ana: httpx2.Client) -> None:
    made = ticket(ana)
    assert code(bare("PUT", made["url"], content=WAV + b"x")) == "upload_mismatch"

    def endless() -> Iterator[bytes]:
        yield WAV
        for _ in range(50):
            yield b"x" * 100_000

    assert code(bare("PUT", made["url"], content=endless())) == "upload_mismatch"
    assert bare("HEAD", made["url"]).headers["upload-offset"] == "0"


@pytest.mark.parametrize(
    ("stated", "wrong"),
    [
        ("bytes 5-9/10", 409),
        ("bytes 0-9/11", 409),
        ("bytes 9-0/10", 409),
        ("bytes 0-4/10", 409),
        ("nonsense", 409),
        ("bytes 0-10/10", 409),
        ("bytes */10", 409),
        (f"bytes 0-{10**14}/10", 409),
    ],
)
def test_a_range_that_does_not_fit_is_refused(ana: httpx2.Client, stated: str, wrong: int) -> None:
    made = ticket(ana, b"0123456789")
    answer = bare("PUT", made["url"], content=b"0123456789", headers={"Content-Range": stated})

    assert (answer.status_code, code(answer)) == (wrong, "upload_conflict")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "size_bytes"),
        ({"size_bytes": 0}, "size_bytes"),
        ({"size_bytes": -5}, "size_bytes"),
        ({"size_bytes": 10**11}, "size_bytes"),
        ({"size_bytes": 1.5}, "size_bytes"),
        ({"size_bytes": True}, "size_bytes"),
        ({"size_bytes": 5, "content_type": "a\r\nb: c"}, "content_type"),
        ({"size_bytes": 5, "sha256": "xyz"}, "sha256"),
        ({"size_bytes": 5, "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_announcement_is_refused_by_field(ana: httpx2.Client, body: dict, param: str) -> None:
    answer = ana.post("/v1/uploads", json=body)

    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 10_000, b'"x"', b"\xff"])
def test_what_is_no_json_object_is_refused(ana: httpx2.Client, body: bytes) -> None:
    assert code(ana.post("/v1/uploads", content=body)) == "broken_request"


def test_two_senders_of_one_upload_do_not_mix(ana: httpx2.Client) -> None:
    body = bytes(3_000_000)
    made = ticket(ana, body, sha256=hashlib.sha256(body).hexdigest())
    answers: list[int] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(100_000)
            time.sleep(0.01)

    def send() -> None:
        answers.append(bare("PUT", made["url"], content=pieces()).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [200, 409, 409, 409]


def test_a_form_is_refused_where_only_a_put_is_taken(ana: httpx2.Client) -> None:
    asked = {"size_bytes": 4, "content_type": "audio/wav", "method": "POST"}
    refused = ana.post("/v1/uploads", json=asked)

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "method")


def test_file_and_upload_are_not_taken_together(ana: httpx2.Client) -> None:
    both = ana.post("/v1/audio/transcriptions", data={"upload": "upl_1"}, files={"file": WAV})
    assert code(both) == "bad_option"
    for nonsense in ("upl_1", "../../etc/passwd", ""):
        assert code(ana.post("/v1/audio/transcriptions", data={"upload": nonsense})) == "upload_not_found"


def test_uploads_are_swept_when_their_time_is_over(settings: Settings) -> None:
    brief = replace(settings, uploads_keep_s=60.0, upload_expires_s=60.0)
    with guarded(brief) as place, client(place, place.key("ana")) as ana:
        whole, half = ticket(ana), ticket(ana)
        bare("PUT", whole["url"], content=WAV)
        bare("PUT", half["url"], content=WAV[:9], headers={"Content-Range": f"bytes 0-8/{len(WAV)}"})
        objects = settings.home / "objects"
        found = [p for p in objects.rglob("upl_*") if p.is_file()]
        later = time.time() + 62

    assert len(found) == 2
    from whisper_lambda.bootstrap import build

    with build(brief) as service:
        service.sweep(time.time())
        assert len([p for p in objects.rglob("upl_*") if p.is_file()]) == 2
        service.sweep(later)
    assert [p for p in objects.rglob("upl_*") if p.is_file()] == []


# --- deleting one's data ---


def test_deleting_ones_data_leaves_none_of_it_and_all_of_the_others(settings: Settings) -> None:
    """Canaries in the words, the sound, the name: a raw scan of everything on disk finds none afterwards."""
    names = {"ana": "canary-ana@example.com", "bob": "bob"}
    sounds = {who: pcm_wav(voice() + noise) for who, noise in zip(names, hiss(len(voice())), strict=True)}
    with guarded(settings, FakeEngine()) as place:
        place.service.cache = segments(settings)
        _delete_and_scan(place, settings.home, names, sounds)


def _delete_and_scan(place: Guarded, home: Path, names: dict[str, str], sounds: dict[str, bytes]) -> None:
    with client(place, place.key(names["ana"])) as ana, client(place, place.key(names["bob"])) as bob:
        uploads = {}
        for who, http in (("ana", ana), ("bob", bob)):
            for complete in (True, False):
                made = ticket(http, sounds[who])
                part = sounds[who] if complete else sounds[who][:70_000]
                range_ = {"Content-Range": f"bytes 0-{len(part) - 1}/{len(sounds[who])}"}
                assert bare("PUT", made["url"], content=part, headers=range_).status_code == 200
                if complete:
                    uploads[who] = made["id"]
            place.engine.text = f" Canario de {who} a la vista."
            answer = http.post("/v1/audio/transcriptions", files={"file": sounds[who]})
            assert answer.json()["x_receipt"]["cached_chunks"] == 0
            answer = http.post("/v1/audio/transcriptions", files={"file": sounds[who]})
            assert answer.json()["x_receipt"]["cached_chunks"] == answer.json()["x_receipt"]["chunks"] > 0
        needles = [b"Canario de ana", sounds["ana"][30_000:30_200], tenants.folder(names["ana"]).encode()]
        before = at_rest(home)
        assert [needle in before for needle in needles] == [True] * 3, "the scan can find them"

        deleted = ana.delete("/v1/data")
        assert deleted.json() == {"object": "data", "deleted": True, "entries": 3, "objects": 2}
        after = at_rest(home)
        assert [needle in after for needle in needles] == [False] * 3
        assert b"Canario de bob" in after
        assert bob.post("/v1/audio/transcriptions", data={"upload": uploads["bob"]}).status_code == 200
        assert (
            code(ana.post("/v1/audio/transcriptions", data={"upload": uploads["ana"]})) == "upload_not_found"
        )


def hiss(count: int) -> np.ndarray:
    """Two lots of noise nobody else has: sound to be found again byte by byte."""
    return np.random.default_rng(3).normal(0, 1e-3, (2, count)).astype(np.float32)


def at_rest(home: Path) -> bytes:
    """Every byte below home, and every name, but for the keys, which are not what was asked to go."""
    files = [p for p in home.rglob("*") if p.is_file() and not p.name.startswith(("keys.json", "usage"))]
    names = [str(p.relative_to(home)).encode() for p in home.rglob("*")]
    return b"\n".join([*names, *(p.read_bytes() for p in files)])


def test_strangers_can_leave_and_delete_nothing(settings: Settings) -> None:
    with guarded(settings, open_to_everyone=True) as place, client(place, None) as http:
        refused = [http.post("/v1/uploads", json={"size_bytes": 5}), http.delete("/v1/data")]

    assert [code(answer) for answer in refused] == ["insufficient_scope"] * 2
