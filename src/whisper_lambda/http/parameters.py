"""The parameters of the OpenAI API and ours: fields of a form in, a Wish out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from whisper_lambda.api import LARGEST_BEAM, options_from
from whisper_lambda.bootstrap import Service
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import BadOption, UnknownFormat
from whisper_lambda.http.fields import Field, Kind, above_zero, blamed, boolean, choice, number, text, whole
from whisper_lambda.http.listening import Wish
from whisper_lambda.languages import to_code
from whisper_lambda.transcript import formats
from whisper_lambda.transcript.formats import Layout
from whisper_lambda.types import Options, Quality, Times, VadMode

# OpenAI's names for what listens. Each means the default tier here; the settings' aliases come first.
OPENAI_MODELS = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)
DIARIZED = "diarized_json"
FORMATS = (*formats.FORMATS, *formats.ALIASES, DIARIZED)
STREAMED = ("json", "text", "verbose_json", DIARIZED)
LONGEST_USER = 128  # characters
MOST_SPEAKERS = 8
_STRATEGY = MappingProxyType(
    {
        "type": choice(("auto", "server_vad")),
        "prefix_padding_ms": whole(0, 60_000),
        "silence_duration_ms": whole(0, 60_000),
        "threshold": number(0.0, 1.0),
    }
)
_TUNING = ("beam_size", "no_speech_threshold", "logprob_threshold", "compression_ratio_threshold")


def language() -> Kind:
    """A code or English name of a language."""
    return Kind(to_code, {"type": "string", "example": "es"})


def model(service: Service) -> Kind:
    """A tier or alias; OpenAI's names mean the default."""

    def read(given: str) -> str | None:
        if given in OPENAI_MODELS and given not in service.settings.aliases:
            return None
        service.router.check(given)
        return given

    return Kind(read, {"type": "string", "example": "whisper-1"})


def response_format() -> Kind:
    """One of the formats."""
    return choice(FORMATS, UnknownFormat)


def keywords() -> Kind:
    """One keyword."""
    return text(200)


def strategy() -> Kind:
    """`auto`, or JSON with the members that may also come as fields of their own."""

    def read(given: str) -> dict[str, Any]:
        if given == "auto":
            return {"type": "auto"}
        try:
            members = json.loads(given)
            return {name: _STRATEGY[name].read(str(value)) for name, value in members.items()}
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise BadOption(f"{given[:40]!r} is neither auto nor JSON of {', '.join(_STRATEGY)}") from None

    return Kind(read, {"type": "string", "example": "auto"})


def shared(service: Service) -> list[Field]:
    """Return the fields transcriptions and translations have in common."""
    return [
        Field("model", model(service), "tier or alias; OpenAI's names mean the default tier"),
        Field("prompt", text(), "text the decoder sees first; its last 223 tokens count"),
        Field("response_format", response_format(), "what is answered; json if absent"),
        Field("temperature", number(0.0, 1.0), "0 = deterministic; above, the decode is sampled"),
        Field("url", text(2048), "https address of the recording, where this server fetches them"),
        Field("upload", text(64), "id of a recording sent ahead (POST /v1/uploads)"),
        Field("user_id", text(LONGEST_USER), "whose request it is, where no key says so"),
        Field("resume", text(2048), "ours: the token of an answer that was cut for time: the rest is heard"),
        Field("budget_usd", above_zero(1e6), "ours: most it may cost by our estimate; chooses the tier"),
        Field("max_latency_s", above_zero(86_400.0), "ours: most seconds it may take; chooses the tier"),
        Field("hotwords", text(), "ours: words to favour, separated by commas"),
        Field("quality", choice(get_args(Quality)), "ours: time against accuracy; balanced if absent"),
        Field("vad", choice(get_args(VadMode)), "ours: whether to skip what is not speech; auto if absent"),
        Field("vad_filter", boolean(), "vad on or off, as other servers spell it"),
        Field("beam_size", whole(1, LARGEST_BEAM), "ours: hypotheses kept; absent = what quality says"),
        Field("no_speech_threshold", number(0.0, 1.0), "ours: above it, doubtful text counts as silence"),
        Field("logprob_threshold", number(-100.0, 0.0), "ours: below it, text is in doubt"),
        Field("compression_ratio_threshold", number(0.0, 100.0), "ours: above it, text is a loop"),
        Field("max_line_width", whole(1, 1000), "ours: characters a subtitle line"),
        Field("max_line_count", whole(1, 100), "ours: lines a subtitle"),
        Field("max_words_per_line", whole(1, 100), "ours: words a subtitle line"),
        Field("highlight_words", boolean(), "ours: underline each word as it is said (srt, vtt)"),
    ]


def transcriptions(service: Service) -> list[Field]:
    """Return the fields of POST /v1/audio/transcriptions."""
    return [
        *shared(service),
        Field("language", language(), "ISO 639-1 code; absent = detected"),
        Field("languages", language(), "candidates for detection", many=True),
        Field("keywords", keywords(), "words to favour", many=True),
        _granularities(),
        Field("include", choice(("logprobs",)), "logprobs: every token's log-probability (json)", many=True),
        Field("chunking_strategy", strategy(), "auto, or server_vad: cut at pauses of speech"),
        *(
            Field(f"chunking_strategy[{name}]", kind, f"{name} of chunking_strategy")
            for name, kind in _STRATEGY.items()
        ),
        Field("known_speaker_names", text(64), "speakers by channel, left first (diarized_json)", many=True),
        Field("known_speaker_references", text(), "refused: voices are not recognised here", many=True),
        _stream(),
        _by_channel(),
        Field("multilingual", boolean(), "ours: detect the language of every chunk"),
    ]


