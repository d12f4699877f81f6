import json
import shutil

import pytest
from small_weights import SHAPE

from whisper_lambda.errors import ModelCorrupt
from whisper_lambda.models.store import Store, verify

VOCABULARY, LAYERS, HEADS = SHAPE.vocabulary, SHAPE.decoder_layers, SHAPE.heads


@pytest.fixture
def own(tmp_path, published):
    """A folder of the operator's own: nobody published a hash for it."""
    shutil.copytree(published, tmp_path / "own-model")
    return tmp_path / "own-model"


def crafted(folder, name, content) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    "content",
    [
        {"suppress_ids": [VOCABULARY]},
        {"suppress_ids": [-1]},
        {"suppress_ids": [2**40]},
        {"suppress_ids_begin": ["1"]},
        {"suppress_ids_begin": [True]},
        {"lang_ids": 3},
        {"lang_ids": [1.5]},
        {"alignment_heads": [[LAYERS, 0]]},
        {"alignment_heads": [[0, HEADS]]},
        {"alignment_heads": [[0]]},
        {"alignment_heads": [0]},
        {"alignment_heads": None},
        {"alignment_heads": [[-1, 0]]},
        [],
        "null",
        "{",
        "[" * 100_000,
    ],
)
def test_a_configuration_that_points_outside_the_weights_never_enters_the_store(settings, own, content):
    crafted(own, "config.json", content)

    with pytest.raises(ModelCorrupt, match=r"config\.json"):
        Store(settings).adopt(own)


def test_a_configuration_that_stays_inside_is_taken(settings, own):
    ids = [0, VOCABULARY - 1]
    heads = [[0, 0], [LAYERS - 1, HEADS - 1]]
    crafted(
        own, "config.json", {"suppress_ids": ids, "lang_ids": ids, "alignment_heads": heads, "other": "x"}
    )

    verify(Store(settings).adopt(own))


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"vocab": {"a": VOCABULARY}}, "added_tokens": []},
        {"model": {"vocab": {}}, "added_tokens": [{"id": VOCABULARY}]},
        {"model": {"vocab": []}, "added_tokens": []},
        {"model": {}},
        [],
        "{",
    ],
)
def test_a_tokenizer_of_other_weights_never_enters_the_store(settings, own, content):
    crafted(own, "tokenizer.json", content)

    with pytest.raises(ModelCorrupt, match=r"tokenizer\.json"):
        Store(settings).adopt(own)


@pytest.mark.parametrize("count", [0, 1, VOCABULARY - 1, VOCABULARY + 1])
@pytest.mark.parametrize("name", ["vocabulary.txt", "vocabulary.json"])
def test_a_vocabulary_of_other_weights_never_enters_the_store(settings, own, name, count):
    (own / "vocabulary.txt").unlink()
    tokens = [f"token{n}" for n in range(count)]
    crafted(own, name, tokens if name.endswith("json") else "\n".join(tokens))

    with pytest.raises(ModelCorrupt, match=name.replace(".", r"\.")):
        Store(settings).adopt(own)


def test_a_vocabulary_in_json_is_taken(settings, own):
    (own / "vocabulary.txt").unlink()
    crafted(own, "vocabulary.json", [f"token{n}" for n in range(VOCABULARY)])

    verify(Store(settings).adopt(own))
