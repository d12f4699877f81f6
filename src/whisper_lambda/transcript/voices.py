"""Transcripts of one recording's channels in, one transcript with speakers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whisper_lambda.errors import NotSeparable
from whisper_lambda.types import Segment, Timings, Transcript


def speaker(names: Sequence[str], channel: int) -> str:
    """Return what the speaker of a channel is called: as the client says, else A, B, ..."""
    return names[channel] if channel < len(names) else chr(ord("A") + channel)


def check_separable(channels: int, names: Sequence[str]) -> None:
    """Refuse a recording whose speakers cannot be told apart.

    Raises:
        NotSeparable: it has one channel, or fewer than there are names.
    """
    if channels < 2:  # noqa: PLR2004
        raise NotSeparable(
            "the recording has one channel: speakers are told apart only where each has a channel of their "
            "own (e.g. a stereo call). Ask for json or verbose_json, or send the channels apart"
        )
    if len(names) > channels:
        raise NotSeparable(f"{len(names)} speakers are named and the recording has {channels} channels")


def together(
    parts: Sequence[Transcript],
    segments: Sequence[Segment],
    *,
    duration: float,
    warnings: tuple[str, ...],
    spent: Timings,
) -> Transcript:
    """Return one transcript of all channels.

    Args:
        parts: each channel's.
        segments: all channels', with their speakers, in time.
        duration: of the recording, seconds.
        warnings: the recording's.
        spent: on all channels together; its total is reckoned here.
    """
    return replace(
        parts[0],
        segments=tuple(segments),
        language=next((p.language for p in parts if p.language), ""),
        duration=duration,
        dropped=tuple(sorted((d for p in parts for d in p.dropped), key=lambda d: (d.start, d.end))),
        warnings=warnings,
        chunks=sum(p.chunks for p in parts),
        cached_chunks=sum(p.cached_chunks for p in parts),
        timings=replace(spent, total_s=spent.decode_s + spent.vad_s + spent.engine_s),
    )
