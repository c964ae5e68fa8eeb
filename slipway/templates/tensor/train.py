"""Writes weights.safetensors and sample.json, in seconds: python -m PACKAGE.train"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from . import data, model

HERE = Path(__file__).parent
STEPS = 300


def main() -> None:
    torch.manual_seed(0)
    samples, labels = data.training()
    inputs = torch.from_numpy(np.stack([sample["features"] for sample in samples]))
    targets = torch.from_numpy(labels)
    network = model.build().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
    save_file(network.state_dict(), HERE / "weights.safetensors")
    sample = {"inputs": {"features": [samples[0]["features"].tolist()]}}
    (HERE / "sample.json").write_text(json.dumps(sample) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
