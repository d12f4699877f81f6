import io
import json
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from recordings import PEAK_KB, encoded, loudest_hz, rms, silent_video, speechlike, tone, wav

from whisper_lambda.audio.decode import decode, decode_blocks
from whisper_lambda.audio.sandbox import DecoderPool
from whisper_lambda.errors import (
    AudioTooLarge,
    AudioTooLong,
    BadAudio,
    EmptyAudio,
    NoAudioStream,
    StorageFull,
)
from whisper_lambda.types import SAMPLE_RATE

FORMATS = Path(__file__).parents[3].parent / "shared" / "speech" / "open" / "formats"
CASES = (
    [json.loads(line) for line in (FORMATS / "manifest.jsonl").read_text("utf-8").splitlines()]
    if FORMATS.is_dir()
    else []
)

# container, codec, Hz, layout: what people's devices and archives write.
KINDS = [
    ("wav", "pcm_s16le", 8_000, "mono"),
    ("wav", "pcm_u8", 16_000, "mono"),
    ("wav", "pcm_s24le", 48_000, "stereo"),
    ("wav", "pcm_s32le", 44_100, "mono"),
    ("wav", "pcm_f32le", 192_000, "mono"),
    ("wav", "pcm_f64le", 22_050, "mono"),
    ("wav", "pcm_mulaw", 8_000, "mono"),
    ("wav", "pcm_alaw", 8_000, "mono"),
    ("wav", "adpcm_ms", 16_000, "mono"),
    ("wav", "adpcm_ima_wav", 16_000, "mono"),
    ("w64", "pcm_s16le", 16_000, "mono"),
    ("mp3", "mp3", 44_100, "stereo"),
    ("mp3", "mp3", 16_000, "mono"),
    ("mp2", "mp2", 48_000, "stereo"),
    ("flac", "flac", 96_000, "mono"),
    ("flac", "flac", 16_000, "5.1"),
    ("ogg", "libopus", 48_000, "stereo"),
    ("ogg", "flac", 16_000, "mono"),
    ("webm", "libopus", 48_000, "mono"),
    ("matroska", "libopus", 48_000, "stereo"),
    ("mp4", "aac", 44_100, "stereo"),
    ("ipod", "aac", 16_000, "mono"),
    ("ipod", "alac", 44_100, "stereo"),
    ("mov", "pcm_s16be", 48_000, "stereo"),
    ("adts", "aac", 22_050, "mono"),
    ("mpegts", "aac", 48_000, "stereo"),
    ("ac3", "ac3", 48_000, "5.1"),
    ("eac3", "eac3", 48_000, "stereo"),
    ("aiff", "pcm_s16be", 44_100, "mono"),
    ("au", "pcm_s16be", 8_000, "mono"),
    ("caf", "pcm_s16le", 16_000, "mono"),
    ("asf", "wmav2", 44_100, "stereo"),
    ("avi", "mp3", 44_100, "mono"),
    ("flv", "mp3", 44_100, "mono"),
    ("tta", "tta", 16_000, "mono"),
    ("wv", "wavpack", 44_100, "mono"),
    ("voc", "pcm_s16le", 16_000, "mono"),
]


@pytest.mark.speech
@pytest.mark.skipif(not CASES, reason="the evaluation recordings (../shared/speech) are not here")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c["audio"])
def test_a_recording_of_the_formats_set_does_as_it_should(case, decoders, limits):
    path = FORMATS / case["audio"]
    if case["expect"].startswith("error"):
        with pytest.raises(BadAudio) as refusal:
            decode(path, limits, decoders)
        expected = {"zero-length.wav": EmptyAudio, "header-only.wav": EmptyAudio}
        expected |= {"png-renamed.mp3": NoAudioStream, "video-no-audio.mp4": NoAudioStream}
        assert type(refusal.value) is expected.get(case["audio"], BadAudio)
        return

    decoded = decode(path, limits, decoders)

    # Of a video the manifest gives the picture's length; half a file holds half.
    half = case["audio"].startswith("truncated")
    whole = 11.0 if "video" in case["audio"] else case.get("duration_s", 11.0)
    assert decoded.duration == pytest.approx(5.5 if half else whole, abs=0.5 if half else 0.15)
    if case["audio"] != "jfk-phase-inverted.wav":  # digital silence in one channel: it was mixed when made
        assert 0.001 < rms(decoded.samples) < 0.4


