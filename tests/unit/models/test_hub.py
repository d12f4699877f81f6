import json
import socket
import threading
import time
from dataclasses import replace

import pytest
from small_weights import REVISION, tier_of
from stub_hub import StubHub, breaks_off_after, drips, says, send

from disks import small_disk
from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable, StorageFull
from whisper_lambda.models.hub import REMEMBER_S, Hub
from whisper_lambda.models.store import Store, verify

TIMEOUT_S = 60.0  # a busy machine may keep its own stub waiting
SOON_S = 0.4  # where the stub is to be given up


@pytest.fixture
def files(published):
    return {p.name: p.read_bytes() for p in published.iterdir()}


@pytest.fixture
def stub(files):
    running = StubHub("people/wee", REVISION, {**files, "README.md": b"not asked for"})
    yield running
    running.close()


@pytest.fixture
def settings(tmp_path, stub):
    return Settings(
        home=tmp_path / "home", hub_endpoint=stub.endpoint, hub_timeout_s=TIMEOUT_S, packages=False
    )


def fetched(settings, tier):
    return Store(settings).obtain(tier)


def test_a_tier_comes_from_the_hub_at_its_pinned_revision(settings, stub, tier):
    installed = fetched(settings, tier)
    verify(installed)

    assert installed.origin == f"hub people/wee@{REVISION[:12]}"
    assert [f.name for f in installed.files] == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert all(REVISION in path for _, path, _ in stub.requests)


def test_only_what_a_model_needs_is_fetched(settings, stub, tier):
    fetched(settings, tier)

    assert not stub.asked("README.md")


def test_no_token_and_no_telemetry_leave_this_machine(settings, stub, tier, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    (tmp_path / "token").write_text("hf_othersecret")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))

    fetched(settings, tier)

    sent = [headers for _, _, headers in stub.requests]
    assert sent
    assert not [h for h in sent if "authorization" in h or "secret" in str(h)]
    assert not [p for _, p, _ in stub.requests if "telemetry" in p]
    assert not [h for h in sent if "torch/" in h["user-agent"] or "agent/" in h["user-agent"]]


