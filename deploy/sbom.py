"""Print what this Python holds as CycloneDX JSON: every package, and the C libraries inside wheels.

A wheel's own metadata does not say that FFmpeg, x264 and x265 lie in it: a list made from package
names alone would miss what most security notices about this program will be about.
"""

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import PurePosixPath
from typing import Any

import av
from av import _core

# lib<name>-<build hash>.so.<version>, as auditwheel names what it copies into a wheel
_BUNDLED = re.compile(r"lib(?P<name>[A-Za-z0-9_+-]+?)(?:-[0-9a-f]{8})?\.so(?:\.(?P<version>[0-9.]+))?")


def main() -> None:
    """Write the document to standard output."""
    found = sorted(distributions(), key=lambda d: d.name.lower())
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "whisper-lambda"}},
        "components": [component(d) for d in found],
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def component(package: Distribution) -> dict[str, Any]:
    """Return one package, with the libraries its wheel bundles below it."""
    inside = [bundled(PurePosixPath(str(f))) for f in package.files or () if _is_bundled(str(f))]
    if package.name == "av":
        inside.insert(0, ffmpeg())
    told: dict[str, Any] = {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": f"pkg:pypi/{package.name.lower().replace('_', '-')}@{package.version}",
    }
    if licence := package.metadata.get("License-Expression"):
        told["licenses"] = [{"expression": licence}]
    if inside:
        told["components"] = inside
    return told


def ffmpeg() -> dict[str, Any]:
    """Return FFmpeg as it says itself what it is."""
    codec = _core.library_meta["libavcodec"]
    return {
        "type": "library",
        "name": "ffmpeg",
        "version": av.ffmpeg_version_info,
        "purl": f"pkg:generic/ffmpeg@{av.ffmpeg_version_info}",
        "licenses": [{"license": {"name": codec["license"]}}],
        "properties": [
            {"name": "configuration", "value": codec["configuration"]},
            *(
                {"name": name, "value": ".".join(map(str, meta["version"]))}
                for name, meta in sorted(_core.library_meta.items())
            ),
        ],
    }


def bundled(file: PurePosixPath) -> dict[str, Any]:
    """Return a shared library that lies in a wheel. Its version is that of its file's name."""
    parts = _BUNDLED.fullmatch(file.name)
    assert parts
    name = f"lib{parts['name']}"
    told = {"type": "library", "name": name, "properties": [{"name": "file", "value": str(file)}]}
    if parts["version"]:
        told["version"] = parts["version"]
    return told


def _is_bundled(file: str) -> bool:
    return ".libs/" in file and bool(_BUNDLED.fullmatch(PurePosixPath(file).name))


if __name__ == "__main__":
    main()
