"""Frames in, beginnings and endpoints of utterances out, on the audio's own clock. Pure.

The VAD opens an utterance, and a silence closes it. Sound that goes on as loud as the voice when the
VAD no longer hears one (a beat, a crowd) closes nothing: singing and rap are speech the VAD is unsure
of. Such sound by itself opens an utterance too, an unsure one, whose words must be more than likely.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from whisper_lambda.audio.vad import FRAME, Memory, probability_next
from whisper_lambda.types import SAMPLE_RATE, Samples

FRAME_S = FRAME / SAMPLE_RATE
SHORTEST_SPEECH = 3  # frames the VAD must hear in a row to open an utterance
STILL_BELOW = 0.15  # under the threshold by which speech goes on
SILENT_DB = -70.0  # dBFS; below it nothing is heard at all, and the VAD is not asked
UNSURE_DB = -50.0  # quieter sound than this opens nothing by itself
UNSURE_S = 3.0  # of steady sound, which opens an unsure utterance
UNDER_VOICE_DB = 20.0  # nor does sound this much under the voice
PAUSE_UNDER_VOICE_DB = 10.0  # sound less under the voice than this is no pause in it
LEVEL_S, SOUNDING_S = 0.25, 1.5  # time over which the level, and what sounds, is averaged
SOUNDING = 0.7  # share of the time that must sound

What = Literal["", "started", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When an utterance begins and ends."""

    threshold: float = 0.5  # probability at which the VAD hears speech
    padding_s: float = 0.3  # kept before the speech
    silence_s: float = 0.5  # that ends it
    unsure: bool = True  # may sound without speech open an utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """What is known after a frame. Positions are samples of the session's audio."""

    at: int = 0  # end of the last frame
    memory: Memory = field(default_factory=Memory.fresh)
    open: bool = False
    unsure: bool = False  # of the open utterance
    started: int = 0  # of the open utterance, or of the one before
    ended: int = 0  # of the utterance before
    spoke: int = 0  # end of the last frame with speech (or, unsure, with sound)
    run: int = 0  # frames of speech in a row
    voice_db: float = -30.0  # level of the voice
    sound_db: float = SILENT_DB  # level of late
    sounding: float = 0.0  # share of the time of late that sounds


def hear(ear: Ear, frame: Samples, rules: Rules) -> tuple[Ear, What]:
    """Take in one frame of 512 samples."""
    level = float(10.0 * np.log10(np.mean(np.square(frame)) + 1e-12))
    if level <= SILENT_DB:
        probability, memory = 0.0, ear.memory if ear.run or ear.open else Memory.fresh()
    else:
        probability, memory = probability_next(frame, ear.memory)
    speech = probability >= rules.threshold - (STILL_BELOW if ear.open and not ear.unsure else 0.0)
    sounds = level > max(UNSURE_DB, ear.voice_db - UNDER_VOICE_DB)
    ear = replace(
        ear,
        at=ear.at + FRAME,
        memory=memory,
        run=ear.run + 1 if speech else 0,
        sound_db=ear.sound_db + FRAME_S / LEVEL_S * (max(level, SILENT_DB) - ear.sound_db),
        sounding=ear.sounding + FRAME_S / SOUNDING_S * (sounds - ear.sounding),
        voice_db=ear.voice_db + (FRAME_S / SOUNDING_S * (level - ear.voice_db) if speech else 0.0),
    )
    return _inside(ear, rules, speech=speech) if ear.open else _outside(ear, rules)


def close(ear: Ear) -> Ear:
    """Return the ear with no utterance open: its client ended it."""
    return replace(ear, open=False, unsure=False, ended=ear.at, run=0, sounding=0.0) if ear.open else ear


def _outside(ear: Ear, rules: Rules) -> tuple[Ear, What]:
    if ear.run >= SHORTEST_SPEECH:
        start = ear.at - ear.run * FRAME - round(rules.padding_s * SAMPLE_RATE)
        opened = replace(ear, open=True, unsure=False, started=max(start, ear.ended, 0), spoke=ear.at)
        return opened, "started"
    if rules.unsure and ear.sounding > SOUNDING and ear.at - ear.ended >= UNSURE_S * SAMPLE_RATE:
        start = max(ear.at - round(UNSURE_S * SAMPLE_RATE), ear.ended)
        return replace(ear, open=True, unsure=True, started=start, spoke=ear.at), "started"
    return ear, ""


def _inside(ear: Ear, rules: Rules, *, speech: bool) -> tuple[Ear, What]:
    if speech:
        return replace(ear, spoke=ear.at, unsure=ear.unsure and ear.run < SHORTEST_SPEECH), ""
    silent_s = (ear.at - ear.spoke) / SAMPLE_RATE
    if ear.unsure:
        if ear.sounding > 1 - SOUNDING:
            return replace(ear, spoke=ear.at), ""
    elif silent_s >= rules.silence_s and rules.unsure and _goes_on(ear):
        return replace(ear, unsure=True), ""
    if silent_s >= rules.silence_s:
        return replace(ear, open=False, unsure=False, ended=ear.at, run=0, sounding=0.0), "stopped"
    return ear, ""


def _goes_on(ear: Ear) -> bool:
    """Tell whether it sounds on about as loud as the voice was."""
    return ear.sounding > SOUNDING and ear.sound_db > ear.voice_db - PAUSE_UNDER_VOICE_DB
