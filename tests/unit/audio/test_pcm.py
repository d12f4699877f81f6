import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.audio.pcm import PcmStream, RawFormat


def tone(rate: int, seconds: float = 1.0, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_any_rate_becomes_16_khz_without_drift(rate: int) -> None:
    data = (tone(rate, 3.0) * 32767).astype("<i2").tobytes()
    stream = PcmStream(RawFormat("pcm16", rate))
    heard = [stream.samples(data[i : i + 999]) for i in range(0, len(data), 999)]
    samples = np.concatenate([*heard, stream.samples(b"", last=True)])

    assert abs(len(samples) - 48_000) <= 1
    assert np.abs(samples[2_000:46_000] - tone(16_000, 3.0)[2_000:46_000]).max() < 0.01


@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_packets_may_cut_a_sample_in_two(cuts: list[int]) -> None:
    data = (tone(16_000, 0.2) * 32767).astype("<i2").tobytes()
    stream, parts, at, i = PcmStream(RawFormat("pcm16", 16_000)), [], 0, 0
    while at < len(data):
        parts.append(stream.samples(data[at : at + cuts[i % len(cuts)]]))
        at, i = at + cuts[i % len(cuts)], i + 1

    assert np.concatenate(parts).tolist() == PcmStream(RawFormat("pcm16", 16_000)).samples(data).tolist()


@pytest.mark.parametrize(("encoding", "codec"), [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")])
def test_g711_is_read_as_ffmpeg_reads_it(encoding, codec) -> None:
    import av

    data = bytes(range(256)) * 2
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    expected = np.concatenate([f.to_ndarray()[0] for f in decoder.decode(av.Packet(data))]) / 32768
    from whisper_lambda.audio.pcm import _companded

    assert (
        _companded(encoding)[np.frombuffer(data, np.uint8)].tolist() == expected.astype(np.float32).tolist()
    )
