import re

import pytest

from whisper_lambda.errors import UnknownModel
from whisper_lambda.models import catalogue
from whisper_lambda.models.catalogue import TIERS


def names(tiers):
    return [t.name for t in tiers]


def test_tiers_stand_in_size_order_under_unique_names():
    assert [t.model_bytes for t in TIERS] == sorted(t.model_bytes for t in TIERS)
    assert len({t.name for t in TIERS}) == len({t.repo for t in TIERS}) == len(TIERS) == 14


@pytest.mark.parametrize("tier", TIERS, ids=lambda t: t.name)
def test_every_tier_is_pinned_by_revision_and_hash(tier):
    model = next(f for f in tier.files if f.name == "model.bin")

    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert model.bytes > 70_000_000
    assert re.fullmatch("[0-9a-f]{40}", tier.revision) or tier.name == "tiny"
    assert tier.mel_bins == (128 if tier.languages == 100 or tier.name.startswith("distil-large") else 80)
    assert tier.english_only == (tier.name.endswith(".en") or tier.name.startswith("distil"))
    assert 0.5 < tier.int8_mb / tier.size_mb < 0.53


@pytest.mark.parametrize(
    ("other", "name"), [("large", "large-v3"), ("large-v3-turbo", "turbo"), ("base", "base")]
)
def test_other_names_lead_to_tiers(other, name):
    assert catalogue.tier(other).name == name


@pytest.mark.parametrize("nonsense", ["", "smal", "/etc/passwd", "Base", "x" * 10_000])
def test_an_unknown_name_is_refused_briefly(nonsense):
    with pytest.raises(UnknownModel) as refusal:
        catalogue.tier(nonsense)
    assert len(str(refusal.value)) < 300


def test_the_refusal_offers_what_is_near():
    with pytest.raises(UnknownModel, match="did you mean small"):
        catalogue.tier("smal")


def test_substitutes_are_the_nearest_smaller_then_the_nearest_larger():
    assert names(catalogue.substitutes(catalogue.tier("small"))) == [
        "base",
        "tiny",
        "medium",
        "turbo",
        "large-v2",
        "large-v3",
    ]


@pytest.mark.parametrize("tier", TIERS, ids=lambda t: t.name)
def test_english_only_never_stands_in_for_more_languages(tier):
    stand_ins = catalogue.substitutes(tier)

    assert tier not in stand_ins
    assert tier.english_only or not any(t.english_only for t in stand_ins)


def test_an_english_wish_may_be_answered_by_a_multilingual_tier_of_its_size():
    assert names(catalogue.substitutes(catalogue.tier("base.en")))[0] == "base"
