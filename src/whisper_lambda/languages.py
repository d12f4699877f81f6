"""What people call a language, and the code Whisper knows it by."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from whisper_lambda.errors import UnknownLanguage

# Code -> English name, both as Whisper and the OpenAI API spell them. `yue` came with large-v3.
LANGUAGES: Mapping[str, str] = MappingProxyType(
    {
        "en": "english",
        "zh": "chinese",
        "de": "german",
        "es": "spanish",
        "ru": "russian",
        "ko": "korean",
        "fr": "french",
        "ja": "japanese",
        "pt": "portuguese",
        "tr": "turkish",
        "pl": "polish",
        "ca": "catalan",
        "nl": "dutch",
        "ar": "arabic",
        "sv": "swedish",
        "it": "italian",
        "id": "indonesian",
        "hi": "hindi",
        "fi": "finnish",
        "vi": "vietnamese",
        "he": "hebrew",
        "uk": "ukrainian",
        "el": "greek",
        "ms": "malay",
        "cs": "czech",
        "ro": "romanian",
        "da": "danish",
        "hu": "hungarian",
        "ta": "tamil",
        "no": "norwegian",
        "th": "thai",
        "ur": "urdu",
        "hr": "croatian",
        "bg": "bulgarian",
        "lt": "lithuanian",
        "la": "latin",
        "mi": "maori",
        "ml": "malayalam",
        "cy": "welsh",
        "sk": "slovak",
        "te": "telugu",
        "fa": "persian",
        "lv": "latvian",
        "bn": "bengali",
        "sr": "serbian",
        "az": "azerbaijani",
        "sl": "slovenian",
        "kn": "kannada",
        "et": "estonian",
        "mk": "macedonian",
        "br": "breton",
        "eu": "basque",
        "is": "icelandic",
        "hy": "armenian",
        "ne": "nepali",
        "mn": "mongolian",
        "bs": "bosnian",
        "kk": "kazakh",
        "sq": "albanian",
        "sw": "swahili",
        "gl": "galician",
        "mr": "marathi",
        "pa": "punjabi",
        "si": "sinhala",
        "km": "khmer",
        "sn": "shona",
        "yo": "yoruba",
        "so": "somali",
        "af": "afrikaans",
        "oc": "occitan",
        "ka": "georgian",
        "be": "belarusian",
        "tg": "tajik",
        "sd": "sindhi",
        "gu": "gujarati",
        "am": "amharic",
        "yi": "yiddish",
        "lo": "lao",
        "uz": "uzbek",
        "fo": "faroese",
        "ht": "haitian creole",
        "ps": "pashto",
        "tk": "turkmen",
        "nn": "nynorsk",
        "mt": "maltese",
        "sa": "sanskrit",
        "lb": "luxembourgish",
        "my": "myanmar",
        "bo": "tibetan",
        "tl": "tagalog",
        "mg": "malagasy",
        "as": "assamese",
        "tt": "tatar",
        "haw": "hawaiian",
        "ln": "lingala",
        "ha": "hausa",
        "ba": "bashkir",
        "jw": "javanese",
        "su": "sundanese",
        "yue": "cantonese",
    }
)

# The first twelve are the names Whisper's own command line accepts; the rest are what other
# tools and older standards call languages that Whisper files under another code.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "burmese": "my",
        "valencian": "ca",
        "flemish": "nl",
        "haitian": "ht",
        "letzeburgesch": "lb",
        "pushto": "ps",
        "panjabi": "pa",
        "moldavian": "ro",
        "moldovan": "ro",
        "sinhalese": "si",
        "castilian": "es",
        "mandarin": "zh",
        "farsi": "fa",
        "filipino": "tl",
        "fil": "tl",
        "cmn": "zh",
        "iw": "he",
        "in": "id",
        "ji": "yi",
        "jv": "jw",
        "nb": "no",
    }
)

_BY_NAME = {name: code for code, name in LANGUAGES.items()} | dict(ALIASES)


def to_code(language: str) -> str:
    """Return Whisper's code for a name or code, in any case, a region tag (`es-MX`) allowed.

    Whether a given model speaks it is the engine's to say.

    Raises:
        UnknownLanguage: no such language; the message names the nearest ones.
    """
    wanted = " ".join(language.lower().replace("_", "-").split())
    # Only a tag's first part is a language; names hold no hyphen.
    for name in (wanted, re.sub(r"^([a-z]{2,3})-[a-z0-9-]+$", r"\1", wanted)):
        if name in LANGUAGES:
            return name
        if name in _BY_NAME:
            return _BY_NAME[name]
    near = difflib.get_close_matches(wanted[:40], [*_BY_NAME, *LANGUAGES], n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "use a code (es) or an English name (Spanish)"
    raise UnknownLanguage(f"{language[:40]!r} is not a language Whisper knows; {hint}")


def to_name(code: str) -> str:
    """Return the English name the OpenAI API gives a code; a code unknown to us is its own name."""
    return LANGUAGES.get(code, code)
