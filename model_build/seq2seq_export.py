"""Exports a model that generates as the two graphs that serving runs: see `serving.generation`.

Apart from `export_onnx`, whose ways of exporting, naming and comparing one graph it uses for both.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from model_build import seq2seq
from model_build.passes.base import Model
from serving.config import ENCODER
from serving.generation import CROSS, LOGITS, PAST, PRESENT, TOKEN

if TYPE_CHECKING:
    import torch

    from model_build.passes.base import Context

    Tensors = dict[str, torch.Tensor]

LENGTHS = (3, 0)
"""Of the pasts that the decoder is traced with, and compared with too."""


def run(module: seq2seq.Generator, entry: str, config: Any, context: Context) -> Model:
    """Writes `encoder.onnx` and the decoder. Raises UserError where a graph does not give the model's numbers."""
    import torch

    from model_build.passes import export_onnx

    given = {name: torch.from_numpy(array) for name, array in context.example().items()}
    with torch.inference_mode():
        encoder = seq2seq.Encoder(module).eval()
        made = encoder(**given)
        cross = dict(zip(seq2seq.names(CROSS, list(made)), made, strict=True))
        first = {name: tensor[:, :1] for name, tensor in given.items()}["input_ids"]
        pasts = [_past(made, length) for length in LENGTHS]
        decoder = _flat(seq2seq.Decoder(module), list(pasts[0]), list(cross)).eval()
        steps = [{TOKEN: first, "attention_mask": given["attention_mask"], **past, **cross} for past in pasts]
        axes = {name: {0: "batch", 1: "sequence"} for name in given}
        of_decoder = {
            TOKEN: {0: "batch"},
            "attention_mask": axes["attention_mask"],
            **{name: {0: "batch", 2: "past"} for name in pasts[0]},
            **{name: {0: "batch", 2: "sequence"} for name in cross},
        }
        present = tuple(PRESENT + name.removeprefix(PAST) for name in pasts[0])
        for file, part, feeds, of, outputs in (
            (ENCODER, encoder, [given], axes, tuple(cross)),
            (entry, decoder, steps, of_decoder, (LOGITS, *present)),
        ):
            own = replace(context, input_axes=of, output_names=outputs)
            proto = export_onnx.exported(part, feeds[0], config, own)
            content = proto.SerializeToString(deterministic=True)
            (context.output / file).write_bytes(content)
            for one in feeds:
                export_onnx.compare(part, content, one, config, own)
    return Model("onnx", context.output, entry, parts=(ENCODER,))


def _past(cross: tuple[torch.Tensor, ...], length: int) -> Tensors:
    """Random keys and values of so many tokens, with the heads and sizes that the encoder's have."""
    import torch

    random = torch.Generator().manual_seed(0)
    tensors = [torch.randn(one.shape[0], one.shape[1], length, one.shape[3], generator=random) for one in cross]
    return dict(zip(seq2seq.names(PAST, tensors), tensors, strict=True))


def _flat(decoder: seq2seq.Decoder, past: list[str], cross: list[str]) -> torch.nn.Module:
    """The decoder with one parameter for each key and value, in the order of the names."""
    import torch

    parameters = [name.replace(".", "_") for name in (TOKEN, "attention_mask", *past, *cross)]

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, **inputs: torch.Tensor) -> Any:
            token, mask, *rest = (inputs[name] for name in parameters)
            return self.decoder(token, mask, rest[: len(past)], rest[len(past) :])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    Flat.forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
        + [inspect.Parameter(name, kind) for name in parameters]
    )
    return Flat()
