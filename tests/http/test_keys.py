"""Keys: what opens the door, what is kept of them, and that a running server sees every change."""

import hashlib
import hmac
import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whisper_lambda.errors import BadOption, InvalidKey, KeyNotAllowed, MissingKey
from whisper_lambda.http import keys
from whisper_lambda.http.keys import SCOPES, KeyFile, new_key

NOW = 1_800_000_000.0


@pytest.fixture
def door(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / "keys.json")


def made(door: KeyFile, tenant: str = "hernan", **how) -> str:
    text, key = new_key(tenant, NOW, **how)
    door.add(key)
    return text


def test_a_key_opens_what_its_scopes_cover_and_nothing_else(door: KeyFile) -> None:
    text = made(door, scopes=("transcribe", "metrics"))

    assert door.check(text, "transcribe", NOW).tenant == "hernan"
    assert door.check(text, "metrics", NOW)
    for scope in ("jobs", "admin"):
        with pytest.raises(KeyNotAllowed):
            door.check(text, scope, NOW)


def test_admin_covers_every_scope(door: KeyFile) -> None:
    text = made(door, scopes=("admin",))

    assert [door.check(text, scope, NOW).tenant for scope in SCOPES] == ["hernan"] * len(SCOPES)


@pytest.mark.parametrize("text", [None, ""])
def test_no_key_is_told_how_to_send_one(door: KeyFile, text: str | None) -> None:
    with pytest.raises(MissingKey, match="Authorization: Bearer"):
        door.check(text, "transcribe", NOW)


def test_near_misses_are_refused(door: KeyFile) -> None:
    text = made(door)
    _, key_id, secret = text.split("_", 2)
    last = "A" if secret[-1] != "A" else "B"
    wrong = [
        text[:-1] + last,
        text + "A",
        text[:-1],
        f"wl_00000000_{secret}",
        f"wl_{key_id}_",
        key_id,
        secret,
        text.upper(),
        " " + text,
        "sk-none",
        "ключ",
        "x" * 100_000,
        hashlib.sha256(text.encode()).hexdigest(),
    ]
    for attempt in wrong:
        with pytest.raises(InvalidKey):
            door.check(attempt, "transcribe", NOW)


def test_a_key_ends_when_it_says(door: KeyFile) -> None:
    text = made(door, expires=NOW + 60)

    assert door.check(text, "transcribe", NOW + 59.9)
    with pytest.raises(InvalidKey):
        door.check(text, "transcribe", NOW + 60)


def test_a_revoked_key_is_refused_at_once_by_a_running_server(door: KeyFile) -> None:
    kept, gone = made(door), made(door, "other")
    running = KeyFile(door.path)
    assert running.check(gone, "transcribe", NOW)
    door.revoke(gone.split("_")[1], NOW)

    with pytest.raises(InvalidKey):
        running.check(gone, "transcribe", NOW)
    assert running.check(kept, "transcribe", NOW)


def test_a_new_key_opens_a_running_server_at_once(door: KeyFile) -> None:
    running = KeyFile(door.path)
    assert not running.demanded
    text = made(door)

    assert running.demanded
    assert running.check(text, "transcribe", NOW)


def test_several_keys_of_a_tenant_live_at_once(door: KeyFile) -> None:
    texts = [made(door) for _ in range(3)]

    assert {door.check(t, "transcribe", NOW).id for t in texts} == {t.split("_")[1] for t in texts}


def test_the_file_holds_no_key_and_is_its_owners_alone(door: KeyFile) -> None:
    texts = [made(door) for _ in range(3)]
    kept = door.path.read_text()

    assert not [t for t in texts if t.split("_", 2)[2] in kept]
    for path in (door.path, *door.path.parent.glob("keys.json.lock")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in door.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_writers_at_once_lose_no_key_and_readers_see_whole_files(door: KeyFile) -> None:
    text = made(door)

    def write(n: int) -> None:
        KeyFile(door.path).add(new_key(f"t{n}", NOW)[1])

    def read(_: int) -> None:
        assert KeyFile(door.path).check(text, "transcribe", NOW)

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(write if n % 2 else read, n) for n in range(40)]
        for future in done:
            future.result()

    assert len(door.listed()) == 21


