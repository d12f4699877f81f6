"""A SAM template and a memory size in; the template with that size, everything else as it was, out."""

from __future__ import annotations

import re
from pathlib import Path

from whisper_lambda.errors import BadOption

# The parameter the functions refer to, else the functions' common setting.
_PARAMETER = re.compile(
    r"(^  (?:ApiMemoryMb|MemoryMb|Memory):\n(?:    .*\n)*?    Default: )(\d+)", re.MULTILINE
)
_GLOBAL = re.compile(r"(^[ \t]+MemorySize: )(\d+)[ \t]*$", re.MULTILINE)


def memory_of(template: Path) -> int:
    """Return the size that `set_memory` would change.

    Raises:
        BadOption: the template says no memory size in a way we understand.
        OSError: it cannot be read.
    """
    return int(_found(template, template.read_text(encoding="utf-8"))[2])


def set_memory(template: Path, memory_mb: int) -> None:
    """Write the size into the file: the default of its memory parameter, or the first MemorySize.

    Raises:
        BadOption: the template says no memory size in a way we understand.
        OSError: it cannot be read or written.
    """
    text = template.read_text(encoding="utf-8")
    start, end = _found(template, text).span(2)
    template.write_text(f"{text[:start]}{memory_mb}{text[end:]}", encoding="utf-8")


def _found(template: Path, text: str) -> re.Match[str]:
    for pattern in (_PARAMETER, _GLOBAL):
        if match := pattern.search(text):
            return match
    raise BadOption(f"{template}: no memory parameter and no MemorySize was found in it")
