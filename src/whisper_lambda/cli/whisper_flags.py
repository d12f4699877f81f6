"""Arguments written for openai-whisper or whisper-ctranslate2 in, ours out.

Four habits are translated: `_` for `-` in a flag's name, other names for flags of ours, `True` and
`False` after a switch, and flags whose wish is granted always or never. The last are in FIXED: a
value that asks for what happens anyway is dropped in silence, any other is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from whisper_lambda.errors import BadOption


@dataclass(frozen=True, slots=True)
class Fixed:
    """A flag that cannot be set here: the values that are so anyway, and why no other can be."""

    so_anyway: tuple[str, ...]  # lower case
    reason: str


_CPU = "decoding runs on the CPU only"
_DETECTOR = "the voice detector's limits are set by measurement; choose with --vad auto, on or off"
_LADDER = "how doubtful passages are decoded again is set by --quality fast, balanced or best"
_SPEAKERS = "speakers are not told apart"
_FILES = "this command hears files; `whisper-lambda live` hears a microphone"
_PUNCTUATION = "punctuation is attached to words by Whisper's own lists"

FIXED: Mapping[str, Fixed] = MappingProxyType(
    {
        "device": Fixed(("cpu", "auto"), _CPU),
        "device-index": Fixed(("0",), _CPU),
        "fp16": Fixed(("false",), f"{_CPU}, in int8"),
        "compute-type": Fixed(
            ("int8", "int8_float32", "auto", "default"), "weights are kept and run in int8"
        ),
        "batched": Fixed(
            ("true",), "chunks are always decoded together, which changes no word; --batch-size 1 parts them"
        ),
        "condition-on-previous-text": Fixed(
            ("false",), "chunks are decoded independently, so that no error spreads; use --initial-prompt"
        ),
        "carry-initial-prompt": Fixed(("true",), "the prompt is shown before every chunk"),
        "best-of": Fixed((), _LADDER),
        "patience": Fixed(("1", "1.0", "none"), _LADDER),
        "length-penalty": Fixed(("1", "1.0", "none"), _LADDER),
        "temperature-increment-on-fallback": Fixed(("0.2",), _LADDER),
        "repetition-penalty": Fixed(
            ("1", "1.0"), "loops are found and decoded again; words are not forbidden"
        ),
        "no-repeat-ngram-size": Fixed(("0",), "loops are found and decoded again; words are not forbidden"),
        "suppress-tokens": Fixed(
            ("-1", "none"), "the tokens Whisper itself suppresses are the ones suppressed"
        ),
        "prefix": Fixed(("none",), "words cannot be put into the speaker's mouth; use --initial-prompt"),
        "hallucination-silence-threshold": Fixed(("none",), "text over silence is always left out"),
        "vad-threshold": Fixed((), _DETECTOR),
        "vad-min-speech-duration-ms": Fixed((), _DETECTOR),
        "vad-max-speech-duration-s": Fixed((), _DETECTOR),
        "vad-min-silence-duration-ms": Fixed((), _DETECTOR),
        "prepend-punctuations": Fixed(("\"'“¿([{-",), _PUNCTUATION),
        "append-punctuations": Fixed(("\"'.。,，!！?？:：”)]}、",), _PUNCTUATION),
        "print-colors": Fixed(("false",), "--format verbose_json gives every segment's scores"),
        "pretty-json": Fixed(("false",), "pipe the output through: python -m json.tool"),
        "model-directory": Fixed(
            ("none",), "--model-dir takes the folder above, --model the folder's name: DIR/small/model.bin"
        ),
        "speaker-name": Fixed(("speaker",), _SPEAKERS),
        "speaker-num": Fixed(("none",), _SPEAKERS),
        "hf-token": Fixed(("none",), _SPEAKERS),
        "live-transcribe": Fixed(("false",), _FILES),
        "live-volume-threshold": Fixed((), _FILES),
        "live-input-device": Fixed(("none",), _FILES),
    }
)

ALIASES: Mapping[str, str] = MappingProxyType({"--output-format": "--format", "--initial-prompt": "--prompt"})


def ours(args: Sequence[str], *, switches: Mapping[str, str], valued: Collection[str]) -> list[str]:
    """Return the same wishes as our own flags.

    Args:
        args: the command's arguments.
        switches: each flag without a value, and the flag that says its opposite ("" = none does).
        valued: the flags followed by a value, which is never taken for a flag.

    Raises:
        BadOption: a flag asks for what cannot be had; the message says what can.
    """
    left = list(args)
    done: list[str] = []
    while left:
        token = left.pop(0)
        if token == "--":
            return [*done, token, *left]
        name, equals, value = token.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("_", "-")
            name = ALIASES.get(name, name)
        if name[2:] in FIXED and name.startswith("--"):
            _check_fixed(name, value if equals else left.pop(0) if left else "")
        elif name in switches:
            said = value if equals else left[0] if left else ""
            if said.lower() not in {"true", "false"}:
                done.append(name + equals + value)
                continue
            done += _switched(name, switches[name], said.lower() == "true")
            del left[: 0 if equals else 1]
        elif name in valued and not equals:
            done += [name, *left[:1]]
            del left[:1]
        else:
            done.append(name + equals + value if name.startswith("--") else token)
    return done


def _check_fixed(name: str, value: str) -> None:
    fixed = FIXED[name[2:]]
    if value.lower() not in fixed.so_anyway:
        raise BadOption(f"{name} {value}".rstrip() + f": {fixed.reason}")


def _switched(name: str, opposite: str, on: bool) -> list[str]:
    return [name] if on else [opposite] if opposite else []
