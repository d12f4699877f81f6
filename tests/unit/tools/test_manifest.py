from __future__ import annotations

from pathlib import Path

import pytest

from whisper_lambda.errors import BadOption
from whisper_lambda.tools.manifest import read_manifest, read_manifests, read_utterances


def test_a_manifest_line_becomes_an_entry(tmp_path: Path) -> None:
    manifest = tmp_path / "es-read" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_text(
        '{"audio": "a.mp3", "language": "es", "text": "hola", "duration_s": 1.5, "segments": "a.json"}\n'
        '\n{"audio": "b.wav", "language": "mul", "text": null}\n',
        encoding="utf-8",
    )

    a, b = read_manifest(manifest)

    assert (a.path, a.label, a.set) == (manifest.parent / "a.mp3", "es-read/a.mp3", "es-read")
    assert (a.language_hint, a.text, a.duration_s) == ("es", "hola", 1.5)
    assert a.utterances == manifest.parent / "a.json"
    assert (b.language, b.language_hint, b.text, b.duration_s) == ("mul", None, None, 0.0)


def test_a_folder_stands_for_the_manifests_below_it(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text('{"audio": "x.wav", "text": ""}\n')

    assert [e.label for e in read_manifests([tmp_path])] == ["a/x.wav", "b/x.wav"]


@pytest.mark.parametrize("content", ["not json\n", '{"text": "no audio"}\n', '["a list"]\n'])
def test_what_is_not_a_manifest_is_refused_by_name(tmp_path: Path, content: str) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(content)

    with pytest.raises(BadOption, match=r"manifest\.jsonl is not a manifest"):
        read_manifest(manifest)


def test_a_missing_manifest_or_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(BadOption, match=r"no manifest\.jsonl"):
        read_manifests([tmp_path])


def test_utterances_come_with_their_times(tmp_path: Path) -> None:
    path = tmp_path / "a.segments.json"
    path.write_text('[{"start": 0, "end": 1.5, "text": "hola", "speaker": "s"}]')

    (only,) = read_utterances(path)

    assert (only.start, only.end, only.text) == (0.0, 1.5, "hola")
