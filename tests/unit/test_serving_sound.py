"""WAV files of every width become the same samples; log-mel features put energy where the sound is."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from serving_artifacts import wav

from serving.errors import RequestError
from serving.sound import log_mel, mel_filters, read_wav

RATE = 8000
TONE = (np.sin(np.arange(RATE // 2) * 2 * np.pi * 440 / RATE) * 0.5).astype(np.float32)


@pytest.mark.parametrize(("width", "tolerance"), [(1, 1 / 128), (2, 1 / 32768), (3, 1e-6), (4, 1e-6)])
def test_every_pcm_width_gives_the_signal(width: int, tolerance: float) -> None:
    signal = read_wav(wav(TONE, RATE, width), RATE, 1.0)
    assert signal.dtype == np.float32
    assert signal.shape == TONE.shape
    np.testing.assert_allclose(signal, TONE, atol=tolerance)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_the_extremes_of_every_width_stay_within_one(width: int) -> None:
    signal = read_wav(wav(np.array([-1.0, 1.0, 0.0]), RATE, width), RATE, 1.0)
    assert signal[0] == -1
    assert 0.99 < signal[1] <= 1
    assert signal[2] == 0


def test_stereo_is_averaged() -> None:
    stereo = np.stack([TONE, TONE * 0.5], axis=1).ravel()
    np.testing.assert_allclose(read_wav(wav(stereo, RATE, channels=2), RATE, 1.0), TONE * 0.75, atol=1e-4)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def test_float_and_extensible_files_and_odd_chunks_before_the_data_are_read() -> None:
    plain = struct.pack("<HHIIHH", 3, 1, RATE, RATE * 4, 4, 32)
    floats = riff((b"LIST", b"odd"), (b"fmt ", plain), (b"data", TONE.astype("<f4").tobytes()))
    np.testing.assert_array_equal(read_wav(floats, RATE, 1.0), TONE)
    extensible = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE * 2, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1)
    pcm = riff((b"fmt ", extensible + b"\0" * 14), (b"data", (TONE * 32768).astype("<i2").tobytes()))
    np.testing.assert_allclose(read_wav(pcm, RATE, 1.0), TONE, atol=1e-4)


def test_a_data_size_beyond_the_end_as_streaming_encoders_write_means_the_rest() -> None:
    body = bytearray(wav(TONE, RATE))
    body[40:44] = b"\xff\xff\xff\xff"
    assert len(read_wav(bytes(body), RATE, 1.0)) == len(TONE)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100, 48000])
def test_other_rates_are_resampled_to_the_same_tone(rate: int) -> None:
    tone = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 0.5
    signal = read_wav(wav(tone, rate), RATE, 1.0)
    assert abs(len(signal) - RATE) <= 1
    expected = np.sin(np.arange(len(signal)) * 2 * np.pi * 440 / RATE) * 0.5
    np.testing.assert_allclose(signal[400:-400], expected[400:-400], atol=0.01)


@pytest.mark.parametrize("rate", [RATE, 16000])
def test_a_long_file_is_cut_to_the_same_samples_that_the_whole_would_give(rate: int) -> None:
    tone = np.sin(np.arange(rate * 2) * 2 * np.pi * 440 / rate) * 0.5
    cut = read_wav(wav(tone, rate), RATE, 0.5)
    whole = read_wav(wav(tone, rate), RATE, 2.0)
    assert len(cut) == RATE // 2
    np.testing.assert_allclose(cut, whole[: RATE // 2], atol=1e-4)


FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, RATE * 2, 2, 16)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not a WAV file"),
        (b"\x89PNG" + b"\0" * 40, "not a WAV file"),
        (riff((b"data", b"\0\0")), "lacks its fmt or data chunk"),
        (riff((b"fmt ", FORMAT)), "lacks its fmt or data chunk"),
        (riff((b"fmt ", FORMAT[:8]), (b"data", b"\0\0")), "lacks its fmt or data chunk"),
        (riff((b"fmt ", FORMAT), (b"data", b"")), "holds no samples"),
        (riff((b"fmt ", struct.pack("<HHIIHH", 6, 1, RATE, RATE, 1, 8)), (b"data", b"\0\0")), "encoding 6 of 8 bits"),
        (riff((b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, RATE, 2, 12)), (b"data", b"\0\0")), "encoding 1 of 12 bits"),
        (riff((b"fmt ", struct.pack("<HHIIHH", 1, 6, RATE, RATE, 12, 16)), (b"data", b"\0" * 12)), "has 6 channels"),
        (riff((b"fmt ", struct.pack("<HHIIHH", 1, 1, 1, 2, 2, 16)), (b"data", b"\0\0")), "rate is 1 Hz"),
        (
            riff((b"fmt ", struct.pack("<HHIIHH", 3, 1, RATE, RATE, 4, 32)), (b"data", struct.pack("<f", math.nan))),
            "not finite",
        ),
    ],
)
def test_a_bad_file_is_the_clients_mistake(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_wav(body, RATE, 1.0)
    assert caught.value.status_code == 400


def test_log_mel_peaks_in_the_band_of_the_tone_and_ignores_gain() -> None:
    rate, mels, window, hop = 16000, 40, 400, 160
    time = np.arange(rate, dtype=np.float32) / rate
    clips = np.stack([np.sin(2 * np.pi * frequency * time) for frequency in (500, 3000)]).astype(np.float32) * 0.3
    features = log_mel(clips, rate, mels, window, hop)
    assert features.dtype == np.float32
    assert features.shape == (2, mels, 1 + (rate - window) // hop)
    for row, frequency in zip(features, (500, 3000), strict=True):
        edge = 2595 * math.log10(1 + rate / 2 / 700) / (mels + 1)
        expected = 2595 * math.log10(1 + frequency / 700) / edge - 1
        assert abs(int(row.mean(axis=1).argmax()) - expected) <= 1
    np.testing.assert_allclose(features.mean(axis=(1, 2)), 0, atol=1e-4)
    noise = np.random.default_rng(0).normal(size=(1, rate)).astype(np.float32) * 0.1
    quiet, loud = (log_mel(noise * gain, rate, mels, window, hop) for gain in (1, 4))
    np.testing.assert_allclose(quiet, loud, atol=1e-2)


def test_log_mel_of_a_batch_is_that_of_each_clip() -> None:
    clips = np.random.default_rng(1).normal(size=(3, 4000)).astype(np.float32)
    together = log_mel(clips, 8000, 20, 256, 128)
    for clip, features in zip(clips, together, strict=True):
        np.testing.assert_allclose(log_mel(clip[None], 8000, 20, 256, 128)[0], features, rtol=1e-5, atol=1e-5)


def test_the_mel_filters_overlap_to_one_between_the_first_and_last_peak() -> None:
    filters = mel_filters(16000, 512, 40)
    assert filters.shape == (257, 40)
    peaks = filters.argmax(axis=0)
    np.testing.assert_allclose(filters[peaks[0] + 1 : peaks[-1]].sum(axis=1), 1, atol=1e-5)
