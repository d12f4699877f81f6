"""The OpenAI SDK for Node, where it is installed: npm install --prefix build/node openai@7.57.0."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from serving import wav

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / "build" / "node"


def test_the_node_sdk_makes_every_kind_of_call(address: str, tmp_path: Path) -> None:
    if not shutil.which("node") or not (INSTALLED / "node_modules" / "openai").is_dir():
        pytest.skip("node or its openai package is not here")
    (tmp_path / "node_modules").symlink_to(INSTALLED / "node_modules")
    script = shutil.copy(ROOT / "examples" / "openai_node.mjs", tmp_path)
    recording = tmp_path / "talk.wav"
    recording.write_bytes(wav())

    ran = subprocess.run(
        ["node", script, address, recording], capture_output=True, text=True, timeout=120, check=False
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, "Hola a todos."), ran.stderr
