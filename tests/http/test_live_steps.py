"""POST /v1/live/{session}: live sessions that no server holds."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import httpx2
import numpy as np
import pytest

from guarded import Guarded, guarded
from serving import voice
from talking import COMPLETED, pcm, talking
from whisper_lambda.config import Settings
from whisper_lambda.live import tokens
from whisper_lambda.live.session import State
from whisper_lambda.types import Samples


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), probe_every_s=3600, live_secret="shared")
    with guarded(settings) as server:
        yield server


def post(url: str, session: str, audio: bytes, *, key: str = "", **form: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = {name: value for name, value in form.items() if value}
    return httpx2.post(
        f"{url}/v1/live/{session}", files={"file": ("a", audio)}, data=data, headers=headers, timeout=120
    )


def steps(urls: list[str], samples: Samples, *, session: str, every_s: float = 1.0, opus: bool = False):
    """Send a recording step by step, each to the next of the servers; yield the answers."""
    token, at, n = "", 0, 0
    answer: dict[str, Any] = {}
    while at < len(samples) or not n:
        at = min(len(samples), at + round(every_s * 16_000))
        begin = round(answer["audio_from_s"] * 16_000) if n else 0
        tail = samples[begin:at]
        how: dict[str, str] = {} if opus else {"encoding": "pcm16"}
        if at == len(samples):
            how["final"] = "true"
        answered = post(
            urls[n % len(urls)], session, as_opus(tail) if opus else pcm(tail), token=token, **how
        )
        assert answered.status_code == 200, answered.text
        answer = answered.json()
        token, n = answer["token"], n + 1
        yield answer


def as_opus(samples: Samples) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = 16_000
        resampled = av.AudioResampler("s16", "mono", 48_000).resample(frame)
        for part in [*resampled, None]:
            file.mux(stream.encode(part))
    return out.getvalue()


def spoken(seconds: float) -> Samples:
    return np.concatenate([voice()[: int(seconds * 16_000)], np.zeros(16_000, np.float32)])


def words(answers: list[dict[str, Any]]) -> list[str]:
    return "".join(a["text"] for a in answers).split()


@pytest.fixture(scope="module")
def streamed(server: Guarded) -> list[str]:
    with talking(server.url) as speaker:
        speaker.configure()
        speaker.speak(spoken(6.0))
        return speaker.until(COMPLETED)["transcript"].split()


@pytest.mark.parametrize("opus", [False, True], ids=["pcm", "opus"])
def test_any_server_can_do_any_step_and_the_words_are_those_of_the_socket(
    server: Guarded, streamed: list[str], tmp_path, opus: bool
) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=3600, live_secret="shared")) as other:
        answers = list(steps([server.url, other.url], spoken(6.0), session=f"any-{opus}", opus=opus))

    assert words(answers) == streamed
    assert any(a["tentative"]["text"] for a in answers)
    assert answers[-1]["tentative"]["text"] == ""
    timed = [w for a in answers for w in a["committed"]]
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(timed))
    assert sum(a["x_receipt"]["usd"] for a in answers) > 0
    assert abs(sum(a["x_receipt"]["audio_s"] for a in answers) - 7.0) < 0.1


def test_an_idle_session_asks_for_little_audio(server: Guarded) -> None:
    answers = list(steps([server.url], np.zeros(12 * 16_000, np.float32), session="idle", every_s=3.0))

    assert words(answers) == []
    assert answers[-1]["heard_s"] - answers[-1]["audio_from_s"] <= 5.0


def test_a_step_done_already_is_refused_and_the_session_goes_on(server: Guarded) -> None:
    audio = spoken(4.0)
    running = steps([server.url], audio, session="replayed")
    first, second = next(running), next(running)
    tail = pcm(audio[:48_000])
    again = post(server.url, "replayed", tail, token=first["token"], encoding="pcm16")
    anew = post(server.url, "replayed", tail, encoding="pcm16")

    assert (again.status_code, again.json()["error"]["code"]) == (409, "live_step_replayed")
    assert anew.json()["error"]["code"] == "live_step_replayed"  # begun already
    assert words([first, second, *running]) != []


@pytest.mark.parametrize("opus", [False, True], ids=["pcm", "opus"])
def test_the_last_step_sent_again_as_it_was_is_answered_again_and_an_earlier_one_is_not(
    server: Guarded, tmp_path, opus: bool
) -> None:
    settings = Settings(home=server.service.settings.home, upload_memory_mb=0, live_secret="shared")
    audio, name = spoken(4.0)[:48_000], f"again-{opus}"
    sound = as_opus(audio) if opus else pcm(audio)
    send = partial(post, audio=sound, **({} if opus else {"encoding": "pcm16"}))
    with guarded(settings) as other:
        first = send(server.url, session=name).json()
        begun_again = send(other.url, session=name).json()
        second = send(server.url, session=name, token=first["token"]).json()
        again = send(other.url, session=name, token=first["token"]).json()
        said_otherwise = send(server.url, session=name, token=first["token"], final="true")
        on = send(other.url, session=name, token=again["token"], final="true").json()
        late = send(server.url, session=name, token=first["token"])
        third = send(server.url, session=name, token=second["token"])

    told = set(first) - {"token", "expires_at", "x_receipt"}
    assert {k: begun_again[k] for k in told} == {k: first[k] for k in told}
    assert {k: again[k] for k in told} == {k: second[k] for k in told}
    assert on["step"] == 3
    refused = {r.json()["error"]["code"] for r in (said_otherwise, late, third)}
    assert refused == {"live_step_replayed"}


def test_a_step_sent_again_that_fails_leaves_it_done(server: Guarded) -> None:
    audio = pcm(spoken(3.0))
    assert post(server.url, "fails-again", audio, encoding="pcm16").status_code == 200
    server.engine.fails = True
    try:
        failed = post(server.url, "fails-again", audio, encoding="pcm16")
    finally:
        server.engine.fails = False
    other = post(server.url, "fails-again", audio[:-3200], encoding="pcm16")

    assert failed.json()["error"]["code"] == "engine_failed"
    assert other.json()["error"]["code"] == "live_step_replayed"
    assert post(server.url, "fails-again", audio, encoding="pcm16").status_code == 200


def test_a_step_is_refused_by_every_server_once_any_has_done_it(server: Guarded, tmp_path) -> None:
    """Two servers of one home: replayed elsewhere, or out of order, a step is refused."""
    settings = Settings(home=server.service.settings.home, probe_every_s=3600, live_secret="shared")
    audio = spoken(4.0)
    with guarded(settings) as other:
        running = steps([server.url, other.url], audio, session="elsewhere")
        tokens_so_far = [next(running)["token"] for _ in range(3)]
        tail = pcm(audio[:64_000])
        replayed = {
            (n, at.url): post(at.url, "elsewhere", tail, token=token, encoding="pcm16")
            for n, token in enumerate(["", *tokens_so_far[:2]])
            for at in (server, other)
        }
        codes = {key: answer.json()["error"]["code"] for key, answer in replayed.items()}

        assert set(codes.values()) == {"live_step_replayed"}
        assert words(list(running)) != []  # and the session goes on


def test_where_steps_cannot_be_noted_they_are_done_all_the_same(tmp_path) -> None:
    (tmp_path / "live.sqlite3").mkdir()
    with guarded(Settings(home=tmp_path, probe_every_s=3600, live_secret="shared")) as server:
        assert words(list(steps([server.url], spoken(4.0), session="unnoted"))) != []


def test_a_token_is_its_tenants_its_sessions_and_this_houses(server: Guarded) -> None:
    audio = pcm(spoken(1.0))
    token = post(server.url, "mine", audio, encoding="pcm16", user_id="ana").json()["token"]
    forged = token[:-5] + "AAAAA"
    tries = {
        "another session": post(server.url, "yours", audio, token=token, encoding="pcm16", user_id="ana"),
        "another tenant": post(server.url, "mine", audio, token=token, encoding="pcm16", user_id="bea"),
        "forged": post(server.url, "mine", audio, token=forged, encoding="pcm16", user_id="ana"),
        "nonsense": post(server.url, "mine", audio, token="x", encoding="pcm16", user_id="ana"),
    }

    assert {t: r.json()["error"]["code"] for t, r in tries.items()} == dict.fromkeys(
        tries, "live_token_invalid"
    )
    assert post(server.url, "mine", audio, token=token, encoding="pcm16", user_id="ana").status_code == 200


def test_a_step_that_comes_too_late_is_refused(server: Guarded) -> None:
    progress = tokens.Progress(
        tenant="", session="late", step=3, state=State(), language="", prompt="", model="", delay="low"
    )
    token = tokens.written(progress, server.gates.seal(), time.time() - tokens.VALID_S - 1)
    answer = post(server.url, "late", pcm(spoken(1.0)), token=token, encoding="pcm16")

    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "live_token_expired")


def test_audio_that_does_not_reach_as_far_as_was_heard_is_refused(server: Guarded) -> None:
    audio = spoken(4.0)
    token = post(server.url, "short", pcm(audio), encoding="pcm16").json()["token"]
    short = post(server.url, "short", pcm(audio[:1600]), token=token, encoding="pcm16")

    assert (short.status_code, short.json()["error"]["param"]) == (400, "file")
    long = post(server.url, "long", pcm(np.zeros(61 * 16_000, np.float32)), encoding="pcm16")
    assert (long.status_code, long.json()["error"]["code"]) == (413, "audio_too_long")


def test_a_step_that_failed_may_be_sent_again(server: Guarded) -> None:
    server.engine.fails = True
    try:
        failed = post(server.url, "failed", pcm(spoken(3.0)), encoding="pcm16")
    finally:
        server.engine.fails = False

    assert failed.json()["error"]["code"] == "engine_failed"
    assert post(server.url, "failed", pcm(spoken(3.0)), encoding="pcm16").status_code == 200


def test_keys_are_asked_for(tmp_path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as keyed:
        key = keyed.key()
        assert post(keyed.url, "a", pcm(spoken(1.0)), encoding="pcm16").status_code == 401
        assert post(keyed.url, "a", pcm(spoken(1.0)), encoding="pcm16", key=key).status_code == 200


def test_a_state_comes_back_from_its_token_as_it_was(server: Guarded) -> None:
    answers = list(steps([server.url], spoken(5.0), session="state"))[:3]
    seal = server.gates.seal()
    for answer in answers:
        said = tokens.read(answer["token"], seal, time.time(), tenant="", session="state")
        again = tokens.read(
            tokens.written(said, seal, time.time()), seal, time.time(), tenant="", session="state"
        )
        assert len(answer["token"]) < 12_000
        mine, other = said.state.ear, again.state.ear
        assert np.array_equal(mine.memory.state, other.memory.state)
        assert replace(mine, memory=other.memory) == other
        assert replace(said.state, ear=again.state.ear) == again.state
