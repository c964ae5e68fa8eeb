"""Words spoken by the voices of Debian packages: of flite, espeak-ng and Festival, and Asterisk's announcer Allison.

Apart from `train` because it knows the packages; and from `data` because a build needs none of them.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.spoken_digits.data import RATE, WORDS

Clip = NDArray[np.int16]
Voice = dict[str, Clip]
"""Word → (time,), without the silence around it."""

FRAME = 80  # Samples, 10 ms.
FLITE = tuple(itertools.product(("slt", "rms", "awb", "kal16", "kal"), (0.85, 1.0, 1.2), (0.9, 1.15)))
"""Voice, length, and pitch, both as ratios to the voice's own."""
PITCHES = {"slt": 170, "rms": 100, "awb": 125, "kal16": 105, "kal": 105}  # Hz, of flite's voices.
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029")
VARIANTS = ("", "+m1", "+m3", "+m4", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+klatt2", "+klatt4")
KED = "packages festival and festvox-kdlpc16k"
SPEEDS = (130, 165, 200)  # Words per minute.
LENGTHS = (0.85, 1.0, 1.2)  # Of Festival's voice, as ratios to its own.


def flite() -> Iterator[Voice]:
    """Voices of cut recordings. Raises SystemExit where the synthesizer is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "word.wav"))
        for name, length, pitch in FLITE:
            options = ["--setf", f"duration_stretch={length}", "--setf", f"int_f0_target_mean={PITCHES[name] * pitch}"]
            yield {word: _spoken(file, ["flite", "-voice", name, *options, "-t", word, "-o", file]) for word in WORDS}


def espeak() -> Iterator[Voice]:
    """Voices made from formants. Raises SystemExit where the synthesizer is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "word.wav"))
        for number, (accent, variant) in enumerate(itertools.product(ACCENTS, VARIANTS)):
            options = ["-v", accent + variant, "-s", str(SPEEDS[number % len(SPEEDS)])]
            yield {word: _spoken(file, ["espeak-ng", *options, "-w", file, word]) for word in WORDS}


def festival() -> Iterator[Voice]:
    """The voice `ked` of Festival, cut diphones. Raises SystemExit where it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        file, text = Path(folder, "word.wav"), Path(folder, "word.txt")
        for length in LENGTHS:
            scheme = ["-eval", "(voice_ked_diphone)", "-eval", f"(Parameter.set 'Duration_Stretch {length})"]
            voice = {}
            for word in WORDS:
                text.write_text(word, encoding="ascii")
                voice[word] = _spoken(str(file), ["text2wave", *scheme, "-o", str(file), str(text)], KED)
            yield voice


def allison(folder: Path) -> Voice:
    """Asterisk's announcer in US English. Raises SystemExit where her recordings are not installed."""
    package = "asterisk-core-sounds-en-wav"
    return {word: trimmed(_wav(_file(folder / f"digits/{WORDS.index(word)}.wav", package))) for word in WORDS}


def trimmed(signal: Clip) -> Clip:
    """Without the silence before and after it."""
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    level = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(level > 0.03 * np.percentile(level, 95))
    return signal[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def _file(path: Path, package: str) -> Path:
    if not path.is_file():
        raise SystemExit(f"{path} is missing; install the Debian package {package}")
    return path


def _spoken(file: str, command: list[str], packages: str = "") -> Clip:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        needed = packages or f"package {command[0]}"
        raise SystemExit(f"{command[0]} does not speak; install the Debian {needed}") from None
    return trimmed(_wav(Path(file)))


def _wav(path: Path) -> Clip:
    import soxr

    with wave.open(str(path)) as stream:
        signal = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
        resampled: Clip = soxr.resample(signal, stream.getframerate(), RATE)
    return resampled
