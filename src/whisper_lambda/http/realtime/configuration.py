"""What a client says of its session, checked and said back: the `session` object of the Realtime API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, get_args

from whisper_lambda.api import options_from
from whisper_lambda.audio.pcm import RATES, RawFormat
from whisper_lambda.errors import BadOption, WhisperLambdaError
from whisper_lambda.languages import to_code
from whisper_lambda.live.endpoints import Rules
from whisper_lambda.live.pace import PACES, Delay
from whisper_lambda.types import Options

TENTATIVE, WORDS = "x_tentative", "x_words"  # ours: what a client asks for in `include`
LOGPROBS = "item.input_audio_transcription.logprobs"
INCLUDABLE = (LOGPROBS, TENTATIVE, WORDS)
MOST_KEYWORDS = 100
LONGEST_PROMPT = 4_000  # characters
_FORMATS = MappingProxyType({"audio/pcm": "pcm16", "audio/pcmu": "pcmu", "audio/pcma": "pcma"})
_EAGERNESS_S = MappingProxyType({"low": 1.2, "medium": 0.8, "auto": 0.8, "high": 0.5})
USUAL_TURNS = MappingProxyType(
    {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
)
_TELEPHONE_HZ = 8_000
_IDLE = ("create_response", "interrupt_response")  # of a voice that answers; nothing answers here

Check = Callable[[str], object]  # raises UnknownModel for a name that is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One session's wishes."""

    raw: RawFormat = field(default_factory=RawFormat)
    model: str | None = None  # as the client named it
    language: str | None = None
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    prompt: str = ""
    delay: Delay | None = None  # None = low
    turns: Mapping[str, Any] | None = field(
        default_factory=lambda: USUAL_TURNS
    )  # as the client wrote them; None = the client commits
    noise_reduction: Mapping[str, Any] | None = None  # said back; the model needs none
    include: tuple[str, ...] = ()

    @property
    def options(self) -> Options:
        """What may change the text."""
        return options_from(
            language=self.language,
            languages=self.languages,
            hotwords=list(self.keywords),
            prompt=self.prompt,
            times="word",
        )

    @property
    def pace(self) -> Delay:
        """The delay asked for, or the usual one."""
        return self.delay or "low"

    @property
    def rules(self) -> Rules:
        """When an utterance ends. Where the client commits, pauses still end what is decoded at once."""
        turns = self.turns or {}
        silence_s = turns.get("silence_duration_ms", 500) / 1000
        if turns.get("type") == "semantic_vad":
            silence_s = _EAGERNESS_S[turns.get("eagerness") or "auto"]
        return Rules(
            threshold=turns.get("threshold", 0.5),
            padding_s=turns.get("prefix_padding_ms", 300) / 1000,
            silence_s=silence_s,
        )

    def to_wire(self) -> dict[str, Any]:
        """Return it as `session` objects carry it."""
        names = {encoding: name for name, encoding in _FORMATS.items()}
        written: dict[str, Any] = {"type": names[self.raw.encoding]}
        if self.raw.encoding == "pcm16":
            written["rate"] = self.raw.rate
        transcription: dict[str, Any] = {"model": self.model or "whisper-1"}
        for name in ("language", "prompt", "delay"):
            if getattr(self, name):
                transcription[name] = getattr(self, name)
        for name in ("languages", "keywords"):
            if getattr(self, name):
                transcription[name] = list(getattr(self, name))
        heard = {
            "format": written,
            "transcription": transcription,
            "noise_reduction": dict(self.noise_reduction) if self.noise_reduction else None,
            "turn_detection": dict(self.turns) if self.turns else None,
        }
        return {"type": "transcription", "audio": {"input": heard}, "include": list(self.include)}


def updated(before: Configuration, session: object, check: Check) -> Configuration:
    """Return a configuration with what `session` names changed, and everything else as it was.

    Args:
        before: what holds until now.
        session: the member `session` of an event; its other members are refused by name.
        check: raises for a model there is not.

    Raises:
        BadOption: something is not as it must be; `param` says what.
        UnknownModel: there is no such model.
        UnknownLanguage: there is no such language.
    """
    given = _members(session, "session", ("type", "audio", "include", "id", "object", "expires_at"))
    if given.get("type", "transcription") != "transcription":
        raise _blamed(BadOption("only sessions of the type 'transcription' are held here"), "session.type")
    if "include" in given:
        before = replace(before, include=_include(given["include"]))
    audio = _members(given.get("audio"), "session.audio", ("input",))
    at = "session.audio.input"
    heard = _members(audio.get("input"), at, ("format", "transcription", "turn_detection", "noise_reduction"))
    if heard.get("format") is not None:
        before = replace(before, raw=_format(heard["format"], f"{at}.format"))
    if heard.get("transcription") is not None:
        before = _transcription(before, heard["transcription"], f"{at}.transcription", check)
    if "turn_detection" in heard:
        before = replace(before, turns=_turns(heard["turn_detection"], f"{at}.turn_detection"))
    if "noise_reduction" in heard:
        names = ("type", "strength")
        members = _members(heard["noise_reduction"], f"{at}.noise_reduction", names)
        before = replace(before, noise_reduction=members or None)
    return before


