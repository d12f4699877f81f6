"""The files beside model.bin: do they fit the weights they lie with?

CTranslate2 takes the numbers in config.json as indices without asking. Where no hash is published
(a folder of the operator's own, some tiers), this is what stands between a crafted file and it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models.int8 import Facts
from whisper_lambda.models.sources import VOCABULARIES

_TOKEN_LISTS = ("suppress_ids", "suppress_ids_begin", "lang_ids")


def check_beside(parts: Mapping[str, tuple[Path, ...]], facts: Facts) -> None:
    """Refuse a configuration, vocabulary or tokenizer that points outside the weights.

    Raises:
        ModelCorrupt: names the file and what in it does not fit.
    """
    for name, (path, *_) in parts.items():
        if name == "config.json":
            _check_config(path, facts)
        elif name == "tokenizer.json":
            _check_tokenizer(path, facts)
        elif name in VOCABULARIES:
            _check_vocabulary(path, facts, in_json=name.endswith(".json"))


def _check_config(path: Path, facts: Facts) -> None:
    config = _object(path)
    for key in _TOKEN_LISTS:
        if not _all_below(config.get(key, []), facts.vocabulary):
            raise ModelCorrupt(f"{path}: {key} holds what is no token of these weights")
    heads = config.get("alignment_heads", [])
    pairs = isinstance(heads, list) and all(isinstance(h, list) and len(h) == len("lh") for h in heads)
    if not pairs or not (
        _all_below([layer for layer, _ in heads], facts.decoder_layers)
        and _all_below([head for _, head in heads], facts.decoder_heads)
    ):
        raise ModelCorrupt(f"{path}: alignment_heads names layers or heads these weights do not have")


def _check_tokenizer(path: Path, facts: Facts) -> None:
    tokenizer = _object(path)
    try:
        ids = [*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])]
    except (KeyError, TypeError, AttributeError) as cause:
        raise ModelCorrupt(f"{path} is not a tokenizer") from cause
    if not _all_below(ids, facts.vocabulary):
        raise ModelCorrupt(f"{path} holds tokens these weights do not have")


def _check_vocabulary(path: Path, facts: Facts, *, in_json: bool) -> None:
    if in_json:
        tokens = _read(path)
        count = len(tokens) if isinstance(tokens, list) and all(isinstance(t, str) for t in tokens) else -1
    else:
        count = path.read_bytes().rstrip(b"\n").count(b"\n") + 1
    if count != facts.vocabulary:
        raise ModelCorrupt(f"{path} does not hold the {facts.vocabulary:,} tokens of these weights")


def _all_below(numbers: Any, limit: int) -> bool:  # noqa: ANN401 - anything JSON can hold
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < limit for n in numbers)


def _object(path: Path) -> dict[str, Any]:
    content = _read(path)
    if not isinstance(content, dict):
        raise ModelCorrupt(f"{path} does not hold what it should")
    return content


def _read(path: Path) -> Any:  # noqa: ANN401 - anything JSON can hold
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as cause:
        raise ModelCorrupt(f"{path} cannot be read: {type(cause).__name__}") from cause
