import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_weights import put_in_folder, tier_of, write_published

from disks import small_disk
from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable, StorageFull
from whisper_lambda.models.manifest import read_manifest, render_manifest
from whisper_lambda.models.store import Store, verify
from whisper_lambda.tools.random_weights import Shape, write_random_model

INSTALL = """
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from small_weights import tier_of
from whisper_lambda.config import Settings
from whisper_lambda.models.store import Store, verify
published, home, when, times = Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
(home.parent / "own").mkdir(exist_ok=True)
store = Store(Settings(home=home, model_dir=published.parent, hub=False, packages=False))
tier = tier_of(published, published.name)
time.sleep(max(0.0, when - time.time()))
for n in range(times):
    installed = store.obtain(tier, force=times > 1)
    verify(installed)
print((installed.path / "manifest.json").stat().st_ino)
"""


def left_over(root: Path) -> list[str]:
    """Names of what an install leaves behind when it is not cleaned up."""
    return [p.name for p in root.glob(".*") if not p.name.endswith(".lock") and p.name != ".partial"]


def test_an_installed_tier_is_int8_verified_and_found_again(stocked, tier, published):
    installed = stocked.find(tier.name)
    verify(installed)

    assert installed.path == stocked.root / tier.name
    assert {p.name for p in installed.path.iterdir()} == {f.name for f in installed.files} | {"manifest.json"}
    assert (installed.path / "model.bin").stat().st_size < (published / "model.bin").stat().st_size
    assert (installed.path / "tokenizer.json").read_bytes() == (published / "tokenizer.json").read_bytes()
    assert (installed.mel_bins, installed.english_only) == (80, True)


def test_the_manifest_tells_hashes_origin_revision_and_recipe(stocked, tier):
    manifest = json.loads((stocked.root / tier.name / "manifest.json").read_text())

    for name, file in manifest["files"].items():
        content = (stocked.root / tier.name / name).read_bytes()
        assert file == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest["revision"] == tier.revision
    assert manifest["origin"].startswith("folder ")
    assert manifest["recipe"].startswith("int8")


def test_the_digest_is_of_the_bytes_and_not_of_their_way_here(stocked, tier, tmp_path, published):
    other = Store(replace(stocked._settings, home=tmp_path / "elsewhere"))
    again = other.obtain(tier)
    different = write_published(tmp_path / "different", seed=1)

    assert again.digest == stocked.find(tier.name).digest
    assert other.adopt(different).digest != again.digest


def test_what_is_here_is_not_fetched_again_unless_forced(stocked, tier):
    manifest = stocked.root / tier.name / "manifest.json"
    first = manifest.stat().st_ino
    stocked.obtain(tier)
    kept = manifest.stat().st_ino
    stocked.obtain(tier, force=True)

    assert kept == first
    assert manifest.stat().st_ino != first
    assert left_over(stocked.root) == []


@pytest.mark.parametrize(
    "name", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt", "manifest.json"]
)
def test_a_file_missing_or_longer_or_shorter_is_refused_by_name(stocked, tier, name):
    path = stocked.root / tier.name / name
    installed = stocked.find(tier.name)
    good = path.read_bytes()
    for bad in (b"", good[:-1], good + b" ", None):
        path.unlink() if bad is None else path.write_bytes(bad)

        with pytest.raises(ModelCorrupt, match=name.replace(".", r"\.")):
            verify(installed)


def test_a_stray_file_is_refused(stocked, tier):
    """CTranslate2 reads vocabulary.json before vocabulary.txt: it would replace a verified file."""
    (stocked.root / tier.name / "vocabulary.json").write_text("[]")

    with pytest.raises(ModelCorrupt, match=r"vocabulary\.json does not belong there"):
        verify(stocked.find(tier.name))


def test_a_changed_file_with_its_old_times_is_refused(stocked, tier):
    installed = stocked.find(tier.name)
    path = installed.path / "model.bin"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ModelCorrupt, match=r"model\.bin is not the file that was installed"):
        verify(installed)


def test_a_refusal_says_what_to_do(stocked, tier, operators):
    put_in_folder(operators.model_dir, "base", operators.model_dir / tier.name)
    (operators.model_dir / "base" / "model.bin").write_bytes(b"x")

    with pytest.raises(ModelCorrupt, match="whisper-lambda models pull base --force"):
        verify(stocked.find("base"))


def test_another_model_under_a_tiers_name_is_refused(operators, published):
    put_in_folder(operators.model_dir, "tiny.en", published).rename(operators.model_dir / "base")

    with pytest.raises(ModelCorrupt, match=r"holds the model tiny\.en"):
        Store(operators).find("base")


def test_a_manifest_that_was_edited_is_refused_even_if_it_is_consistent(stocked, tier):
    path = stocked.root / tier.name / "manifest.json"
    installed = stocked.find(tier.name)
    path.write_bytes(render_manifest(replace(installed, origin="elsewhere")))

    with pytest.raises(ModelCorrupt, match=r"manifest\.json was changed"):
        verify(installed)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"files": 3}', b"[" * 100_000, b"\xff"])
def test_a_manifest_of_nonsense_is_refused(stocked, tier, content):
    (stocked.root / tier.name / "manifest.json").write_bytes(content)

    with pytest.raises(ModelCorrupt, match=r"manifest\.json"):
        stocked.find(tier.name)


