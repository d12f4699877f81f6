"""A SAM template and a memory size in; the template with that size, everything else as it was, out."""

from __future__ import annotations

import re
from pathlib import Path

from whisper_lambda.errors import BadOption

# The parameter the functions refer to, else the functions' common setting.
_PARAMETER = re.compile(
    r"(^  (?:ApiMemoryMb|MemoryMb|Memory):\n(?:    .*\n)*?    Default: )(\d+)", re.MULTILINE
)
_GLOBAL = re.compile(r"(^\s+MemorySize: )(\d+)\s*$", re.MULTILINE)


def set_memory(template: Path, memory_mb: int) -> None:
    """Write the size into the file: the default of its memory parameter, or the first MemorySize.

    Raises:
        BadOption: the template says no memory size in a way we understand.
        OSError: it cannot be read or written.
    """
    text = template.read_text(encoding="utf-8")
    for pattern in (_PARAMETER, _GLOBAL):
        changed, count = pattern.subn(lambda m: f"{m[1]}{memory_mb}", text, count=1)
        if count:
            template.write_text(changed, encoding="utf-8")
            return
    raise BadOption(f"{template}: no memory parameter and no MemorySize was found in it")
