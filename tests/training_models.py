"""Small PyTorch models, data that they can learn, and the context of a pass that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_build import architecture
from model_build.passes.base import Context, Model

CLASSES = 3


class Residual(nn.Module):
    """Images (batch, 1, 8, 8) → logits: a residual sum, a concatenation, batch normalisation, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.left = nn.Conv2d(16, 8, 1)
        self.right = nn.Conv2d(16, 16, 3, padding=1)
        self.classifier = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels)
        x = torch.relu(x + self.block(x))
        x = torch.cat([self.left(x), self.right(x)], 1)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class Encoder(nn.Module):
    """Tokens (batch, sequence) and their mask → logits: equal layers in one list, as Hugging Face's models have."""

    def __init__(self, depth: int = 4, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.1, batch_first=True) for _ in range(depth)
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=attention_mask == 0)
        kept = attention_mask.unsqueeze(-1)
        logits: Tensor = self.head((x * kept).sum(1) / kept.sum(1))
        return logits


def made(factory: Callable[[], nn.Module] = Residual) -> nn.Module:
    """The same module at every call, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return factory().eval()


def source(factory: Callable[[], nn.Module] = Residual) -> Model:
    return Model("pytorch", Path(), load=lambda: made(factory))


def images(count: int = 64, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Pictures of rows, of columns, or of neither, which is the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    pixels = random.normal(size=(count, 1, 8, 8)).astype(np.float32)
    for index, label in enumerate(labels):
        pixels[index] += ([[2], [-2]] * 4, [[2, -2] * 4], 0)[label]
    return {"pixels": pixels}, labels


def tokens(count: int, length: int, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Texts of one length whose first token tells the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    ids = random.integers(10, 50, (count, length))
    ids[:, 0] = labels + 1
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}, labels


IMAGES = (images(),)
TEXTS = (tokens(20, 5), tokens(17, 3, seed=1), tokens(1, 9, seed=2))


def context(
    output: Path,
    groups: tuple[tuple[dict[str, Any], Any], ...] = IMAGES,
    teacher: Callable[[], nn.Module] = Residual,
    **changes: Any,
) -> Context:
    output.mkdir(parents=True, exist_ok=True)

    def training() -> Iterator[Any]:
        yield from groups

    given: dict[str, Any] = {
        "output": output,
        "example": lambda: {name: array[:2] for name, array in groups[0][0].items()},
        "input_axes": {},
        "output_names": ("logits",),
        "training": training,
        "source": lambda: made(teacher),
        "root": output,
    }
    return Context(**(given | changes))


def reopened(model: Model, factory: Callable[[], nn.Module] = Residual, root: Path = Path()) -> nn.Module:
    """What another process would load from the folder."""
    return architecture.load(model.path, lambda: made(factory), root)


def weights(model: Model) -> bytes:
    return (model.directory / architecture.WEIGHTS).read_bytes()


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def answers(module: nn.Module, groups: tuple[tuple[dict[str, Any], Any], ...] = IMAGES) -> Any:
    with torch.inference_mode():
        return module(*(torch.from_numpy(array) for array in groups[0][0].values())).numpy()


def accuracy(module: nn.Module, groups: tuple[tuple[dict[str, Any], Any], ...] = IMAGES) -> float:
    return float((answers(module, groups).argmax(1) == groups[0][1]).mean())


class Killed(Exception):
    """Stands for the end of the process: raised by what reports progress."""


def killed_after(epochs: int) -> Callable[[str], None]:
    def progress(message: str) -> None:
        if message.startswith(f"epoch {epochs}/"):
            raise Killed

    return progress
