"""Cuts the committed slices and trains the committed weights: `python -m examples.announcers.train`, two minutes.

The recordings come from the Debian packages `asterisk-core-sounds-{en,es,fr,it,ru}-wav`; only this script needs them.
"""

from __future__ import annotations

import argparse
import wave
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from examples import training
from examples.announcers import data, model, recordings
from examples.announcers.recordings import Recording
from serving.config import Audio, ServingConfig
from serving.tasks import audio_classification

EPOCHS = 20
BATCH = 64
PEAK_RATE = 0.004
LENGTH = data.RATE  # Samples of one clip: a second.
PER_FOLDER = {"evaluation": 45, "calibration": 10}  # Clips; more would only make the files larger.
SAMPLE = 0  # Of the evaluation clips.
CONFIG = ServingConfig(
    "announcers",
    "audio-classification",
    data.HERE,
    audio=Audio(sample_rate=data.RATE, seconds=1.0, features="log_mel", mels=40, window=256, hop=80),
)

Clips = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, default=Path("/usr/share/asterisk/sounds"))
    parser.add_argument(
        "--without", metavar="FOLDER", help="train without these recordings, print the accuracies and write nothing"
    )
    arguments = parser.parse_args()
    training.start()
    found = recordings.read(arguments.sounds)
    slices = {part: cut(found, part) for part in PER_FOLDER}
    network = fit([one for one in found if one.part == "train" and one.folder != arguments.without])

    stored = slices["evaluation"]
    scores = {folder: score(network, stored, stored["folders"] == folder) for folder in recordings.FOLDERS}
    noise = {f"{level} dBFS": score(network, noisy(stored, level)) for level in (-50, -40, -30)}
    if arguments.without:
        print(scores, noise)
        return
    save_file(network.state_dict(), data.HERE / "weights.safetensors")
    for part, arrays in slices.items():
        np.savez_compressed(data.HERE / f"{part}.npz", allow_pickle=False, **arrays)
    with wave.open(str(data.HERE / "sample.wav"), "wb") as stream:
        stream.setparams((1, 2, data.RATE, 0, "NONE", ""))
        stream.writeframes(stored["clips"][SAMPLE].tobytes())
    training.record(
        data.HERE,
        score=score(network, stored),
        samples=len(stored["labels"]),
        epochs=EPOCHS,
        score_by_folder=scores,
        score_with_white_noise=noise,
    )


def cut(found: list[Recording], part: str) -> dict[str, NDArray[np.generic]]:
    """The first second of speech of the part's recordings that are as long; int16 clips, labels and their origin."""
    chosen: list[Recording] = []
    for folder in recordings.FOLDERS:
        long = (one for one in found if (one.part, one.folder) == (part, folder) and len(one.speech) >= LENGTH)
        chosen += list(long)[: PER_FOLDER[part]]
    chosen.sort(key=lambda one: one.order)
    return {
        "clips": np.stack([one.speech[:LENGTH] for one in chosen]),
        "labels": np.array([one.label for one in chosen], np.uint8),
        "phrases": np.array([one.phrase for one in chosen]),
        "folders": np.array([one.folder for one in chosen]),
    }


def fit(found: list[Recording]) -> nn.Module:
    """The slices are not looked at."""
    network = model.build()
    random = np.random.default_rng(training.SEED)
    # A recording yields as many crops in an epoch as it has seconds, at most three.
    drawn = [one for one in found for _ in range(min(3, 1 + len(one.speech) // (2 * LENGTH)))]
    labels = torch.tensor([one.label for one in drawn])
    loss_of = nn.CrossEntropyLoss(weight=1 / labels.bincount(minlength=model.ANNOUNCERS), label_smoothing=0.05)
    features = torch.empty(0)

    def crop_anew() -> None:
        nonlocal features
        features = encode(np.stack([crop(one.speech, random) for one in drawn]))

    def loss(chosen: Tensor) -> Tensor:
        value: Tensor = loss_of(network(coloured(features[chosen])), labels[chosen])
        return value

    return training.fit(
        network, len(labels), loss, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE, before_epoch=crop_anew
    )


def crop(speech: NDArray[np.int16], random: np.random.Generator) -> Clips:
    """A random second, with noise: its level differs between the studios and would give the announcer away."""
    start = random.integers(0, max(1, len(speech) - LENGTH + 1))
    clip = np.zeros(LENGTH, np.float32)
    piece = speech[start : start + LENGTH] / np.float32(1 << 15)
    clip[: len(piece)] = piece
    return clip + _white_noise(clip.shape, random.uniform(-75, -30), random)


def coloured(features: Tensor) -> Tensor:
    """Each clip through a microphone of its own: a random slope and bend of its spectrum, 6 dB or so at the ends."""
    band = torch.linspace(-1, 1, features.shape[1])
    slope, bend = torch.randn(2, len(features), 1)
    response = 0.7 * (slope * band + bend * (band**2 - band.square().mean()))
    moved: Tensor = features + response[:, :, None]
    return moved


def noisy(stored: dict[str, NDArray[np.generic]], level: float) -> dict[str, NDArray[np.generic]]:
    clips = stored["clips"].astype(np.float32)
    noise = _white_noise(clips.shape, level, np.random.default_rng(training.SEED)) * (1 << 15)
    return stored | {"clips": clips + noise}


def _white_noise(shape: tuple[int, ...], level: float, random: np.random.Generator) -> Clips:
    """Noise of `level` dB below full scale."""
    return random.standard_normal(shape, np.float32) * np.float32(10 ** (level / 20))


def score(network: nn.Module, stored: dict[str, NDArray[np.generic]], which: NDArray[np.bool_] | None = None) -> float:
    which = np.ones(len(stored["labels"]), bool) if which is None else which
    features = encode(stored["clips"][which].astype(np.float32) / np.float32(1 << 15))
    labels = torch.from_numpy(stored["labels"][which].astype(np.int64))
    return round(training.accuracy(network, (features,), labels), 4)


def encode(clips: Clips) -> Tensor:
    """Features (n, 40, 97), exactly as the endpoint makes them."""
    return torch.from_numpy(audio_classification.encode(clips, CONFIG)["features"])  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
