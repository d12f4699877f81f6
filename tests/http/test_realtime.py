"""OpenAI's Realtime transcription on a real socket, with an engine that hears a script."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx2
import numpy as np
import pytest
import websockets
from openai import AsyncOpenAI

from fakes import FakeEngine
from guarded import Choosy, Guarded, guarded, wait_for
from serving import voice
from talking import COMPLETED, DELTA, FAILED, pcm, talking, transcripts_are_their_deltas
from whisper_lambda.config import Settings
from whisper_lambda.types import Samples

SILENCE = np.zeros(16_000, np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(Settings(home=tmp_path_factory.mktemp("home"), probe_every_s=3600)) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(Settings(home=tmp_path_factory.mktemp("home"), probe_every_s=3600)) as server:
        server.key()
        yield server


def spoken(seconds: float = 4.0) -> Samples:
    return np.concatenate([voice()[: int(seconds * 16_000)], SILENCE])


def test_the_sdk_hears_deltas_and_a_transcript(server: Guarded) -> None:
    async def listen() -> list:
        client = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="sk-any")
        seen = []
        async with client.realtime.connect(extra_query={"intent": "transcription"}) as line:
            await line.session.update(
                session={
                    "type": "transcription",
                    "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}},
                }
            )
            import soxr

            data = pcm(soxr.resample(spoken(), 16_000, 24_000))
            for at in range(0, len(data), 9_600):
                await line.input_audio_buffer.append(audio=base64.b64encode(data[at : at + 9_600]).decode())
            async for event in line:
                seen.append(event)
                if event.type == COMPLETED:
                    return seen
        return seen

    seen = asyncio.run(listen())
    kinds = [e.type for e in seen]

    assert kinds[:2] == ["session.created", "session.updated"]
    assert kinds.index("input_audio_buffer.speech_started") < kinds.index(DELTA)
    assert kinds.index("input_audio_buffer.speech_stopped") < kinds.index("input_audio_buffer.committed")
    assert seen[-1].transcript == "".join(e.delta for e in seen if e.type == DELTA) != ""
    assert seen[-1].usage.type == "duration"
    assert 3.5 < seen[-1].usage.seconds < 6
    assert len({e.event_id for e in seen}) == len(seen)


def test_words_come_while_they_are_spoken(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure()
        speaker.speak(voice()[: 4 * 16_000], faster=3)  # no silence: the utterance is still open
        speaker.until(DELTA)


def test_nothing_of_ours_is_sent_unless_asked_for(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure()
        speaker.speak(spoken())
        speaker.until(COMPLETED)
        assert [e for e in speaker.seen if e["type"].startswith("x_")] == []
        speaker.configure(include=["x_tentative", "x_words", "item.input_audio_transcription.logprobs"])
        speaker.speak(spoken(), faster=3)
        speaker.until(COMPLETED)

    assert any(e["text"] for e in speaker.of("x_tentative"))
    timed = [w for e in speaker.of("x_words") for w in e["words"]]
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(timed))
    assert timed[0]["start"] >= 4.5  # the session's clock, not the utterance's
    assert all(e["logprobs"][0]["logprob"] < 0 for e in speaker.of(DELTA)[-2:])
    transcripts_are_their_deltas(speaker.seen)


def test_a_client_may_end_turns_itself(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure(turn_detection=None)
        speaker.send("input_audio_buffer.commit", event_id="mine")
        empty = speaker.until("error")
        speaker.speak(np.concatenate([spoken(3.0), spoken(3.0)]))  # a pause ends no turn here
        speaker.send("input_audio_buffer.commit")
        first = speaker.until(COMPLETED)
        speaker.speak(spoken(2.0))
        speaker.send("input_audio_buffer.commit")
        second = speaker.until(COMPLETED)

    assert empty["error"]["code"] == "input_audio_buffer_commit_empty"
    assert len(first["transcript"].split()) > 10
    assert first["item_id"] != second["item_id"]
    assert speaker.of("input_audio_buffer.speech_started") == []
    committed = speaker.of("input_audio_buffer.committed")
    assert [c["previous_item_id"] for c in committed] == [None, first["item_id"]]
    transcripts_are_their_deltas(speaker.seen)


def test_what_is_cleared_is_not_heard(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure(turn_detection=None)
        speaker.speak(voice()[:12_000])
        speaker.send("input_audio_buffer.clear")
        speaker.until("input_audio_buffer.cleared")
        speaker.send("input_audio_buffer.commit")
        assert speaker.until("error")["error"]["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_telephones_are_understood(server: Guarded, encoding: str) -> None:
    import av

    codec = av.CodecContext.create("pcm_mulaw" if encoding.endswith("u") else "pcm_alaw", "w")
    codec.sample_rate, codec.layout, codec.format = 8_000, "mono", "s16"
    samples = (spoken()[::2] * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = 8_000
    data = b"".join(bytes(packet) for packet in codec.encode(frame))
    with talking(server.url) as speaker:
        speaker.configure(format={"type": encoding})
        speaker.line.send(data)  # ours: a binary message is audio
        done = speaker.until(COMPLETED)

    assert done["transcript"]
    assert done["usage"]["seconds"] < 6


def setting(heard: str) -> str:
    """Return a session.update as text, for what no writer of JSON would write."""
    return '{"type": "session.update", "session": {"audio": {"input": {' + heard + "}}}}"


WRONG = [
    ("not json", "bad_request", None),
    ("[]", "bad_request", "type"),
    ('{"type": 7}', "bad_request", "type"),
    ('{"type": "response.create"}', "bad_option", "type"),
    ('{"type": "input_audio_buffer.append"}', "bad_option", "audio"),
    ('{"type": "input_audio_buffer.append", "audio": "?"}', "bad_option", "audio"),
    ('{"type": "session.update", "session": {"type": "realtime"}}', "bad_option", "session.type"),
    ('{"type": "session.update", "session": {"voice": "x"}}', "bad_option", "session"),
    ('{"type": "session.update", "session": []}', "bad_option", "session"),
    ('{"type": "session.update", "session": {"include": ["x_secret"]}}', "bad_option", "session.include"),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "xx"}}}}}',
        "unknown_language",
        None,
    ),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "nine"}}}}}',
        "unknown_model",
        None,
    ),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"format":'
        ' {"type": "audio/pcm", "rate": 1}}}}}',
        "bad_option",
        "session.audio.input.format.rate",
    ),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"turn_detection":'
        ' {"type": "server_vad", "threshold": 2}}}}}',
        "bad_option",
        "session.audio.input.turn_detection.threshold",
    ),
    *(
        (setting(member), "bad_option", f"session.audio.input.{at}")
        for member, at in (
            ('"format": {"type": []}', "format.type"),
            ('"format": {"type": {}}', "format.type"),
            ('"format": {"type": "audio/pcm", "rate": [24000]}', "format.rate"),
            ('"format": {"type": "audio/pcm", "rate": true}', "format.rate"),
            ('"turn_detection": {"type": []}', "turn_detection"),
            ('"turn_detection": {"type": "semantic_vad", "eagerness": []}', "turn_detection.eagerness"),
        )
    ),
    # What can be read and not said back: halves of characters, and numbers JSON has no word for.
    ('{"type": "nonsense", "event_id": "\\ud800"}', "bad_request", "type"),
    *(
        (setting(member), "bad_request", "type")
        for member in (
            '"transcription": {"prompt": "\\ud800"}',
            '"noise_reduction": {"strength": NaN}',
            '"noise_reduction": {"strength": 1e999}',
        )
    ),
]


def test_what_is_wrong_is_told_and_ends_nothing(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure()
        for message, code, param in WRONG:
            speaker.line.send(message)
            error = speaker.until("error")["error"]
            assert error["code"] in {code, "broken_request"}, message
            assert param in (None, error["param"]), message
            assert error["message"]
        speaker.speak(spoken())
        assert speaker.until(COMPLETED)["transcript"]


def test_members_that_say_nothing_are_as_if_they_were_not_there(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.configure(
            format={"type": "audio/pcm", "rate": 16_000.0},
            turn_detection={"type": "semantic_vad", "eagerness": None},
        )
        heard = speaker.until("session.updated")["session"]["audio"]["input"]
        speaker.speak(spoken())
        assert speaker.until(COMPLETED)["transcript"]

    assert heard["turn_detection"]["eagerness"] == "auto"


def test_a_socket_that_fails_unexpectedly_keeps_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Choosy, "check", fails)
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as server:
        with talking(server.url) as speaker:
            speaker.configure(transcription={"model": "small"})
            with pytest.raises(websockets.ConnectionClosedError):
                speaker.until("session.updated")
        wait_for(lambda: server.gates.floor.speaking == 0)


def test_a_session_as_the_beta_wrote_it_is_understood(server: Guarded) -> None:
    with talking(server.url) as speaker:
        spelled = {"model": "gpt-4o-mini-transcribe", "language": "es", "prompt": ""}
        session = {"input_audio_format": "g711_ulaw", "input_audio_transcription": spelled}
        session["turn_detection"] = {"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 350}
        speaker.send("transcription_session.update", session=session)
        heard = speaker.until("session.updated")["session"]["audio"]["input"]

    assert heard["format"] == {"type": "audio/pcmu"}
    assert heard["transcription"] == {"model": "gpt-4o-mini-transcribe", "language": "es"}
    assert heard["turn_detection"]["silence_duration_ms"] == 350


def test_the_clients_name_for_an_event_comes_back_with_its_error(server: Guarded) -> None:
    with talking(server.url) as speaker:
        speaker.send("nonsense", event_id="evt_7")
        assert speaker.until("error")["error"]["event_id"] == "evt_7"


def test_a_failing_engine_fails_the_item_and_not_the_session(tmp_path: Path) -> None:
    engine = FakeEngine(fails=True)
    with (
        guarded(Settings(home=tmp_path, probe_every_s=3600), engine) as server,
        talking(server.url) as speaker,
    ):
        speaker.configure()
        speaker.speak(spoken())
        assert speaker.until(FAILED)["error"]["code"] == "engine_failed"
        engine.fails = False
        speaker.speak(spoken())
        assert speaker.until(COMPLETED)["transcript"]


def test_ten_times_real_time_is_slowed_down_and_loses_nothing(tmp_path: Path) -> None:
    engine = FakeEngine(delay_s=0.05)
    with (
        guarded(Settings(home=tmp_path, probe_every_s=3600), engine) as server,
        talking(server.url) as speaker,
    ):
        speaker.configure(turn_detection=None)
        speaker.speak(np.concatenate([voice()] * 6))  # 88 s at once
        talk = next(iter(server.gates.floor.talks.values()))
        assert talk.behind_s < 60
        speaker.send("input_audio_buffer.commit")
        words = speaker.until(COMPLETED, 60)["transcript"].split()

    numbers = [int(w.removeprefix("w")) for w in words]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 160


def test_a_client_that_vanishes_comes_back_and_has_every_word(server: Guarded) -> None:
    audio = spoken(6.0)
    with talking(server.url) as speaker:
        speaker.configure()
        session = speaker.seen[0]["session"]["id"] if speaker.seen else speaker.next()["session"]["id"]
        speaker.speak(audio[: 3 * 16_000], faster=2)
        speaker.until(DELTA)
        speaker.line.socket.close()  # mid-word, no goodbye
    before = speaker.seen
    floor = server.gates.floor
    wait_for(lambda: not floor.talks[session].present)
    with talking(server.url, f"session_id={session}&after={before[-1]['event_id']}") as again:
        created = again.next()
        assert created["session"]["id"] == session
        arrived = created["session"]["x_received_bytes"] // 2
        again.speak(audio[arrived:], faster=3)
        again.until(COMPLETED)
    seen = before + again.seen

    transcripts_are_their_deltas(seen)
    with talking(server.url) as whole:
        whole.configure()
        whole.speak(audio)
        expected = whole.until(COMPLETED)["transcript"].split()
    told = next(e for e in seen if e["type"] == COMPLETED)["transcript"].split()
    assert told == expected


def test_a_client_may_be_back_before_its_old_line_is_known_to_be_gone(server: Guarded) -> None:
    """Its network changed: the old line says nothing more, and is missed by its pings only later."""
    with talking(server.url) as old:
        old.configure()
        session = old.next()["session"]["id"]
        old.speak(voice()[:16_000])
        with talking(server.url, f"session_id={session}") as again:
            arrived = again.next()["session"]["x_received_bytes"] // 2
            with pytest.raises(websockets.ConnectionClosed) as closed:
                old.until("the end")
            assert closed.value.rcvd.code == 4000
            again.speak(np.concatenate([voice()[arrived : 5 * 16_000], np.zeros(32_000, np.float32)]))
            assert again.until(COMPLETED)["transcript"]
            assert server.gates.floor.talks[session].present


def test_a_session_is_nobody_elses(keyed: Guarded) -> None:
    mine, other = keyed.key("mine"), keyed.key("other")
    with talking(keyed.url, additional_headers={"Authorization": f"Bearer {mine}"}) as speaker:
        session = speaker.next()["session"]["id"]
        for query in (f"session_id={session}", "session_id=sess_nothing"):
            with pytest.raises(websockets.InvalidStatus) as refused:  # noqa: SIM117
                with talking(keyed.url, query, additional_headers={"Authorization": f"Bearer {other}"}):
                    pass
            assert refused.value.response.status_code == 404


def test_a_goodbye_ends_the_session_at_once(server: Guarded) -> None:
    with talking(server.url) as speaker:
        session = speaker.next()["session"]["id"]
    wait_for(lambda: session not in server.gates.floor.talks)


def refusal_of(url: str, query: str = "intent=transcription", **how) -> tuple[int, dict]:
    with pytest.raises(websockets.InvalidStatus) as refused:  # noqa: SIM117
        with talking(url, query, **how):
            pass
    response = refused.value.response
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body)["error"]


def test_the_door_is_the_same_as_for_every_other_route(keyed: Guarded) -> None:
    metrics = keyed.key("ops", scopes=("metrics",))

    assert refusal_of(keyed.url)[0] == 401
    assert refusal_of(keyed.url, additional_headers={"X-API-Key": "wl_no"})[1]["code"] == "invalid_api_key"
    assert refusal_of(keyed.url, additional_headers={"X-API-Key": metrics})[1]["code"] == "insufficient_scope"
    assert refusal_of(keyed.url, "intent=transcription&api_key=" + keyed.key())[0] == 401
    with talking(keyed.url, additional_headers={"X-API-Key": keyed.key()}) as speaker:
        assert speaker.next()["type"] == "session.created"


def test_other_intents_are_refused(server: Guarded) -> None:
    assert refusal_of(server.url, "intent=conversation")[1]["code"] == "bad_option"
    assert refusal_of(server.url, "intent=transcription&model=nine")[1]["code"] == "unknown_model"


def test_pages_of_other_sites_may_not_open_a_socket_here(server: Guarded) -> None:
    host = server.url.removeprefix("http://")
    for how in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"additional_headers": {"Sec-Fetch-Site": "cross-site"}},
    ):
        assert refusal_of(server.url, **how)[1]["code"] == "cross_site_request"
    with talking(server.url, origin=f"http://{host}") as speaker:
        assert speaker.next()["type"] == "session.created"


def test_a_key_has_its_limits_on_sockets_too(keyed: Guarded) -> None:
    one = {"X-API-Key": keyed.key("small", concurrent=1)}
    with talking(keyed.url, additional_headers=one) as speaker:
        speaker.next()
        assert refusal_of(keyed.url, additional_headers=one)[1]["code"] == "too_many_concurrent_requests"
    day = {"X-API-Key": keyed.key("day", audio_s_per_day=12.0)}
    with talking(keyed.url, additional_headers=day) as speaker:
        speaker.configure()
        speaker.speak(np.concatenate([spoken(), np.zeros(10 * 16_000, np.float32)]))
        assert speaker.until("error")["error"]["code"] == "audio_quota_exceeded"
        assert speaker.until(COMPLETED)["transcript"]  # what was said before is told


def secret(url: str, key: str = "", **body) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.post(f"{url}/v1/realtime/client_secrets", json=body, headers=headers)


def test_a_client_secret_opens_a_socket_and_nothing_else(keyed: Guarded) -> None:
    key = keyed.key("page")
    heard = {"transcription": {"language": "es"}}
    made = secret(keyed.url, key, session={"type": "transcription", "audio": {"input": heard}}).json()
    assert made["value"].startswith("ek_")
    assert 590 <= made["expires_at"] - time.time() <= 601
    offered = ["realtime", f"openai-insecure-api-key.{made['value']}"]
    with talking(keyed.url, subprotocols=offered) as speaker:
        session = speaker.next()["session"]
        assert speaker.line.subprotocol == "realtime"
    assert session["audio"]["input"]["transcription"]["language"] == "es"
    for path in ("/v1/models", "/v1/realtime/client_secrets", "/transcribe"):
        asked = httpx2.get(keyed.url + path, headers={"Authorization": f"Bearer {made['value']}"})
        assert asked.status_code in {401, 403}, path


def test_client_secrets_expire_and_die_with_their_key(keyed: Guarded) -> None:
    from whisper_lambda.http.realtime import passes

    key = keyed.key("brief")
    value = secret(keyed.url, key).json()["value"]
    old = passes.made(keyed.gates.seal(), None, {}, int(time.time()) - 1)
    keyless = passes.made(keyed.gates.seal(), None, {}, int(time.time()) + 60)
    for text in (old, keyless, value[:-4] + "AAAA", "ek_", "ek_x.y"):
        assert refusal_of(keyed.url, additional_headers={"Authorization": f"Bearer {text}"})[0] == 401
    keyed.door.revoke(key.split("_")[1], time.time())
    refused = refusal_of(keyed.url, additional_headers={"Authorization": f"Bearer {value}"})
    assert refused[1]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "body",
    [
        {"expires_after": {"anchor": "created_at", "seconds": 9}},
        {"expires_after": {"seconds": 7201}},
        {"expires_after": 60},
        {"session": {"type": "realtime"}},
        {"sesion": {}},
        {"session": {"audio": {"input": {"transcription": {"prompt": "x" * 4_001}}}}},
        {"session": {"audio": {"input": {"format": {"type": []}}}}},
    ],
)
def test_a_secret_is_asked_for_properly(keyed: Guarded, body: dict) -> None:
    answer = secret(keyed.url, keyed.key(), **body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_option"


@pytest.mark.parametrize("what", ['{"type": "\\ud800"}', '{"type": "x", "strength": NaN}'])
def test_a_secret_holds_nothing_that_cannot_be_said_back(keyed: Guarded, what: str) -> None:
    body = '{"session": {"audio": {"input": {"noise_reduction": ' + what + "}}}}"
    headers = {"Authorization": f"Bearer {keyed.key()}"}
    answer = httpx2.post(f"{keyed.url}/v1/realtime/client_secrets", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "broken_request"


def test_a_refused_socket_is_no_error_of_ours(server: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    assert refusal_of(server.url, "intent=conversation")[0] == 400

    assert [r.getMessage() for r in caplog.records if r.levelno > logging.INFO] == []


def test_more_than_can_be_kept_up_with_is_refused(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=3600, live_sessions=2)) as server:
        floor = server.gates.floor
        with talking(server.url) as one:
            one.next()
            for _ in range(50):
                floor.took(2.0, 2.0)  # with two of them it would be 4 s
            status, error = refusal_of(server.url)
            assert (status, error["code"]) == (503, "overloaded")
            floor._step_s = 0.2
            with talking(server.url) as two:
                two.next()
                assert refusal_of(server.url)[1]["code"] == "overloaded"  # two is what the settings allow


def test_a_stop_lets_everybody_have_their_last_words(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as server:
        with talking(server.url) as speaker:
            speaker.configure()
            speaker.speak(voice()[: 4 * 16_000], faster=3)
            speaker.until(DELTA)
            server.running.should_exit = True
            assert speaker.until(COMPLETED)["transcript"]
            with pytest.raises(websockets.ConnectionClosed) as closed:
                speaker.until("the end")
            assert closed.value.rcvd.code == 1012
        transcripts_are_their_deltas(speaker.seen)


def test_a_session_ends_after_its_hour(server: Guarded) -> None:
    with talking(server.url) as speaker:
        created = speaker.next()["session"]
        assert 3590 < created["expires_at"] - time.time() < 3601
        talk = server.gates.floor.talks[created["id"]]
        talk.begun -= 3_597  # a socket that comes back has what is left of the hour
        speaker.configure()
        speaker.until("session.updated")
        speaker.speak(voice()[: 3 * 16_000])
        speaker.line.socket.close()
    wait_for(lambda: not talk.present)
    with talking(server.url, f"session_id={created['id']}") as again:
        again.until(COMPLETED)
        assert again.until("error")["error"]["code"] == "session_expired"


def test_silence_says_nothing(server: Guarded) -> None:
    asked = len(server.engine.listens.windows)
    with talking(server.url) as speaker:
        speaker.configure()
        for _ in range(60):  # ten minutes
            speaker.speak(np.zeros(160_000, np.float32), packet=320_000)
        speaker.send("nonsense")
        speaker.until("error", 60)

    assert {e["type"] for e in speaker.seen} == {"session.created", "session.updated", "error"}
    assert len(server.engine.listens.windows) == asked


def test_a_client_may_say_nothing_for_ten_minutes_and_then_speak(server: Guarded) -> None:
    """The server pings it meanwhile; ten minutes are taken off the session's own clock."""
    usual, server.running.config.ws_ping_interval = server.running.config.ws_ping_interval, 0.02
    try:
        with talking(server.url) as speaker:
            talk = server.gates.floor.talks[speaker.next()["session"]["id"]]
            time.sleep(0.3)  # 30 pings of twenty seconds
            talk.begun -= 600
            assert talk.present
            speaker.configure()
            speaker.speak(spoken())
            assert speaker.until(COMPLETED)["transcript"]
    finally:
        server.running.config.ws_ping_interval = usual


def test_a_client_that_answers_no_ping_is_gone_and_its_session_waits(server: Guarded) -> None:
    import socket

    config, floor = server.running.config, server.gates.floor
    usual = config.ws_ping_interval, config.ws_ping_timeout
    config.ws_ping_interval, config.ws_ping_timeout = 0.05, 0.1
    before = set(floor.talks)
    try:
        with socket.create_connection(server.address, timeout=120) as line:
            line.sendall(
                b"GET /v1/realtime?intent=transcription HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Version: 13\r\n\r\n"
            )
            wait_for(lambda: set(floor.talks) - before)
            (mine,) = set(floor.talks) - before
            wait_for(lambda: not floor.talks[mine].present)
    finally:
        config.ws_ping_interval, config.ws_ping_timeout = usual
    assert not floor.talks[mine].ended  # two minutes, as for every line that breaks
