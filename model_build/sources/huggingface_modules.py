"""Models of `transformers` behind the names of a task's inputs and outputs.

Apart from what finds and loads them: here is what each task asks of a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError

if TYPE_CHECKING:
    import torch

POOLING = "1_Pooling/config.json"
"""Where `sentence-transformers` keeps how the vectors of a text's tokens become one."""
MODULES = "modules.json"
VOCABULARY = "vocab.json"
"""Symbol → index of a speech model's outputs."""
EXTRACTOR = "preprocessor_config.json"
BESIDE = {
    "text-embedding": (MODULES, POOLING),
    "speech-recognition": (VOCABULARY, EXTRACTOR),
    "text-generation": ("generation_config.json",),
}
"""Files beside config.json that a task's model may need."""
POOLED = ("Transformer", "Pooling", "Normalize")
"""The parts of a `sentence-transformers` model that are known; the endpoint normalizes itself."""


def wrapped(model: Any, task: str, folder: Path) -> torch.nn.Module:
    """A module whose parameters are the task's inputs, and whose result is the task's output. Raises UserError."""
    if task == "text-embedding":
        return _embedding(model, pooling_of(folder))
    if task == "object-detection":
        return _detection(model)
    if task == "speech-recognition" and normalizes(folder):
        return _normalized(model)
    return _logits(model, signal=task not in ("text-classification", "token-classification"))


def symbols_of(folder: Path) -> tuple[str, ...]:
    """The symbols of a speech model in the order of its outputs; empty where it has no vocab.json. Raises UserError."""
    path = folder / VOCABULARY
    if not path.is_file():
        return ()
    try:
        indices = {int(index): str(symbol) for symbol, index in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder.name}/{VOCABULARY} cannot be read: {error}") from None
    if sorted(indices) != list(range(len(indices))):
        raise UserError(f"{folder.name}/{VOCABULARY}: its indices are not those from 0 to {len(indices) - 1}")
    return tuple(indices[index] for index in range(len(indices)))


def normalizes(folder: Path) -> bool:
    """Whether the model wants sounds of mean 0 and variance 1. Raises UserError."""
    path = folder / EXTRACTOR
    try:
        return path.is_file() and json.loads(path.read_bytes()).get("do_normalize") is True
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder.name}/{EXTRACTOR} cannot be read: {error}") from None


def pooling_of(folder: Path) -> str:
    """`mean`, the default, or `cls`: as the folder says. Raises UserError for what is more than that."""
    try:
        parts = json.loads((folder / MODULES).read_bytes()) if (folder / MODULES).is_file() else []
        kinds = [str(part["type"]).rpartition(".")[2] for part in parts]
        values = json.loads((folder / POOLING).read_bytes()) if (folder / POOLING).is_file() else {}
        found = sorted(key for key, value in values.items() if key.startswith("pooling_mode_") and value is True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder.name}: how its vectors are made cannot be read: {error}") from None
    if foreign := [kind for kind in kinds if kind not in POOLED]:
        raise UserError(
            f"{folder.name}: its embeddings go through {foreign[0]}, which is not known here",
            "make the module by a factory: source.pytorch",
        )
    mode = values.get("pooling_mode") or ", ".join(key.removeprefix("pooling_mode_") for key in found)
    known = {"": "mean", "mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
    if mode not in known:
        raise UserError(
            f"{folder.name}: its vectors are pooled by {mode}; known: mean_tokens, cls_token",
            "make the module by a factory: source.pytorch",
        )
    return known[mode]


def _logits(model: Any, signal: bool) -> torch.nn.Module:
    import torch

    class OfText(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).logits

    class OfSignal(torch.nn.Module):
        """Of pictures and sounds: one input, whatever the task calls it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, signal: torch.Tensor) -> Any:
            return self.model(signal, return_dict=True).logits

    return OfSignal() if signal else OfText()


def _detection(model: Any) -> torch.nn.Module:
    import torch

    class Detector(torch.nn.Module):
        """Of models that find a set of objects: their boxes are middles and sizes, in fractions of the picture."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> tuple[Any, Any]:
            found = self.model(pixels, return_dict=True)
            middles, halves = found.pred_boxes[..., :2], found.pred_boxes[..., 2:] / 2
            return torch.cat([middles - halves, middles + halves], dim=-1), found.logits

    return Detector()


def _normalized(model: Any) -> torch.nn.Module:
    import torch

    class Normalized(torch.nn.Module):
        """Each sound is brought to mean 0 and variance 1; the zeros behind its end are no part of it and stay."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, waveform: torch.Tensor) -> Any:
            inside = (waveform.abs().flip(-1).cumsum(-1).flip(-1) > 0).to(waveform.dtype)
            length = inside.sum(-1, keepdim=True).clamp(min=1)
            centred = (waveform - (waveform * inside).sum(-1, keepdim=True) / length) * inside
            variance = (centred * centred).sum(-1, keepdim=True) / length
            return self.model(centred / torch.sqrt(variance + 1e-7), return_dict=True).logits

    return Normalized()


def _embedding(model: Any, pooling: str) -> torch.nn.Module:
    import torch

    class Embedding(torch.nn.Module):
        """The mean of the vectors of a text's tokens, or the first token's."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            tokens = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
            if pooling == "cls":
                return tokens[:, 0]
            mask = attention_mask[..., None].to(tokens.dtype)
            return (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)

    return Embedding()
