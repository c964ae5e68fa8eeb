"""How a PyTorch model that a pass changed is kept: where it came from, what was done to it, and its weights.

A module's code could only be stored by pickling it, which is not safe to read. So only data is: the factory that makes
the base (the spec's source, or a student's), a list of edits that are done to it again, and safetensors that must fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_build import factories
from model_build.errors import UserError
from model_build.passes.base import Model
from model_build.spec import FactoryName, WeightedFactory

if TYPE_CHECKING:
    import torch

ENTRY = "architecture.json"
WEIGHTS = "weights.safetensors"

# The sizes that PyTorch's own layers keep beside their tensors.
_SIZES = (
    *("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "normalized_shape"),
    *("num_channels", "num_groups", "num_parameters", "embedding_dim"),
)


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeepLayers(_Data):
    """Leaves some of the layers of a `ModuleList` or `Sequential`."""

    kind: Literal["keep_layers"] = "keep_layers"
    layers: str = Field(description="Path of the list in the module.")
    keep: tuple[int, ...]

    def apply(self, module: torch.nn.Module) -> None:
        from torch import nn

        old = module.get_submodule(self.layers)
        assert isinstance(old, (nn.ModuleList, nn.Sequential))  # noqa: S101  # drop_layers checks it
        kept = [old[index] for index in self.keep]
        parent, _, name = self.layers.rpartition(".")
        setattr(
            module.get_submodule(parent),
            name,
            nn.ModuleList(kept) if isinstance(old, nn.ModuleList) else type(old)(*kept),
        )
        for one in module.modules():  # what transformers' models count their layers by
            if getattr(config := getattr(one, "config", None), "num_hidden_layers", None) == len(old):
                setattr(config, "num_hidden_layers", len(kept))  # noqa: B010  # config is of no type known here


class Resize(_Data):
    """Gives one module's own tensors and sizes other values."""

    kind: Literal["resize"] = "resize"
    module: str
    sizes: dict[str, int | tuple[int, ...]]
    tensors: dict[str, tuple[int, ...]]

    def apply(self, module: torch.nn.Module) -> None:
        import torch

        target = module.get_submodule(self.module)
        for name, size in self.sizes.items():
            setattr(target, name, size)
        for name, shape in self.tensors.items():
            old = getattr(target, name)
            new = torch.empty(shape, dtype=old.dtype)
            if isinstance(old, torch.nn.Parameter):
                setattr(target, name, torch.nn.Parameter(new, requires_grad=old.requires_grad))
            else:
                setattr(target, name, new)  # a registered buffer stays one


Edit = Annotated[KeepLayers | Resize, Field(discriminator="kind")]


class Architecture(_Data):
    """What `architecture.json` holds."""

    format: Literal[1] = 1
    factory: FactoryName | None = Field(None, description="What makes the base; None is the spec's source.")
    args: dict[str, Any] = Field(default_factory=dict)
    edits: tuple[Edit, ...] = ()

    def edited(self, *edits: KeepLayers | Resize) -> Architecture:
        return self.model_copy(update={"edits": (*self.edits, *edits)})


def read(model: Model) -> Architecture:
    """Of a model between two passes; that of the source has no edits."""
    return Architecture.model_validate_json(model.path.read_bytes()) if model.entry == ENTRY else Architecture()


def write(module: torch.nn.Module, architecture: Architecture, directory: Path) -> Model:
    """Keeps a changed module in a folder. Its `load` gives this very module, in eval mode."""
    from safetensors.torch import save_model

    (directory / ENTRY).write_text(architecture.model_dump_json(indent=1) + "\n", encoding="utf-8")
    save_model(module, str(directory / WEIGHTS))
    return Model("pytorch", directory, ENTRY, load=lambda: module.eval())


def reopened(model: Model, source: Callable[[], torch.nn.Module] | None, root: Path) -> Model:
    """A model that `write` kept, made to load from its folder. `source` makes the spec's source."""
    return replace(model, load=lambda: load(model.path, source, root))


def load(path: Path, source: Callable[[], torch.nn.Module] | None, root: Path) -> torch.nn.Module:
    """The module of an `architecture.json`, in eval mode."""
    from safetensors.torch import load_model

    architecture = Architecture.model_validate_json(path.read_bytes())
    if architecture.factory:
        module = call(architecture.factory, architecture.args, root, architecture.factory)
    else:
        assert source is not None  # noqa: S101  # an edited source is a PyTorch source
        module = source()
    for edit in architecture.edits:
        edit.apply(module)
    load_model(module, str(path.with_name(WEIGHTS)))
    return module.eval()


def call(factory: str, args: dict[str, Any], root: Path, key: str) -> torch.nn.Module:
    """What a factory makes. Raises UserError where that is no module."""
    import torch

    with factories.opened(root):
        module = factories.call(factory, args, root, key)
    if not isinstance(module, torch.nn.Module):
        raise UserError(f"{key}: {factory} returned {type(module).__name__}, not a torch.nn.Module")
    return module


def made(factory: WeightedFactory, root: Path, key: str) -> torch.nn.Module:
    """A factory's module with its weights, in eval mode. Raises UserError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    from model_build.project_files import resolve

    module = call(factory.factory, factory.args, root, key)
    if factory.weights:
        try:
            load_model(module, str(resolve(factory.weights, root)))
        except (RuntimeError, SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:400]
            raise UserError(
                f"{key}: {factory.weights} does not fit {factory.factory}: {reason}",
                "save the weights again from this model, or mend the factory's args",
            ) from error
    return module.eval()


Snapshot = dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]]]]


def snapshot(module: torch.nn.Module) -> Snapshot:
    """Sizes and tensor shapes of every module within, by its path: what `resized` compares."""
    return {name: (_sizes(one), _shapes(one)) for name, one in module.named_modules()}


def resized(before: Snapshot, module: torch.nn.Module) -> Iterator[Resize]:
    """The edits that turn what `before` was taken of into the module as it is now."""
    kept = module.state_dict().keys()
    for name, one in module.named_modules():
        sizes, shapes = before[name]
        tensors = {tensor: shape for tensor, shape in _shapes(one).items() if shape != shapes[tensor]}
        changed = {size: value for size, value in _sizes(one).items() if value != sizes[size]}
        for tensor in tensors:
            if (f"{name}.{tensor}" if name else tensor) not in kept:
                raise UserError(
                    f"the buffer '{tensor}' of {name or 'the model'} changes its shape, but is not kept with weights",
                    "register it as persistent, or skip the layers before it",
                )
        if tensors or changed:
            yield Resize(module=name, sizes=changed, tensors=tensors)


def _sizes(module: torch.nn.Module) -> dict[str, Any]:
    return {name: value for name in _SIZES if isinstance(value := getattr(module, name, None), (int, tuple))}


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return {name: tuple(tensor.shape) for name, tensor in own}
