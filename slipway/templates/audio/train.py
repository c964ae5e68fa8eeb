"""Writes weights.safetensors and sample.wav, in seconds: python -m PACKAGE.train"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from . import data, model

HERE = Path(__file__).parent
EPOCHS, BATCH = 12, 50


def main() -> None:
    torch.manual_seed(0)
    sounds, labels = data.training()
    inputs, targets = torch.from_numpy(np.stack(sounds)), torch.from_numpy(labels)
    network = model.build().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(targets)).split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
    save_file(network.state_dict(), HERE / "weights.safetensors")
    with wave.open(str(HERE / "sample.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(data.RATE)
        sound.writeframes((sounds[0] * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
