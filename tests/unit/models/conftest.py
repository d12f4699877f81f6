from dataclasses import replace

import pytest
from small_weights import tier_of, write_published

from whisper_lambda.config import Settings
from whisper_lambda.models.store import Store


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A small model as its publisher made it."""
    return write_published(tmp_path_factory.mktemp("published") / "wee")


@pytest.fixture
def tier(published):
    return tier_of(published)


@pytest.fixture
def settings(tmp_path):
    """Settings that reach nothing: no hub, no packages."""
    return Settings(home=tmp_path / "home", hub=False, packages=False)


@pytest.fixture
def operators(tmp_path, settings):
    """Settings with a folder of the operator's, still empty."""
    (tmp_path / "own").mkdir()
    return replace(settings, model_dir=tmp_path / "own")


@pytest.fixture
def stocked(operators, published, tier):
    """A store into which the small tier was installed from the operator's folder."""
    (operators.model_dir / tier.name).symlink_to(published)
    store = Store(operators)
    store.obtain(tier)
    return store
