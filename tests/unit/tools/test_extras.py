from __future__ import annotations

import json

import pytest

from whisper_lambda.tools.extras import needed


def test_a_library_that_is_there_is_imported() -> None:
    assert needed("json") is json


def test_a_missing_library_is_named_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"nothing_such is not installed.*whisper-lambda\[bench\]"):
        needed("nothing_such")
