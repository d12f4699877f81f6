"""`whisper-lambda serve` and `keys` as their users start them: processes, sockets and signals."""

import json
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from guarded import READY_TEXT, wait_for
from serving import wav

FAKE_CLI = Path(__file__).parents[1] / "cli" / "fake_cli.py"


def environment(home: Path, **extra: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "WHISPER_LAMBDA_HOME": str(home), "FAKE_TEXT": READY_TEXT} | extra


def run(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FAKE_CLI), *args],
        env=environment(home, **env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def stop(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        return self.process.wait(120)


@contextmanager
def serving(home: Path, *args: str, **env: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, str(FAKE_CLI), "serve", "--port", "0", *args],
        env=environment(home, **env),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
    reader.start()
    try:
        wait_for(lambda: process.poll() is not None or any("listening on" in line for line in said), 120)
        found = re.search(r"listening on (http://\S+)", "".join(said))
        assert found, said
        yield Running(process, found[1].replace("0.0.0.0", "127.0.0.1"), said)
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    assert "there are no keys" in run(tmp_path, "keys", "list").stderr
    made = run(
        tmp_path, "keys", "add", "hernan", "--scope", "transcribe", "--scope", "metrics", "--expires", "30d",
        "--concurrent", "2", "--per-minute", "60", "--audio-s-per-day", "3600",
    )  # fmt: skip
    text = made.stdout.strip()
    key_id = text.split("_")[1]
    listed = run(tmp_path, "keys", "list")

    assert re.fullmatch(r"wl_[0-9a-f]{8}_[\w-]{43}", text)
    assert text not in made.stderr
    assert f"{key_id}  live     hernan  transcribe,metrics" in listed.stdout
    assert "2 at once, 60 a minute, 3600 s of audio a day" in listed.stdout
    assert text.split("_", 2)[2] not in listed.stdout
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600

    assert run(tmp_path, "keys", "revoke", key_id).returncode == 0
    assert f"{key_id}  revoked  hernan" in run(tmp_path, "keys", "list").stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("add", "hernan", "--scope", "all"), "transcribe, jobs, admin, metrics"),
        (("add", "hernan", "--expires", "soon"), "such as 30d"),
        (("add", "hernan", "--expires", "9" * 500 + "d"), "such as 30d"),
        (("add", "hernan", "--expires", "999999999d"), "within a century"),
        (("add", "hernan", "--audio-s-per-day", "inf"), "above 0"),
        (("add", "two words"), "a tenant is"),
        (("revoke", "ffffffff"), "keys list"),
    ],
)
def test_a_wrong_keys_command_says_what_is_right(tmp_path: Path, args: tuple[str, ...], told: str) -> None:
    done = run(tmp_path, "keys", *args)

    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "keys.json").exists() or "hernan" not in (tmp_path / "keys.json").read_text()


def test_it_does_not_face_a_network_without_keys_unless_told_in_plain_words(tmp_path: Path) -> None:
    refused = run(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "keys add" in refused.stderr
    assert "--open-to-everyone" in refused.stderr

    with serving(tmp_path, "--host", "0.0.0.0", "--open-to-everyone") as server:
        wait_for(lambda: any("TLS" in line for line in server.said))
        assert any("open to everyone" in line for line in server.said)
        assert httpx2.get(f"{server.url}/v1/models").status_code == 200


def test_a_revoked_key_does_not_count_as_a_key(tmp_path: Path) -> None:
    key_id = run(tmp_path, "keys", "add", "hernan").stdout.split("_")[1]
    run(tmp_path, "keys", "revoke", key_id)

    assert run(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0").returncode == 2


def test_with_a_key_it_faces_the_network_and_sees_keys_come_and_go(tmp_path: Path) -> None:
    first = run(tmp_path, "keys", "add", "hernan").stdout.strip()
    with serving(tmp_path, "--host", "0.0.0.0") as server:

        def status(key: str) -> int:
            return httpx2.get(f"{server.url}/v1/models", headers={"X-API-Key": key}).status_code

        assert (status(first), status("")) == (200, 401)
        second = run(tmp_path, "keys", "add", "other").stdout.strip()
        run(tmp_path, "keys", "revoke", first.split("_")[1])
        assert (status(first), status(second)) == (401, 200)
        assert not [line for line in server.said if second.split("_", 2)[2] in line]


def test_on_this_machine_alone_it_asks_for_no_key_and_answers(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        wait_for(lambda: any("this machine only" in line for line in server.said))
        wait_for(lambda: httpx2.get(f"{server.url}/health/ready").status_code == 200, 120)
        answer = httpx2.post(f"{server.url}/transcribe?a=secret-word", files={"file": ("a.wav", wav(1.0))})
        assert answer.status_code == 400
        answer = httpx2.post(f"{server.url}/transcribe", files={"file": ("secret-word.wav", wav(1.0))})
        assert answer.json()["text"] == READY_TEXT.strip()
        wait_for(lambda: sum('"event": "request"' in line for line in server.said) >= 2)
        assert server.stop(signal.SIGTERM) == 0
    assert not [line for line in server.said if "secret-word" in line]
    line = next(json.loads(line) for line in server.said if '"status": 200' in line and "/transcribe" in line)
    assert line["request_id"] == answer.headers["x-request-id"]


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, "serve", "--port", str(port))

    assert done.returncode == 1
    assert done.stderr == f"error: cannot listen at 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished_before_it_stops(tmp_path: Path, by: signal.Signals) -> None:
    with serving(tmp_path, FAKE_DELAY_S="1.5") as server:
        wait_for(lambda: httpx2.get(f"{server.url}/health/ready").status_code == 200, 120)
        answers: list[int] = []

        def ask() -> None:
            answer = httpx2.post(f"{server.url}/transcribe", files={"file": ("a.wav", wav(1.0))}, timeout=120)
            answers.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: "under_way 1.0" in httpx2.get(f"{server.url}/metrics").text, 120)
        code = server.stop(by)
        asking.join()

    assert answers == [200]
    assert code == 0
    assert server.said[-1] == "stopped\n"


def test_what_cannot_be_finished_in_time_is_told_so(tmp_path: Path) -> None:
    env = {"FAKE_DELAY_S": "1.5", "FAKE_SERIAL": "1", "FAKE_QUICK_S": "3", "WHISPER_LAMBDA_DRAIN_S": "1"}
    with serving(tmp_path, **env) as server:
        wait_for(lambda: httpx2.get(f"{server.url}/health/ready").status_code == 200, 120)
        answers: list[httpx2.Response] = []

        def ask() -> None:
            files = {"file": ("a.wav", wav(100.0))}
            answers.append(httpx2.post(f"{server.url}/transcribe", files=files, timeout=120))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: "under_way 1.0" in httpx2.get(f"{server.url}/metrics").text, 120)
        code = server.stop(signal.SIGTERM)
        asking.join()

    assert code == 0
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["code"] == "shutting_down"


def test_killed_outright_it_leaves_keys_and_usage_whole(tmp_path: Path) -> None:
    key = run(tmp_path, "keys", "add", "hernan", "--audio-s-per-day", "1000").stdout.strip()
    for _ in range(2):
        with serving(tmp_path) as server:
            headers = {"X-API-Key": key}
            files = {"file": ("a.wav", wav(1.0))}
            answer = httpx2.post(f"{server.url}/transcribe", headers=headers, files=files, timeout=120)
            assert answer.status_code == 200
            server.stop(signal.SIGKILL)

    assert "live" in run(tmp_path, "keys", "list").stdout
