"""Signal processing in numpy: WAV files to samples, samples to log-mel features.

Apart from the task because it is arithmetic that knows nothing of requests' shapes. The standard library's `wave`
reads WAVE_FORMAT_EXTENSIBLE, which most 24-bit files are, only since Python 3.12; hence the small reader here.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

import numpy as np

from serving.errors import RequestError

Signal = np.ndarray[Any, Any]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RATES = range(4000, 384001)
_RESAMPLING_MARGIN = 0.05
"""Seconds kept beyond the cut, so that the resampler's filter sees what follows."""


def read_wav(body: bytes | bytearray | memoryview, rate: int, seconds: float) -> Signal:
    """The first `seconds` of a WAV file as float32 (time,) in −1…1 at `rate` Hz; channels are averaged.

    PCM of 8, 16, 24 or 32 bits and 32-bit float, mono or stereo. Raises RequestError (400).
    """
    chunks = _chunks(memoryview(body))
    header = bytes(chunks.get(b"fmt ", b""))
    if len(header) < 16 or b"data" not in chunks:
        raise RequestError(400, "the WAV file lacks its fmt or data chunk")
    encoding, channels, file_rate, _, _, bits = struct.unpack_from("<HHIIHH", header)
    if encoding == _EXTENSIBLE and len(header) >= 26:
        (encoding,) = struct.unpack_from("<H", header, 24)
    if (encoding, bits) not in _DECODERS:
        raise RequestError(
            400, f"WAV encoding {encoding} of {bits} bits is not read; send PCM of 8, 16, 24 or 32 bits, or float"
        )
    if channels not in (1, 2):
        raise RequestError(400, f"the WAV file has {channels} channels; send mono or stereo")
    if file_rate not in _RATES:
        raise RequestError(400, f"the WAV file's rate is {file_rate} Hz; send {_RATES.start} to {_RATES.stop - 1}")
    frame = channels * bits // 8
    data = chunks[b"data"]
    frames = min(len(data) // frame, math.ceil((seconds + _RESAMPLING_MARGIN) * file_rate))
    if frames == 0:
        raise RequestError(400, "the WAV file holds no samples")
    signal = _DECODERS[encoding, bits](data[: frames * frame])
    if not np.isfinite(signal).all():
        raise RequestError(400, "the WAV file holds samples that are not finite")
    if channels == 2:
        signal = signal.reshape(-1, 2).mean(axis=1)
    if file_rate != rate:
        import soxr

        signal = soxr.resample(signal, file_rate, rate)
    result: Signal = signal[: max(1, round(seconds * rate))].astype(np.float32, copy=False)
    return result


def log_mel(clips: Signal, rate: int, mels: int, window: int, hop: int) -> Signal:
    """Log-mel features of `clips`, float32 (batch, time), as float32 (batch, mels, frames).

    Frames of `window` samples every `hop` (none padded: 1 + (time - window) // hop of them), a periodic Hann window,
    the power spectrum of an FFT of the next power of two, triangular filters of equal width on HTK's mel scale from 0
    to rate / 2, log(x + 1e-6). At last the clip's own mean is subtracted, so that recording gain does not matter while
    the shape of the spectrum stays.
    """
    frames = np.lib.stride_tricks.sliding_window_view(clips, window, axis=-1)[:, ::hop]
    size = 1 << (window - 1).bit_length()
    spectrum = np.fft.rfft(frames * _hann(window), n=size, axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    features = np.log(power @ mel_filters(rate, size, mels) + np.float32(1e-6))
    features -= features.mean(axis=(1, 2), keepdims=True)
    return np.ascontiguousarray(features.transpose(0, 2, 1), dtype=np.float32)


@functools.lru_cache(maxsize=8)
def mel_filters(rate: int, size: int, mels: int) -> Signal:
    """Triangular filters, float32 (size // 2 + 1, mels), each with a peak of 1.

    HTK's scale: mel(f) = 2595 log10(1 + f / 700) (D. O'Shaughnessy, "Speech Communication", 1987; The HTK Book, 5.4).
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    bins = np.linspace(0, rate / 2, size // 2 + 1)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _hann(window: int) -> Signal:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)


def _chunks(body: memoryview) -> dict[bytes, memoryview]:
    """The chunks of a RIFF file by name. A size beyond the end, as streaming encoders write, means the rest."""
    if len(body) < 12 or bytes(body[:4]) != b"RIFF" or bytes(body[8:12]) != b"WAVE":
        raise RequestError(400, "the body is not a WAV file")
    chunks: dict[bytes, memoryview] = {}
    position = 12
    while position + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, position)
        chunks.setdefault(name, body[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    return chunks


def _pcm24(data: memoryview) -> Signal:
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)


_DECODERS: dict[tuple[int, int], Any] = {
    (_PCM, 8): lambda data: (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128,
    (_PCM, 16): lambda data: np.frombuffer(data, "<i2").astype(np.float32) / np.float32(1 << 15),
    (_PCM, 24): _pcm24,
    (_PCM, 32): lambda data: np.frombuffer(data, "<i4").astype(np.float32) / np.float32(1 << 31),
    (_FLOAT, 32): lambda data: np.frombuffer(data, "<f4").astype(np.float32),
}
