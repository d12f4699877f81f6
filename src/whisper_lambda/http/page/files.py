"""The page's own files, read once: their bytes, their types, and one name for all of them together.

They are sent as they are written, line by line, without what only their readers need: indentation,
and lines that are nothing but a comment.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

INDEX = "index.html"
VERSION_MARK = b"{version}"  # stands in index.html where the files' common name goes
_FOR_READERS = re.compile(
    rb"^[ \t]+|^[ \t]*//.*$", re.MULTILINE
)  # a test holds texts of many lines to neither
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
        "webmanifest": "application/manifest+json",
    }
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as it is sent."""

    body: bytes
    zipped: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class PageFiles:
    """All of them. `version` changes when one byte of one of them does: it is part of their address."""

    version: str
    index: PageFile
    named: Mapping[str, PageFile]


@cache
def page_files() -> PageFiles:
    """Return the files of this package.

    They import each other by relative addresses, so an address that holds the version of all of
    them may be kept for ever by whoever fetched it, and a new release is never mixed with an old one.
    """
    folder = resources.files("whisper_lambda.http.page") / "assets"
    found = {f.name: sent(f.read_bytes()) for f in folder.iterdir() if f.name.rpartition(".")[2] in TYPES}
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + found[name])
    version = digest.hexdigest()[:12]
    index = found.pop(INDEX).replace(VERSION_MARK, version.encode())
    return PageFiles(
        version,
        _file(INDEX, index),
        MappingProxyType({name: _file(name, body) for name, body in found.items()}),
    )


def sent(written: bytes) -> bytes:
    """Return a file without indentation and comments; a line stays the line it was."""
    return _FOR_READERS.sub(b"", written)


def _file(name: str, body: bytes) -> PageFile:
    return PageFile(body, gzip.compress(body, mtime=0), TYPES[name.rpartition(".")[2]])
