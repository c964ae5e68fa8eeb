"""The announcers' recordings in the Debian packages `asterisk-core-sounds-{en,es,fr,it,ru}-wav`, cut and divided.

Apart from `train` because it knows the packages; and from `data` because a build needs none of them.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.announcers.data import ANNOUNCERS, RATE

# Allison speaks two languages, so that the label is not the language alone.
FOLDERS = {
    "en_US_f_Allison": "allison",
    "es_MX_f_Allison": "allison",
    "fr_CA_f_June": "june",
    "it_IT_m_Carlo": "carlo",
    "ru_RU_f_IvrvoiceRU": "ivrvoice",
}
FRAME = 160  # Samples, 20 ms.
SHORTEST = 1600  # Samples, 0.2 s: some files are empty or a click.


@dataclass(frozen=True)
class Recording:
    phrase: str
    """What is said, whatever the language: the path in its folder, for instance `digits/1`."""
    folder: str
    speech: NDArray[np.int16]
    """(time,), without the silence before it."""

    @property
    def label(self) -> int:
        return ANNOUNCERS.index(FOLDERS[self.folder])

    @property
    def order(self) -> bytes:
        """A fixed order without pattern. It begins with the phrase, so that a phrase falls into one part whole."""
        return _digest(self.phrase) + _digest(self.folder)

    @property
    def part(self) -> str:
        """Of a hundred phrases twenty are for evaluation, five for calibration."""
        place = int.from_bytes(_digest(self.phrase)) % 100
        return "evaluation" if place < 20 else "calibration" if place < 25 else "train"


def read(sounds: Path) -> list[Recording]:
    """All recordings in a fixed order. Raises SystemExit where a package is not installed."""
    missing = [folder for folder in FOLDERS if not (sounds / folder).is_dir()]
    if missing:
        raise SystemExit(
            f"{sounds} lacks {', '.join(missing)}; "
            "install the Debian packages asterisk-core-sounds-{en,es,fr,it,ru}-wav"
        )
    return sorted(_recordings(sounds), key=lambda recording: recording.order)


def _recordings(sounds: Path) -> Iterator[Recording]:
    for folder in FOLDERS:
        for path in (sounds / folder).rglob("*.wav"):
            phrase = path.relative_to(sounds / folder).with_suffix("").as_posix()
            recording = Recording(phrase, folder, _speech(path))
            if not phrase.startswith("silence/") and len(recording.speech) >= SHORTEST:
                yield recording


def _speech(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as stream:
        if (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{path}: is not 16-bit mono of {RATE} Hz")
        signal = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    if len(signal) < FRAME:
        return signal
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    level = np.sqrt((frames**2).mean(axis=1))
    begins = int(np.argmax(level > 0.1 * np.percentile(level, 90)))
    return signal[begins * FRAME :]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