def test_published_files_that_do_not_match_never_enter_the_store(operators, published, tmp_path, tier):
    shutil.copytree(published, operators.model_dir / tier.name)
    content = bytearray((published / "model.bin").read_bytes())
    content[5000] ^= 1
    (operators.model_dir / tier.name / "model.bin").write_bytes(content)
    store = Store(operators)

    with pytest.raises(ModelCorrupt, match=r"model\.bin from folder .* is not the published one"):
        store.obtain(tier)
    assert store.installed() == ()
    assert left_over(store.root) == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_crafted_file_beside_the_weights_never_enters_the_store(operators, published, name):
    tier = tier_of(published, hashed=("model.bin", "config.json", "tokenizer.json"))
    shutil.copytree(published, operators.model_dir / tier.name)
    (operators.model_dir / tier.name / name).write_text('{"crafted": true}')

    with pytest.raises(ModelCorrupt, match=f"{name} from folder"):
        Store(operators).obtain(tier)


def test_a_source_that_fails_gives_way_to_the_next_and_all_reasons_are_told(operators, published, tier):
    (operators.model_dir / tier.name).mkdir()
    store = Store(operators)

    with pytest.raises(ModelUnavailable) as failure:
        store.obtain(tier)
    for reason in ("lacks model.bin", "the hub is switched off"):
        assert reason in str(failure.value)


def test_a_folder_that_carries_our_manifest_is_used_where_it_lies(operators, published):
    folder = put_in_folder(operators.model_dir, "base", published)
    store = Store(operators)
    installed = store.find("base")
    verify(installed)

    assert installed.path == folder
    assert not store.root.exists()


@pytest.mark.parametrize(
    "name",
    ["../own/base", "own/base", "/etc", "..", ".", "", ".hidden", "base/", "ba\0se", "b" * 300, "\udc80"],
)
def test_a_name_from_a_request_does_not_walk_the_disk(operators, published, name):
    put_in_folder(operators.model_dir, "base", published)
    (operators.model_dir / ".hidden").mkdir()

    assert Store(operators).operators(name) is None


def test_a_folder_of_the_operators_own_is_adopted_once(settings, published):
    store = Store(settings)
    installed = store.adopt(published)
    verify(installed)
    first = (installed.path / "manifest.json").stat().st_ino

    assert (store.adopt(published).path / "manifest.json").stat().st_ino == first
    assert installed.path.parent == store.root


def test_a_folder_that_changed_is_adopted_anew(settings, tmp_path):
    own = write_published(tmp_path / "own-model")
    store = Store(settings)
    before = store.adopt(own).digest
    write_published(own, seed=5)

    assert store.adopt(own).digest != before


@pytest.mark.parametrize("broken", ["model.bin", "tokenizer.json"])
def test_a_folder_that_is_no_model_is_refused(settings, tmp_path, broken):
    own = write_published(tmp_path / "own-model")
    if broken == "model.bin":
        (own / broken).write_bytes(b"no model")
    else:
        (own / broken).unlink()

    with pytest.raises((ModelCorrupt, ModelUnavailable), match=broken.replace(".", r"\.")):
        Store(settings).adopt(own)


def test_removing_leaves_nothing_of_the_tier(stocked, tier):
    partial = stocked.root / ".partial" / tier.name
    partial.mkdir(parents=True)
    (partial / "model.bin").write_bytes(b"x")

    assert stocked.remove(tier.name)
    assert not stocked.remove(tier.name)
    assert [p for p in stocked.root.rglob("*") if p.is_file() and not p.name.endswith(".lock")] == []


def test_a_full_disk_is_said_and_leaves_nothing_half(operators, published, tier):
    (operators.model_dir / tier.name).symlink_to(published)
    store = Store(operators)

    with small_disk(40_000), pytest.raises(StorageFull, match="no room"):
        store.obtain(tier)
    assert store.installed() == ()
    assert left_over(store.root) == []


def test_a_store_that_cannot_be_written_is_a_reason(operators, published, tier):
    (operators.model_dir / tier.name).symlink_to(published)
    operators.home.write_text("a file where the store should be")

    with pytest.raises(ModelUnavailable, match="cannot be read or written"):
        Store(operators).obtain(tier)


def test_an_interrupted_install_leaves_nothing_half_and_the_next_one_works(
    operators, published, tier, monkeypatch
):
    (operators.model_dir / tier.name).symlink_to(published)
    store = Store(operators)
    real = os.fsync
    calls = []

    def interrupted(handle):
        calls.append(handle)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(handle)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.obtain(tier)
    assert store.installed() == ()
    assert left_over(store.root) == []

    verify(store.obtain(tier))


def test_processes_that_install_at_once_use_what_the_first_one_made(tmp_path):
    like = write_published(tmp_path / "like")
    (like / "vocabulary.txt").write_text("\n".join(map(str, range(20_000))))
    published = tmp_path / "published" / "middling"
    write_random_model(published, Shape(256, 2, 2, 2, vocabulary=20_000), like)
    command = [
        sys.executable,
        "-c",
        INSTALL,
        str(Path(__file__).parent),
        str(published),
        str(tmp_path / "home"),
    ]
    when = time.time() + 2.0
    running = [
        subprocess.Popen([*command, str(when), "1"], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]

    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(answers)) == 1, "each installed a model of its own"


def test_a_killed_install_leaves_the_tier_whole_or_absent_and_no_wreck_for_long(tmp_path, published):
    home = tmp_path / "home"
    command = [
        sys.executable,
        "-c",
        INSTALL,
        str(Path(__file__).parent),
        str(published),
        str(home),
        "0",
        "100000",
    ]
    store = Store(Settings(home=home, model_dir=published.parent, hub=False, packages=False))
    moments = random.Random(3)
    for _ in range(6):
        process = subprocess.Popen(command)
        while not (store.root / published.name).exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()

        if installed := store.find(published.name):
            verify(installed)
    verify(store.obtain(tier_of(published), force=True))

    assert left_over(store.root) == []


def test_a_manifest_reads_back_as_it_was_written(stocked, tier):
    installed = stocked.find(tier.name)

    assert read_manifest(installed.path) == installed
