"""Resolve the locked requirements for every platform we name; write docs/platforms.md.

Nothing is installed: `uv pip install --dry-run` must find a wheel with a locked hash for each
package. Run it by `make wheels`; it asks the package index, so it is no part of `make check`.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
# what a reader calls it, uv's name for it, oldest macOS
PLATFORMS = (
    ("Linux x86_64 (glibc 2.28+)", "x86_64-manylinux_2_28", ""),
    ("Linux arm64 (glibc 2.28+)", "aarch64-manylinux_2_28", ""),
    ("macOS arm64 (14+)", "aarch64-apple-darwin", "14.0"),
    ("macOS x86_64 (14+)", "x86_64-apple-darwin", "14.0"),
)
LOCKS = ("run", "test")
IMAGE_LOCK = "lambda"  # what deploy/Dockerfile installs: Linux only
SOURCE_ONLY = ("srt",)  # pure Python, published without a wheel; built by the locked setuptools

HEAD = """# Platforms

Every cell is a dry resolve of the hash-locked requirements: each package has a wheel for that
platform and that Python among the locked hashes (`make wheels` writes this page). `test.txt` holds
one package published as source only, `srt`, which is pure Python and built by the locked setuptools.
"""
FOOT = """
What the machines of this project run is Linux x86_64 on Python 3.11, 3.12 and 3.13; on the other
platforms the wheels resolve and nothing more is claimed. Intel Macs get onnxruntime 1.23, the last
with wheels for them. Alpine (musl) is not supported: ctranslate2 and onnxruntime publish no wheels
for it. Windows is not supported: decoding runs in a child process limited by POSIX means.
"""


def resolve(lock: str, platform: str, python: str, macos: str) -> str:
    """Return "" when every locked package has a wheel there, else the resolver's reason."""
    command = ["uv", "pip", "install", "--dry-run", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    command += [f"--no-binary={name}" for name in SOURCE_ONLY]
    command += ["--python-platform", platform, "--python-version", python, "-r", f"requirements/{lock}.txt"]
    env = os.environ | ({"MACOSX_DEPLOYMENT_TARGET": macos} if macos else {})
    with TemporaryDirectory() as target:  # empty, so that nothing counts as installed already
        command += ["--target", target]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else " ".join(done.stderr.split())


def main() -> int:
    """Write the table; return how many cells failed."""
    failures = []
    rows = []
    for name, platform, macos in PLATFORMS:
        cells = []
        for python in PYTHONS:
            reasons = [
                (lock, resolve(lock, platform, python, macos))
                for lock in (*LOCKS, *([] if macos else [IMAGE_LOCK]))
            ]
            failures += [f"{name}, Python {python}, {lock}.txt: {why}" for lock, why in reasons if why]
            cells.append(", ".join(f"{lock} {'FAILS' if why else 'ok'}" for lock, why in reasons))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    table = [f"| | {' | '.join(f'Python {p}' for p in PYTHONS)} |", "|---" * (len(PYTHONS) + 1) + "|", *rows]
    failed = ["", *(f"* {line}" for line in failures)] if failures else []
    page = "\n".join([HEAD, *table, *failed]) + "\n" + FOOT
    (ROOT / "docs/platforms.md").write_text(page, encoding="utf-8")
    print(page)
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
