"""Where a job's objects are, and how a chunk's audio is written into one."""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np

from whisper_lambda import tenants
from whisper_lambda.errors import ObjectMissing
from whisper_lambda.job import Job
from whisper_lambda.ports import ObjectStore
from whisper_lambda.types import Chunk, Samples

_FULL_SCALE = 32768.0  # of 16 bits: float samples made from such are whole multiples of its inverse


ALL = "jobs/"  # what every key here starts with


def job_of(key: str) -> str:
    """Return whose object a key is."""
    return key.split("/")[2]


def prefix(tenant: str, job_id: str = "") -> str:
    """Return what the keys of a tenant's jobs, or of one of them, start with."""
    return f"{ALL}{tenants.folder(tenant)}/{job_id}{'/' if job_id else ''}"


def source_key(tenant: str, job_id: str) -> str:
    """Return the key of the recording as it came."""
    return f"{prefix(tenant, job_id)}source"


def plan_key(job: Job) -> str:
    """Return the key of the plan."""
    return f"{prefix(job.tenant, job.id)}plan.json"


def chunk_key(job: Job, index: int) -> str:
    """Return the key of a chunk's audio."""
    return f"{prefix(job.tenant, job.id)}chunk-{index:06}"


def transcript_key(job: Job) -> str:
    """Return the key of the transcript."""
    return f"{prefix(job.tenant, job.id)}transcript.json"


def remove_audio(job: Job, objects: ObjectStore) -> None:
    """Delete all of a job that has ended but its transcript: nobody needs the audio any more.

    A cancelled job keeps its plan, too: what was heard of it may still be asked for.
    """
    kept = {transcript_key(job), plan_key(job)} if job.state == "cancelled" else {transcript_key(job)}
    for key in list(objects.keys(prefix(job.tenant, job.id))):
        if key not in kept:
            objects.delete(key)
    objects.delete(job.source)


def remove_all(tenant: str, job_id: str, objects: ObjectStore) -> None:
    """Delete every object of a job."""
    for key in list(objects.keys(prefix(tenant, job_id))):
        objects.delete(key)


def to_bytes(chunk: Chunk, channel: int) -> bytes:
    """Return a chunk to be stored: a line of JSON, then its samples, exactly.

    Samples that came from 16 bits are written as such: half the size, and the same to the last bit.
    """
    whole = np.rint(chunk.samples * _FULL_SCALE)
    fits = whole.min(initial=0) >= -_FULL_SCALE and whole.max(initial=0) < _FULL_SCALE
    exact = fits and bool(np.all(whole == chunk.samples * _FULL_SCALE))
    samples = whole.astype("<i2") if exact else chunk.samples.astype("<f4", copy=False)
    head = {"start": chunk.start, "unsure": chunk.unsure, "channel": channel, "kind": samples.dtype.str}
    return json.dumps(head).encode() + b"\n" + samples.tobytes()


def from_stream(stream: BinaryIO) -> tuple[Chunk, int]:
    """Return a stored chunk and its channel.

    Raises:
        ObjectMissing: it is not what was stored.
    """
    with stream:
        line, _, raw = stream.read().partition(b"\n")
    try:
        head = json.loads(line)
        samples: Samples = np.frombuffer(raw, {"<i2": "<i2", "<f4": "<f4"}[head["kind"]])
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(_FULL_SCALE)
        return Chunk(samples, head["start"], head["unsure"]), head["channel"]
    except (ValueError, KeyError, TypeError) as cause:
        raise ObjectMissing("a chunk's audio is damaged") from cause