def _blamed(error: WhisperLambdaError, param: str) -> WhisperLambdaError:
    error.param = param
    return error


def _members(given: object, at: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _blamed(BadOption(f"{at} is an object"), at)
    for name in given:
        if name not in known:
            raise _blamed(BadOption(f"{at} has no member {str(name)[:40]!r}; it has {', '.join(known)}"), at)
    return given


def _include(given: object) -> tuple[str, ...]:
    names = tuple(given) if isinstance(given, list) else () if given is None else ("?",)
    if any(name not in INCLUDABLE for name in names):
        error = BadOption(f"include is a list of some of {', '.join(INCLUDABLE)}")
        raise _blamed(error, "session.include")
    return tuple(dict.fromkeys(names))


def _format(given: object, at: str) -> RawFormat:
    members = _members(given, at, ("type", "rate"))
    encoding = _FORMATS[_one_of(_FORMATS, members.get("type"), f"{at}.type")]
    if encoding != "pcm16":
        return RawFormat("pcmu" if encoding == "pcmu" else "pcma", _TELEPHONE_HZ)
    rate = members.get("rate", 24_000)
    if rate not in RATES:
        raise _blamed(BadOption(f"{at}.rate is one of {', '.join(map(str, RATES))}"), f"{at}.rate")
    return RawFormat("pcm16", int(rate))


def _transcription(before: Configuration, given: object, at: str, check: Check) -> Configuration:
    members = _members(given, at, tuple(_READERS))
    changes = {name: _READERS[name](value, f"{at}.{name}") for name, value in members.items()}
    if changes.get("model"):
        check(changes["model"])
    return replace(before, **changes)


def _language(given: object, at: str) -> str | None:
    name = _text(given, at, 64)
    return to_code(name) if name else None


def _delay(given: object, at: str) -> object:
    if given is not None and given not in get_args(Delay):
        raise _blamed(BadOption(f"{at} is one of {', '.join(PACES)}"), at)
    return given


def _turns(given: object, at: str) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") not in ("server_vad", "semantic_vad"):
        raise _blamed(BadOption(f"{at} is null, or has the type server_vad or semantic_vad"), at)
    if given["type"] == "semantic_vad":
        members = dict(_members(given, at, ("type", "eagerness", *_IDLE)))
        eagerness = "auto" if members.get("eagerness") is None else members["eagerness"]
        return {"type": "semantic_vad", "eagerness": _one_of(_EAGERNESS_S, eagerness, f"{at}.eagerness")}
    bounds = {"threshold": 1.0, "prefix_padding_ms": 3_000.0, "silence_duration_ms": 10_000.0}
    members = dict(_members(given, at, ("type", "idle_timeout_ms", *bounds, *_IDLE)))
    if members.get("idle_timeout_ms") is not None:
        raise _blamed(BadOption(f"{at}.idle_timeout_ms: nothing answers here, so nothing times out"), at)
    defaults = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    kept = {name: _number(members.get(name), d, bounds[name], f"{at}.{name}") for name, d in defaults.items()}
    return {"type": "server_vad", **kept}


def _one_of(known: Mapping[str, Any], given: object, at: str) -> str:
    if not isinstance(given, str) or given not in known:
        raise _blamed(BadOption(f"{at} is one of {', '.join(known)}"), at)
    return given


def _number(given: object, default: float, most: float, at: str) -> float:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
        raise _blamed(BadOption(f"{at} is a number from 0 to {most:g}"), at)
    return given


def _text(given: object, at: str, most: int) -> str:
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > most:
        raise _blamed(BadOption(f"{at} is a text of at most {most} characters"), at)
    return given


def _texts(given: object, at: str) -> tuple[str, ...]:
    texts = given if isinstance(given, list) else [] if given is None else [0]
    if len(texts) > MOST_KEYWORDS:
        raise _blamed(BadOption(f"{at} holds at most {MOST_KEYWORDS}"), at)
    return tuple(_text(t, at, 200) for t in texts)


_READERS: Mapping[str, Callable[[object, str], Any]] = MappingProxyType(
    {
        "model": lambda given, at: _text(given, at, 200) or None,
        "language": _language,
        "languages": lambda given, at: tuple(to_code(name) for name in _texts(given, at)),
        "keywords": _texts,
        "prompt": lambda given, at: _text(given, at, LONGEST_PROMPT),
        "delay": _delay,
    }
)