@pytest.mark.parametrize(("container", "codec", "rate", "layout"), KINDS, ids=str)
def test_a_tone_survives(container, codec, rate, layout, decoders, limits):
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    made = encoded(np.tile(tone(2.0, rate), (channels, 1)), container, codec, rate=rate, layout=layout)

    decoded = decode(made, limits, decoders)

    assert decoded.samples.dtype == np.float32
    assert decoded.duration == pytest.approx(2.0, abs=0.15)
    assert loudest_hz(decoded.samples[4000:-4000]) == pytest.approx(440, abs=3)
    assert rms(decoded.samples[4000:-4000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert decoded.warnings == ()


@pytest.mark.parametrize(
    ("suffix", "container", "codec", "rate"),
    [
        (".g722", "g722", "g722", 16_000),
        (".sln", "s16le", "pcm_s16le", 8_000),
        (".al", "alaw", "pcm_alaw", 8_000),
        (".ULAW", "mulaw", "pcm_mulaw", 8_000),
    ],
)
def test_a_format_without_a_header_is_told_by_its_name(
    suffix, container, codec, rate, tmp_path, decoders, limits
):
    made = encoded(tone(2.0, rate), container, codec, rate=rate)
    path = tmp_path / f"call{suffix}"
    path.write_bytes(made)

    assert loudest_hz(decode(path, limits, decoders).samples[2000:]) == pytest.approx(440, abs=5)
    assert decode(made, limits, decoders, name=path.name).duration == pytest.approx(2.0, abs=0.15)


def test_a_name_is_not_believed_against_the_content(tmp_path, decoders, limits):
    for name, content in [
        ("a.g722", wav(tone())),
        ("b.sln", encoded(tone(rate=48_000), "ogg", "libopus", rate=48_000)),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        assert loudest_hz(decode(path, limits, decoders).samples) == pytest.approx(440, abs=3)
    with pytest.raises(NoAudioStream):
        decode(b"\x89PNG\r\n\x1a\n" + bytes(500), limits, decoders, name="c.g722")
    for seed in (18, 102, 164):  # two frames of this noise begin as GSM's do
        with pytest.raises(BadAudio):
            decode(np.random.default_rng(seed).bytes(5000), limits, decoders, name="d.gsm")


def test_wav_samples_come_through_unchanged(decoders, limits):
    made = speechlike()

    decoded = decode(wav(made, bits=32), limits, decoders)

    assert np.array_equal(decoded.samples, made)


def test_the_four_ways_in_give_the_same_samples(tmp_path, decoders, limits):
    content = encoded(speechlike(3.0, 44_100), "mp3", "mp3", rate=44_100)
    path = tmp_path / "ñandú ☕ 文件"
    path.write_bytes(content)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(content,))
    writer.start()

    ways = [content, path, io.BytesIO(content), fifo]
    decoded = [decode(way, limits, decoders).samples for way in ways]

    writer.join()
    assert all(np.array_equal(d, decoded[0]) for d in decoded)
    assert np.array_equal(np.concatenate(list(decode_blocks(path, limits, decoders))), decoded[0])


def test_nothing_is_left_in_the_scratch_directory(tmp_path, limits):
    decoders = DecoderPool(1, tmp_path)
    seen = []
    blocks = decode_blocks(io.BytesIO(wav(speechlike(3.0))), limits, decoders)
    next(blocks)
    seen += tmp_path.iterdir()
    blocks.close()
    decoders.close()

    assert [*seen, *tmp_path.iterdir()] == []


def test_a_scratch_directory_that_cannot_be_written_is_said(tmp_path, limits):
    decoders = DecoderPool(0, tmp_path / "gone")
    with pytest.raises(StorageFull, match="gone"):
        decode(io.BytesIO(wav(tone())), limits, decoders)
    decoders.close()


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_resampling_mirrors_nothing_into_the_speech_band(rate, decoders, limits):
    heard = decode(wav(tone(1.0, rate, 3_000), rate), limits, decoders).samples[2000:-2000]
    assert rms(heard) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    if rate <= SAMPLE_RATE:
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        above = spectrum[round(len(spectrum) * rate / SAMPLE_RATE * 1.1) :]
        assert above.max(initial=0) < spectrum.max() * 1e-3
    else:
        beyond = decode(wav(tone(1.0, rate, 8_700), rate), limits, decoders).samples[2000:-2000]
        assert rms(beyond) < 1e-3 * rms(heard)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_exactly_the_limit_is_accepted_and_one_sample_more_refused(rate, decoders, limits):
    limits = replace(limits, max_seconds=3.0)
    exact = np.zeros(3 * rate, np.float32)

    assert len(decode(wav(exact, rate), limits, decoders).samples) == 3 * SAMPLE_RATE
    with pytest.raises(AudioTooLong, match="3 s"):
        decode(wav(np.append(exact, np.float32(0)), rate), limits, decoders)


def test_a_limit_of_bytes_holds_for_every_way_in(tmp_path, decoders, limits):
    content = wav(tone())
    path = tmp_path / "a.wav"
    path.write_bytes(content)

    for way in (content, path, io.BytesIO(content)):
        with pytest.raises(AudioTooLarge):
            decode(way, replace(limits, max_bytes=len(content) - 1), decoders)
    for way in (content, path, io.BytesIO(content)):
        assert decode(way, replace(limits, max_bytes=len(content)), decoders).duration == 2.0


def test_an_endless_stream_is_stopped_at_the_limit_of_bytes(decoders, limits):
    with Path("/dev/zero").open("rb") as endless, pytest.raises(AudioTooLarge):
        decode(endless, replace(limits, max_bytes=3_000_000), decoders)


def hour_of_silence():
    """An hour in a megabyte or less, whose header does not say how long it is."""
    flac = bytearray(encoded(np.zeros(3600 * SAMPLE_RATE, np.float32), "flac", "flac"))
    flac[21] &= 0xF0  # the 36-bit count of samples: 0 means not known
    flac[22:26] = bytes(4)
    return bytes(flac)


def test_a_long_file_is_refused_for_the_price_of_its_limit(decoders, limits):
    bomb = hour_of_silence()
    limits = replace(limits, max_seconds=5.0)
    times = []
    for _ in range(3):  # what it costs is the quickest; the others say how busy the machine is
        started = time.perf_counter()
        blocks = refused_after(bomb, limits, decoders)
        times.append(time.perf_counter() - started)

        assert 4 <= blocks <= 5
    assert len(bomb) < 1_000_000
    assert min(times) < 0.5


def refused_after(content, limits, decoders):
    """Return how many blocks came before the refusal."""
    count = 0
    try:
        for _ in decode_blocks(content, limits, decoders):
            count += 1
    except AudioTooLong:
        return count
    pytest.fail("nothing was refused")


def test_a_file_that_says_it_is_too_long_is_not_decoded_at_all(decoders, limits):
    honest = encoded(np.zeros(600 * SAMPLE_RATE, np.float32), "flac", "flac")

    assert refused_after(honest, replace(limits, max_seconds=60.0), decoders) == 0


def test_blocks_come_one_by_one_and_memory_does_not_grow(decoders, limits):
    long = hour_of_silence()
    lengths = [len(b) for b in decode_blocks(long, replace(limits, max_seconds=3600.0), decoders)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    lengths = [len(b) for b in decode_blocks(long, replace(limits, max_seconds=3600.0), decoders)]

    assert sum(lengths) == 3600 * SAMPLE_RATE
    assert max(lengths) <= SAMPLE_RATE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000  # kB


LONG = """
    import sys
    from pathlib import Path
    from whisper_lambda.audio.decode import Limits, decode
    from whisper_lambda.audio.sandbox import DecoderPool

    limits = Limits(max_seconds=4000.0, max_bytes=10**8, timeout_s=60.0)
    before = peak_kb()
    decoders = DecoderPool(1)
    samples = decode(Path(sys.argv[1]), limits, decoders).samples
    decoders.close()
    samples += 1  # touches what was only zeroes
    print(peak_kb() - before, samples.nbytes // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_whole_recording_is_held_once(tmp_path):
    path = tmp_path / "hour.flac"
    path.write_bytes(hour_of_silence())
    told = subprocess.run(
        [sys.executable, "-c", PEAK_KB + textwrap.dedent(LONG), str(path)], capture_output=True, check=True
    )
    grown_kb, recording_kb = map(int, told.stdout.split())

    assert recording_kb == 225_000
    assert recording_kb * 0.9 < grown_kb < recording_kb * 1.15


def test_channels_that_cancel_out_are_not_mixed(decoders, limits):
    left = speechlike()

    decoded = decode(wav(np.stack([left, -left]), bits=32), limits, decoders)

    assert np.array_equal(decoded.samples, left)
    assert len(decoded.warnings) == 1
    assert "cancel" in decoded.warnings[0]


def test_a_stretch_that_cancels_out_does_not_cost_the_other_channel(decoders, limits):
    """Two people on two channels, after three seconds of a signal that is inverted in one."""
    jingle, caller, agent = speechlike(3.0), speechlike(3.0, seed=1), speechlike(3.0, seed=2)
    left = np.concatenate([jingle, caller, np.zeros_like(agent)])
    right = np.concatenate([-jingle, np.zeros_like(caller), agent])

    heard = decode(wav(np.stack([left, right]), bits=32), limits, decoders).samples

    for second, said in ((0, jingle), (3, caller / 2), (6, agent / 2)):
        stretch = heard[second * SAMPLE_RATE : (second + 3) * SAMPLE_RATE]
        assert np.allclose(stretch, said, atol=1e-6)


def test_one_channel_alone_is_heard_without_a_warning(decoders, limits):
    left = speechlike()

    decoded = decode(wav(np.stack([left, np.zeros_like(left)]), bits=32), limits, decoders)

    assert np.allclose(decoded.samples, left / 2)
    assert decoded.warnings == ()


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8])
def test_channels_can_be_had_each_by_itself(count, decoders, limits):
    made = [speechlike(seed=seed) for seed in range(count)]

    decoded = decode(wav(np.stack(made), bits=32), limits, decoders, split_channels=True)

    assert len(decoded.channels) == count
    assert all(np.array_equal(c, m) for c, m in zip(decoded.channels, made, strict=True))
    if count <= 3:
        assert np.allclose(decoded.samples, sum(made) / count, atol=1e-6)


def test_the_third_channel_of_a_film_stands_out(decoders, limits):
    film = np.stack([speechlike(seed=s) for s in range(6)])

    heard = decode(encoded(film, "flac", "flac", layout="5.1"), limits, decoders).samples
    shares = [np.dot(heard, c) / np.dot(c, c) for c in film]

    assert np.argmax(shares) == 2
    assert min(shares) > 0.05


def test_samples_are_always_numbers_between_minus_one_and_one(decoders, limits):
    wild = tone(bits := 1.0)
    wild[100:110] = np.nan
    wild[200:210] = np.inf
    wild[300:310] = 1e30

    decoded = decode(wav(wild, bits=32), limits, decoders)

    assert bits
    assert np.isfinite(decoded.samples).all()
    assert np.abs(decoded.samples).max() <= 1.0


@pytest.mark.parametrize(
    "kind", [("mp3", "mp3", 44_100), ("wav", "pcm_s16le", 16_000), ("flac", "flac", 16_000)]
)
def test_half_a_file_gives_half_the_recording_and_a_warning(kind, decoders, limits):
    container, codec, rate = kind
    whole = encoded(speechlike(10.0, rate), container, codec, rate=rate)

    decoded = decode(whole[: len(whole) // 2], limits, decoders)

    assert decoded.duration == pytest.approx(5.0, abs=0.5)
    assert any("ends early" in w for w in decoded.warnings), decoded.warnings


def test_a_hole_in_the_middle_costs_only_itself(decoders, limits):
    damaged = bytearray(encoded(speechlike(10.0), "adts", "aac"))
    middle = len(damaged) // 2
    damaged[middle : middle + 2000] = bytes(2000)

    decoded = decode(bytes(damaged), limits, decoders)

    assert 9.0 < decoded.duration < 10.0
    assert any("damaged" in w for w in decoded.warnings), decoded.warnings


def test_a_video_is_heard_and_its_pictures_are_not_touched(decoders, limits):
    made = encoded(tone(2.0, 44_100), "mp4", "aac", rate=44_100, video=True)

    assert loudest_hz(decode(made, limits, decoders).samples) == pytest.approx(440, abs=3)


def test_a_picture_in_an_mp3_is_not_in_the_way(decoders, limits):
    picture = b"\x00image/png\x00\x03\x00" + b"\x89PNG\r\n\x1a\n" + bytes(3000)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\x00\x00" + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    made = b"ID3\x03\x00\x00" + size + frame + encoded(tone(2.0, 44_100), "mp3", "mp3", rate=44_100)

    decoded = decode(made, limits, decoders)

    assert loudest_hz(decoded.samples) == pytest.approx(440, abs=3)
    assert decoded.warnings == ()


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_streams_the_default_one_is_heard(default, decoders, limits):
    written = io.BytesIO()
    with av.open(written, "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
        streams[default].disposition = av.stream.Disposition.default
        for stream, hz in zip(streams, (440, 880), strict=True):
            samples = (tone(2.0, hz=hz) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 16_000
            output.mux([*stream.encode(frame), *stream.encode(None)])

    heard = decode(written.getvalue(), limits, decoders).samples

    assert loudest_hz(heard) == pytest.approx((440, 880)[default], abs=3)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", EmptyAudio, "empty"),
        (wav(np.empty(0, np.float32)), EmptyAudio, "no audio"),
        (wav(tone())[:40], EmptyAudio, "before its audio"),
        (silent_video(), NoAudioStream, "without any audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), NoAudioStream, "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(200), NoAudioStream, "JPEG"),
        (b"Dear Sir or Madam,\n" * 50, BadAudio, "text"),
        (b"%PDF-1.7\n" + bytes(500), BadAudio, "PDF"),
        (b"PK\x03\x04" + bytes(500), BadAudio, "ZIP"),
        (np.random.default_rng(1).bytes(65_536), BadAudio, "no file we know"),
        (encoded(tone(5.0), "mp4", "aac")[:2000], BadAudio, "moov"),
        (wav(tone(), 1), BadAudio, "1 Hz"),
        (wav(tone(), 3_999), BadAudio, "3999 Hz"),
        (wav(tone(), 192_001), BadAudio, "192001 Hz"),
        (wav(np.zeros((9, 16_000), np.float32)), BadAudio, "9 channels"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_what_is_not_a_recording_is_refused_in_its_own_words(content, error, words, decoders, limits):
    with pytest.raises(error, match=words) as refusal:
        decode(content, limits, decoders)

    assert type(refusal.value) is error


def test_the_slowest_and_fastest_accepted_rates_are_accepted(decoders, limits):
    for rate in (4_000, 192_000):
        assert decode(wav(tone(1.0, rate), rate), limits, decoders).duration == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("path", "words"), [("missing.wav", "No such file"), (".", "directory")])
def test_a_path_that_is_no_file_is_refused(path, words, tmp_path, decoders, limits):
    with pytest.raises(BadAudio, match=words):
        decode(tmp_path / path, limits, decoders)