def test_processes_at_once_lose_no_key(door: KeyFile) -> None:
    code = (
        "import sys; from pathlib import Path; from whisper_lambda.http.keys import KeyFile, new_key\n"
        "for n in range(10): KeyFile(Path(sys.argv[1])).add(new_key(sys.argv[2], 1.0)[1])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(door.path), f"p{n}"]) for n in range(3)]

    assert [p.wait(60) for p in processes] == [0, 0, 0]
    assert len(door.listed()) == 30


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"keys": [{"id": 1}]}', "\x00" * 50])
def test_a_damaged_file_lets_nobody_in(door: KeyFile, damage: str) -> None:
    text = made(door)
    running = KeyFile(door.path)
    assert running.check(text, "transcribe", NOW)
    door.path.write_text(damage)

    assert running.demanded
    with pytest.raises(InvalidKey):
        running.check(text, "transcribe", NOW)
    with pytest.raises(BadOption, match="not a key file"):
        running.listed()


def test_a_file_that_vanishes_does_not_open_the_door(door: KeyFile) -> None:
    text = made(door)
    running = KeyFile(door.path)
    assert running.demanded
    door.path.unlink()

    assert running.demanded
    with pytest.raises(InvalidKey):
        running.check(text, "transcribe", NOW)


def test_a_file_mended_opens_again(door: KeyFile) -> None:
    text = made(door)
    running = KeyFile(door.path)
    whole = door.path.read_text()
    door.path.write_text("{")
    with pytest.raises(InvalidKey):
        running.check(text, "transcribe", NOW)
    door.path.write_text(whole)

    assert running.check(text, "transcribe", NOW)


def test_keys_are_compared_in_constant_time_known_or_not(
    door: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's comparison is watched, not replaced: each check is one comparison of two digests."""
    text = made(door)
    seen: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def watched(a: str, b: str) -> bool:
        seen.append((a, b))
        return real(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", watched)
    door.check(text, "transcribe", NOW)
    for wrong in (text[:-1] + "-", "wl_00000000_" + "A" * 43, "sk-none"):
        with pytest.raises(InvalidKey):
            door.check(wrong, "transcribe", NOW)

    assert [(len(a), len(b)) for a, b in seen] == [(64, 64)] * 4


def test_a_key_has_256_random_bits(door: KeyFile) -> None:
    secrets = {made(door).split("_", 2)[2] for _ in range(50)}

    assert len(secrets) == 50
    assert {len(s) for s in secrets} == {43}  # 43 of base64 are 256 bits and two spare


@pytest.mark.parametrize(
    "how",
    [
        {"tenant": ""},
        {"tenant": "a b"},
        {"tenant": "x" * 129},
        {"tenant": "a\nb"},
        {"scopes": ("everything",)},
        {"scopes": ()},
        {"concurrent": 0},
        {"per_minute": -1},
        {"audio_s_per_day": 0.0},
        {"audio_s_per_day": float("nan")},
        {"audio_s_per_day": float("inf")},
        {"expires": NOW},
        {"expires": float("nan")},
        {"expires": NOW + 1e12},
    ],
)
def test_keys_that_make_no_sense_are_not_made(how: dict) -> None:
    with pytest.raises(BadOption):
        new_key(**{"tenant": "hernan", "now": NOW} | how)


def test_revoking_what_is_not_there_says_so_and_changes_nothing(door: KeyFile) -> None:
    made(door)
    before = json.loads(door.path.read_text())
    with pytest.raises(BadOption, match="keys list"):
        door.revoke("ffffffff", NOW)

    assert json.loads(door.path.read_text()) == before


def test_a_key_revoked_twice_keeps_its_first_date(door: KeyFile) -> None:
    key_id = made(door).split("_")[1]
    door.revoke(key_id, NOW)

    assert door.revoke(key_id, NOW + 60).revoked == NOW
