"""POST /v1/audio/peaks: how loud a recording is along its length."""

from __future__ import annotations

from itertools import pairwise

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import pcm_wav, wav
from whisper_lambda.http.peaks import MOST_PEAKS, Outline
from whisper_lambda.types import SAMPLE_RATE


def asked(http: httpx2.Client, recording: bytes, **fields: str) -> httpx2.Response:
    return http.post("/v1/audio/peaks", data=fields, files={"file": recording})


def test_peaks_are_the_loudest_sample_of_each_stretch(http: httpx2.Client) -> None:
    samples = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples[SAMPLE_RATE : SAMPLE_RATE * 2] = 0.5
    samples[SAMPLE_RATE * 3 + 10] = -0.75
    answer = asked(http, pcm_wav(samples), per_second="2").json()

    assert (answer["duration"], answer["per_second"]) == (4.0, 2.0)
    assert answer["peaks"] == pytest.approx([0, 0, 0.5, 0.5, 0, 0, 0.75, 0], abs=0.002)


def test_a_long_recording_has_no_more_peaks_than_a_screen_can_show(http: httpx2.Client) -> None:
    answer = asked(http, wav(600)).json()

    assert answer["duration"] == pytest.approx(600, abs=0.05)
    assert MOST_PEAKS / 2 <= len(answer["peaks"]) <= MOST_PEAKS
    assert len(answer["peaks"]) / answer["per_second"] == pytest.approx(600, abs=1)
    assert max(answer["peaks"]) <= 1


@settings(max_examples=60)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=30), st.sampled_from([None, 1, 3, 7, 25, 100]))
def test_how_the_samples_come_in_changes_nothing(sizes: list[int], per_second: int | None) -> None:
    samples = np.random.default_rng(len(sizes)).uniform(-1, 1, sum(sizes)).astype(np.float32)
    outline = Outline() if per_second is None else Outline(float(per_second), fixed=True)
    for block in np.split(samples, np.cumsum(sizes)[:-1]):
        outline.add(block)
    peaks = outline.finished()

    step = SAMPLE_RATE / outline.per_second
    edges = np.rint(np.arange(len(peaks) + 1) * step).astype(int)
    expected = [np.abs(samples[a:b]).max() for a, b in pairwise(edges)]
    assert peaks == pytest.approx(expected, abs=0.001)
    assert edges[-2] < len(samples) <= edges[-1]


def test_halving_keeps_every_peak_in_its_place() -> None:
    outline = Outline()
    samples = np.zeros(SAMPLE_RATE, np.float32)
    for second in range(3000):
        samples[:] = 1.0 if second == 1500 else 0.1
        outline.add(samples)
    peaks = outline.finished()

    assert len(peaks) <= MOST_PEAKS
    loud = [i / outline.per_second for i, p in enumerate(peaks) if p == 1.0]
    assert min(loud) == pytest.approx(1500, abs=1 / outline.per_second)
    assert max(loud) == pytest.approx(1501, abs=1 / outline.per_second)


@pytest.mark.parametrize(
    ("fields", "param"), [({"per_second": "0"}, "per_second"), ({"colour": "red"}, "colour")]
)
def test_what_cannot_be_drawn_is_refused_by_name(
    http: httpx2.Client, fields: dict[str, str], param: str
) -> None:
    refused = asked(http, wav(), **fields)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_no_audio_is_refused_as_everywhere(http: httpx2.Client) -> None:
    assert asked(http, b"no audio at all").json()["error"]["code"] == "bad_audio"
