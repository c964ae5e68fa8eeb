"""Cuts the committed words and trains the committed weights: `python -m examples.spoken_digits.train`, five minutes.

The voices come from the Debian packages `flite`, `espeak-ng`, `festival`, `festvox-kdlpc16k` and
`asterisk-core-sounds-en-wav`; only this script needs them. Of Festival's voice and of Asterisk's announcer training
hears nothing: by the former the recipe was chosen, the latter is the evaluation.
"""

from __future__ import annotations

import argparse
import wave
from collections.abc import Iterable
from pathlib import Path

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from examples import training
from examples.spoken_digits import augmentation, data, model, recordings
from serving.config import Audio, Ctc, ServingConfig
from serving.tasks import speech_recognition

STEPS = 900
BATCH = 32
PEAK_RATE = 0.004
SHARES = (0.6, 0.4)  # Of the strings: flite's voices and espeak-ng's.
HELD_OUT = 200  # Strings of voices that training did not hear.
SAMPLE = 7  # Of the evaluation strings, one that is recognized.
CONFIG = ServingConfig(
    "spoken-digits",
    "speech-recognition",
    data.HERE,
    labels=model.SYMBOLS,
    ctc=Ctc(blank=0, word_delimiter="|"),
    audio=Audio(sample_rate=data.RATE, seconds=data.SECONDS, features="log_mel", mels=model.MELS, window=256, hop=80),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, default=Path("/usr/share/asterisk/sounds/en_US_f_Allison"))
    arguments = parser.parse_args()
    training.start()
    torch.set_num_threads(1)
    voices = (list(recordings.flite()), list(recordings.espeak()))
    unheard = clips_of(recordings.festival())
    np.savez_compressed(data.HERE / "calibration.npz", allow_pickle=False, **voices[0][0])
    np.savez_compressed(data.HERE / "evaluation.npz", allow_pickle=False, **recordings.allison(arguments.sounds))
    network = fit([clips_of(of) for of in voices])
    save_file(network.state_dict(), data.HERE / "weights.safetensors")
    report(network, sum(map(len, voices)), unheard)


def report(network: nn.Module, voices: int, unheard: list[augmentation.Voice]) -> None:
    """Measures what was trained, and writes the sample and the record."""
    strings, texts = data.evaluation()
    with wave.open(str(data.HERE / "sample.wav"), "wb") as stream:
        stream.setparams((1, 2, data.RATE, 0, "NONE", ""))
        stream.writeframes(np.rint(strings[SAMPLE] * 32767).astype("<i2").tobytes())
    heard = recognized(network, strings)
    noisy = {
        f"{level} dBFS": error_rate(texts, recognized(network, with_noise(strings, level))) for level in (-35, -25)
    }
    wer = error_rate(texts, heard)
    training.record(
        data.HERE,
        metric="word_accuracy",
        score=max(0.0, 1 - wer),
        samples=len(texts),
        packages=("jiwer",),
        threads=1,
        steps=STEPS,
        voices=voices,
        held_out_word_accuracy=round(1 - error_rate(*of_unheard(network, unheard)), 4),
        wer=wer,
        wer_with_white_noise=noisy,
        substitutions=substitutions(texts, heard),
    )


def fit(voices: list[list[augmentation.Voice]]) -> nn.Module:
    network = model.build().train()
    random = np.random.default_rng(training.SEED)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS)
    loss_of = nn.CTCLoss(zero_infinity=True)
    total = 0.0
    for step in range(1, STEPS + 1):
        pairs = [augmentation.string(drawn(voices, random), random) for _ in range(BATCH)]
        features = augmentation.coloured(encode([signal for signal, _ in pairs]), random)
        targets = [symbols_of(text) for _, text in pairs]
        logits = network(features).log_softmax(-1).transpose(0, 1)
        lengths = torch.full((BATCH,), len(logits))
        loss = loss_of(logits, torch.cat(targets), lengths, torch.tensor([len(one) for one in targets]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % 50 == 0:
            print(f"step {step}/{STEPS}  loss {total / 50:.4f}", flush=True)
            total = 0.0
    return network.eval()


def drawn(voices: list[list[augmentation.Voice]], random: np.random.Generator) -> augmentation.Voice:
    among = voices[random.choice(len(voices), p=SHARES)]
    return among[int(random.integers(len(among)))]


def clips_of(voices: Iterable[recordings.Voice]) -> list[augmentation.Voice]:
    return [[voice[word].astype(np.float32) / np.float32(1 << 15) for word in data.WORDS] for voice in voices]


def of_unheard(network: nn.Module, voices: list[augmentation.Voice]) -> tuple[list[str], list[str]]:
    """What voices that training did not hear say, in strings composed as the evaluation's, and what is recognized."""
    random = np.random.default_rng(training.SEED)
    turns = (voices[turn % len(voices)] for turn in range(HELD_OUT))
    strings = [data.compose([[clip] for clip in voice], random, noise=(-70, -40)) for voice in turns]
    return [text for _, text in strings], recognized(network, [signal for signal, _ in strings])


def symbols_of(text: str) -> Tensor:
    return torch.tensor([model.SYMBOLS.index(f"|{word}") for word in text.split()], dtype=torch.long)


@torch.inference_mode()
def recognized(network: nn.Module, strings: list[data.Signal]) -> list[str]:
    """What an endpoint would answer."""
    texts = []
    for start in range(0, len(strings), BATCH):
        logits = network(encode(strings[start : start + BATCH])).numpy()
        texts += [one["text"] for one in speech_recognition.postprocess({"logits": logits}, CONFIG)]
    return texts


def error_rate(texts: list[str], heard: list[str]) -> float:
    return round(jiwer.wer(texts, heard), 4)


def substitutions(texts: list[str], heard: list[str]) -> dict[str, int]:
    """What was most often heard in place of a word."""
    counts = jiwer.collect_error_counts(jiwer.process_words(texts, heard))[0]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {f"{said} → {other}": count for (said, other), count in ordered[:10]}


def with_noise(strings: list[data.Signal], level: float) -> list[data.Signal]:
    """White noise of `level` dB below full scale, over the strings' own."""
    random = np.random.default_rng(training.SEED)
    scale = np.float32(10 ** (level / 20))
    return [one + random.standard_normal(len(one), np.float32) * scale for one in strings]


def encode(strings: list[data.Signal]) -> Tensor:
    """Features (n, 40, 397), exactly as the endpoint makes them."""
    features: NDArray[np.float32] = speech_recognition.encode(strings, CONFIG)["features"]
    return torch.from_numpy(features)


if __name__ == "__main__":
    main()