def test_the_hubs_library_is_told_to_report_nothing(settings, tier, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    fetched(settings, tier)

    assert constants.HF_HUB_DISABLE_TELEMETRY


def test_a_download_that_breaks_goes_on_where_it_stopped(settings, stub, tier, files):
    """Each connection gives a third of the file: nothing may be fetched twice."""
    third = len(files["model.bin"]) // 3 + 1
    stub.fault = breaks_off_after(third, "model.bin", files["model.bin"])

    verify(fetched(settings, tier))

    assert [h.get("range") for h in stub.asked("model.bin")] == [
        None,
        f"bytes={third}-",
        f"bytes={2 * third}-",
    ]


def test_a_later_process_goes_on_from_what_an_earlier_one_left(settings, stub, tier, files):
    stub.fault = breaks_off_after(1000, "model.bin", files["model.bin"])
    with pytest.raises(ModelUnavailable, match=r"broke off model\.bin"):
        fetched(settings, tier)
    stub.fault = lambda _: False
    store = Store(settings)
    store.hub.forget()

    verify(store.obtain(tier))

    assert stub.asked("model.bin")[-1]["range"] == "bytes=4000-"


def test_a_hub_that_cannot_resume_is_asked_from_the_start(settings, stub, tier, files):
    partial = settings.home / "models" / ".partial" / tier.name
    partial.mkdir(parents=True)
    (partial / f"model.bin.{REVISION[:12]}").write_bytes(b"y" * 50)

    def whole(request):
        if not request.path.endswith("/model.bin"):
            return False
        send(request, files["model.bin"])
        return True

    stub.fault = whole

    verify(fetched(settings, tier))


def test_progress_is_told_up_to_the_last_byte(settings, tier, files):
    seen = []
    Store(settings).obtain(tier, progress=lambda *step: seen.append(step))

    size = len(files["model.bin"])
    steps = [done for what, done, total in seen if what == "model.bin" and total == size]
    assert steps == sorted(steps)
    assert steps[-1] == size


def test_a_redirect_to_another_host_is_followed(settings, stub, tier, files):
    other = StubHub("people/wee", REVISION, files)

    def elsewhere(request):
        if "/resolve/" not in request.path:
            return False
        send(request, b"", 302, location=other.endpoint + request.path)
        return True

    stub.fault = elsewhere
    try:
        verify(fetched(settings, tier))
    finally:
        other.close()

    assert other.asked("model.bin")


def test_a_wrong_blob_of_the_right_size_is_refused_and_not_kept(settings, stub, tier, files):
    wrong = bytearray(files["model.bin"])
    wrong[5000] ^= 1
    stub.files = {**stub.files, "model.bin": bytes(wrong)}

    with pytest.raises(ModelCorrupt, match=r"model\.bin from the hub .* is not the published one"):
        fetched(settings, tier)

    left = [p for p in settings.home.rglob("*") if p.is_file() and "model.bin" in p.name]
    assert left == []


def test_a_wrong_file_without_a_published_hash_is_refused_by_the_hubs_own_list(settings, stub, tier):
    stub.files = {**stub.files, "tokenizer.json": stub.files["tokenizer.json"].replace(b'"a"', b'"b"')}

    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json"):
        fetched(settings, tier)


def test_a_hub_whose_list_and_files_agree_on_other_weights_is_refused(settings, stub, tier, files):
    """A mirror that lies consistently: only the catalogue's hash sees it."""
    wrong = files["model.bin"][:-1] + b"\xff"
    stub.files = stub.told = {**stub.files, "model.bin": wrong}

    with pytest.raises(ModelCorrupt, match=r"model\.bin from the hub"):
        fetched(settings, tier)
    assert [p for p in settings.home.rglob("model.bin*") if p.is_file()] == []


def test_a_truncated_blob_is_not_installed(settings, stub, tier, files):
    def short(request):
        if not request.path.endswith("/model.bin"):
            return False
        send(request, files["model.bin"][:-100])
        return True

    stub.fault = short

    with pytest.raises((ModelCorrupt, ModelUnavailable), match=r"model\.bin"):
        fetched(settings, tier)
    assert Store(settings).find(tier.name) is None


def test_a_body_without_end_is_cut_off_at_the_known_size(settings, stub, tier, files):
    def endless(request):
        if not request.path.endswith("/model.bin"):
            return False
        send(request, files["model.bin"] + b"z" * 5_000_000)
        return True

    stub.fault = endless

    with pytest.raises(ModelUnavailable, match=r"more of model\.bin"):
        fetched(settings, tier)
    assert sum(p.stat().st_size for p in settings.home.rglob("*") if p.is_file()) < 2_000_000


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_repository_that_is_closed_or_gone_is_a_reason_about_that_tier_only(settings, stub, tier, status):
    stub.fault = says(status, "/api/", x_error_code="GatedRepo" if status == 403 else "RepoNotFound")
    store = Store(settings)

    with pytest.raises(ModelUnavailable, match=f"does not give people/wee .HTTP {status}"):
        store.obtain(tier)
    asked = len(stub.requests)
    with pytest.raises(ModelUnavailable):
        store.obtain(tier)
    assert len(stub.requests) == asked  # remembered
    with pytest.raises(ModelUnavailable):
        store.obtain(replace(tier, name="other", repo="people/other"))
    assert len(stub.requests) > asked  # but another repository is asked for


def test_an_error_of_the_hub_itself_is_a_reason_about_all_tiers(settings, stub, tier):
    stub.fault = says(503)
    store = Store(settings)

    with pytest.raises(ModelUnavailable, match="HTTP 503"):
        store.obtain(tier)
    asked = len(stub.requests)
    with pytest.raises(ModelUnavailable, match="HTTP 503"):
        store.obtain(replace(tier, name="other", repo="people/other"))

    assert len(stub.requests) == asked


def test_a_disk_that_fills_during_a_download_is_said_and_what_arrived_is_kept(settings, tier):
    with small_disk(30_000), pytest.raises(StorageFull, match="no room"):
        fetched(settings, tier)
    store = Store(settings)
    assert store.installed() == ()

    verify(store.obtain(tier))


def test_a_body_that_is_refused_is_a_reason(settings, stub, tier):
    stub.fault = says(403, "/model.bin")

    with pytest.raises(ModelUnavailable, match=r"does not give model\.bin .HTTP 403"):
        fetched(settings, tier)


def test_what_is_here_but_fits_nowhere_is_thrown_away_and_fetched_anew(settings, tier, files):
    partial = settings.home / "models" / ".partial" / tier.name
    partial.mkdir(parents=True)
    (partial / f"model.bin.{REVISION[:12]}").write_bytes(b"y" * (len(files["model.bin"]) + 5))

    verify(fetched(settings, tier))


def test_another_revision_than_the_pinned_one_is_refused(settings, stub, tier):
    asked_for = stub.revision

    def moved(request):
        if "/api/" in request.path:
            stub.revision = "e" * 40
            request.path = request.path.replace(asked_for, stub.revision)
        return False

    stub.fault = moved

    with pytest.raises(ModelUnavailable, match="another revision"):
        fetched(settings, tier)


def test_a_revision_known_by_its_beginning_only_is_looked_up(settings, published):
    tier = tier_of(published, revision=REVISION[:37])

    assert fetched(settings, tier).origin.endswith(REVISION[:12])


@pytest.mark.parametrize("beginning", ["0" * 37, ""])
def test_a_beginning_that_fits_no_revision_or_several_is_refused(settings, published, beginning):
    tier = tier_of(published, revision=beginning)

    with pytest.raises(ModelUnavailable, match="no single revision"):
        fetched(settings, tier)


def test_a_body_that_crawls_is_given_up(settings, stub, tier):
    stub.fault = drips("/model.bin", 600)

    with pytest.raises(ModelUnavailable, match="too slowly"):  # five time-outs; one is the list's
        fetched(replace(settings, hub_timeout_s=5 * SOON_S), tier)


def test_a_list_that_crawls_is_given_up_within_the_time_out(settings, stub, tier):
    """Every byte restarts a socket's own time-out; ours does not care."""
    stub.fault = drips("/api/", 600)

    refused_soon(settings, tier)


def test_a_hub_that_accepts_and_never_answers_is_given_up_within_the_time_out(settings, tier):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        refused_soon(replace(settings, hub_endpoint=endpoint), tier)


def test_a_name_lookup_that_hangs_is_given_up_within_the_time_out(settings, tier, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(600))
    try:
        refused_soon(replace(settings, hub_endpoint="http://hub.example"), tier)
    finally:
        released.set()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://hub.invalid", "no address at all"])
def test_a_hub_that_is_not_there_is_a_reason(settings, tier, endpoint):
    with pytest.raises(ModelUnavailable, match="the hub cannot be reached"):
        fetched(replace(settings, hub_endpoint=endpoint), tier)


def refused_soon(settings, tier) -> None:
    """Ask a hub that would keep us for ten minutes, and be refused long before."""
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="the hub cannot be reached"):
        fetched(replace(settings, hub_timeout_s=SOON_S), tier)

    assert time.monotonic() - started < 300


