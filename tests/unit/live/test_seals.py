import threading
from pathlib import Path

import pytest

from whisper_lambda.errors import StorageFull
from whisper_lambda.live.seals import Seal, seal


def test_what_is_sealed_opens_for_its_purpose_and_for_no_other() -> None:
    text = Seal(b"secret").sealed("token", {"n": 1})

    assert Seal(b"secret").opened("token", text) == {"n": 1}
    assert Seal(b"secret").opened("secret", text) is None
    assert Seal(b"other").opened("token", text) is None


@pytest.mark.parametrize("text", ["", ".", "a", "a.b", "é.é", "=.=", "x" * 10_000, "e30.", ".e30"])
def test_nonsense_does_not_open(text: str) -> None:
    assert Seal(b"secret").opened("token", text) is None


def test_every_changed_character_is_noticed() -> None:
    text = Seal(b"secret").sealed("token", {"n": 1})
    for i in range(len(text)):
        changed = text[:i] + ("A" if text[i] != "A" else "B") + text[i + 1 :]
        opened = Seal(b"secret").opened("token", changed)
        assert opened is None or changed == text or (opened == {"n": 1} and i == len(text) - 1)


def test_one_secret_is_made_however_many_come_at_once(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(seal(tmp_path / "s").sealed("a", {}))) for _ in range(16)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    assert len(set(made)) == 1
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_machines_that_share_a_secret_need_no_file(tmp_path: Path) -> None:
    assert seal(tmp_path / "a", "x").sealed("p", {}) == seal(tmp_path / "b", "x").sealed("p", {})
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFull):
        seal(tmp_path / "file" / "s")