def _stream() -> Field:
    return Field("stream", boolean(), "answer with events while the recording is heard")


def _by_channel() -> Field:
    return Field("by_channel", boolean(), f"ours: one speaker a channel, in formats beside {DIARIZED} too")


def _granularities() -> Field:
    kind = choice(("word", "segment"))
    return Field(
        "timestamp_granularities", kind, "times wanted in verbose_json; segment if absent", many=True
    )


def translations(service: Service) -> list[Field]:
    """Return the fields of POST /v1/audio/translations."""
    return [
        *shared(service),
        Field("language", language(), "ours: the language spoken; absent = detected"),
        _granularities(),
        _stream(),
        _by_channel(),
    ]


def detections(service: Service) -> list[Field]:
    """Return the fields of POST /v1/audio/detect-language."""
    return [
        *(f for f in shared(service) if f.name in {"model", "url", "upload", "user_id", "vad"}),
        Field("languages", language(), "candidates; absent = all the model knows", many=True),
    ]


def layout(values: Mapping[str, Any]) -> Layout:
    """Return how subtitles are cut."""
    names = ("max_line_width", "max_line_count", "max_words_per_line", "highlight_words")
    return Layout(**{name: values[name] for name in names if name in values})


def options(values: Mapping[str, Any], times: Times, **more: Any) -> Options:  # noqa: ANN401 - fields of Options
    """Return what may change the text.

    Raises:
        BadOption: fields contradict each other.
    """
    copied = ("language", "languages", "prompt", "temperature", "quality", "multilingual", *_TUNING)
    given = {name: values[name] for name in copied if name in values}
    favoured = (*values.get("keywords", ()), *(w.strip() for w in values.get("hotwords", "").split(",")))
    return options_from(**given, hotwords=[w for w in favoured if w], vad=_vad(values), times=times, **more)


def _vad(values: Mapping[str, Any]) -> VadMode:
    asked = [name for name in ("vad", "vad_filter") if name in values]
    if len(asked) > 1:
        raise BadOption("vad and vad_filter mean the same: send one")
    if asked:
        vad: VadMode = values["vad"] if "vad" in values else ("on" if values["vad_filter"] else "off")
        return vad
    return "on" if chunking(values).get("type") == "server_vad" else "auto"


def chunking(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of chunking_strategy, however they were sent."""
    nested = {
        name: values[f"chunking_strategy[{name}]"]
        for name in _STRATEGY
        if f"chunking_strategy[{name}]" in values
    }
    return {**values.get("chunking_strategy", {}), **nested}


def warnings(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which parameters were understood and have no effect here."""
    idle = [name for name in chunking(values) if name != "type"]
    if not idle:
        return ()
    return (f"chunking_strategy's {', '.join(idle)} had no effect: pauses are found from the sound itself",)


def speakers(values: Mapping[str, Any], wanted: str) -> tuple[str, ...]:
    """Return the names of the speakers, in the channels' order.

    Raises:
        BadOption: they come without the format that shows them, or voices are to be recognised.
    """
    if "known_speaker_references" in values:
        raise blamed(
            BadOption(
                "known_speaker_references: voices are not recognised here; speakers are told apart by "
                "channel. Send known_speaker_names alone, in the channels' order"
            ),
            "known_speaker_references",
        )
    names = tuple(values.get("known_speaker_names", ()))
    if names and not _apart(values, wanted):
        refused = BadOption(f"known_speaker_names needs response_format={DIARIZED}, or by_channel")
        raise blamed(refused, "known_speaker_names")
    if len(names) > MOST_SPEAKERS or len(set(names)) < len(names):
        refused = BadOption(f"known_speaker_names: at most {MOST_SPEAKERS} names, each once")
        raise blamed(refused, "known_speaker_names")
    return names


def _apart(values: Mapping[str, Any], wanted: str) -> bool:
    return wanted == DIARIZED or bool(values.get("by_channel"))


def wish(values: Mapping[str, Any], times: Times, wanted: str, **more: Any) -> Wish:  # noqa: ANN401
    """Return what is to be heard.

    Raises:
        BadOption: fields contradict each other.
    """
    return Wish(
        options=options(values, times, **more),
        model=values.get("model"),
        by_channel=_apart(values, wanted),
        speakers=speakers(values, wanted),
        bounds=Bounds(budget_usd=values.get("budget_usd"), max_latency_s=values.get("max_latency_s")),
    )


def times(values: Mapping[str, Any], wanted: str, granularities: Sequence[str]) -> Times:
    """Return the least times the answer can be written from."""
    if "word" in granularities:
        return "word"
    if wanted == DIARIZED or "include" in values:
        return "segment"  # scores come with the alignment that times come from
    return formats.needs(wanted, layout(values))