def test_an_unreachable_hub_is_remembered_by_this_process_and_the_next(settings, stub, tier):
    away = replace(settings, hub_endpoint="http://127.0.0.1:1")
    now = [1000.0]
    with pytest.raises(ModelUnavailable):
        Hub(away, clock=lambda: now[0]).listing(tier)
    back = replace(settings, hub_endpoint=stub.endpoint)
    stamps = settings.home / "models" / ".hub.json"
    stamps.write_text(stamps.read_text().replace("http://127.0.0.1:1", stub.endpoint))
    later = Hub(back, clock=lambda: now[0])

    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        later.listing(tier)
    assert stub.requests == []
    now[0] += REMEMBER_S + 1
    assert later.listing(tier).revision == REVISION


def test_a_stamp_from_the_future_or_of_nonsense_is_no_reason(settings, tier, stub):
    stamps = settings.home / "models" / ".hub.json"
    stamps.parent.mkdir(parents=True)
    for content in (
        json.dumps({stub.endpoint: [99999999999.0, "x"]}),
        "[",
        "[]",
        json.dumps({stub.endpoint: 3}),
    ):
        stamps.write_text(content)

        assert Hub(settings).listing(tier).revision == REVISION


def test_a_store_nobody_may_write_still_remembers_in_memory(settings, tier, stub, tmp_path):
    (tmp_path / "home").write_text("a file where the store should be")
    stub.fault = says(503)
    hub = Hub(settings)
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            hub.listing(tier)

    assert len(stub.requests) == 1


def test_threads_that_ask_at_once_share_one_question(settings, stub, tier):
    hub = Hub(settings)
    threads = [threading.Thread(target=hub.listing, args=(tier,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(stub.requests) == 1


def test_a_hub_that_is_switched_off_is_never_asked(settings, stub, tier):
    with pytest.raises(ModelUnavailable, match="switched off"):
        fetched(replace(settings, hub=False), tier)
    assert stub.requests == []
