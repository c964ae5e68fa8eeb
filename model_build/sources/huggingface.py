"""A fine-tuned model of the `transformers` library: config.json and safetensors, local or at a commit of the hub.

Only the library's own code runs: `trust_remote_code` is never given, and weights are read from safetensors alone. The
network is used by one function, `_downloaded`, and only where the spec says `offline: false`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.quiet import quiet
from model_build.sources import generation_config
from model_build.sources.base import listed, shown
from model_build.sources.huggingface_modules import BESIDE, symbols_of, wrapped
from model_build.spec import Generation, Spec

if TYPE_CHECKING:
    import torch

    from model_build.spec import HuggingfaceSource

LIBRARIES = ("safetensors", "torch", "transformers")

# Task → the class of the library that loads it.
CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "image-classification": "AutoModelForImageClassification",
    "audio-classification": "AutoModelForAudioClassification",
    "object-detection": "AutoModelForObjectDetection",
    "text-embedding": "AutoModel",
    "token-classification": "AutoModelForTokenClassification",
    "text-generation": "AutoModelForSeq2SeqLM",
    "speech-recognition": "AutoModelForCTC",
}
WITHOUT_LABELS = ("text-embedding", "text-generation")
"""Tasks whose outputs have no names in config.json."""
DOWNLOADED = ("config.json", "*.safetensors", "*.safetensors.index.json")


def files(spec: Spec, root: Path) -> list[Path]:
    return sorted(_folder(spec, root).glob("*.safetensors"))


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    folder = _folder(spec, root)
    labels = labels_of(folder, spec.task)
    if problem := labels_problem(labels, spec.labels):
        raise UserError(f"labels: {problem}", "give the labels of the model, or leave them out")
    generation = (spec.generation or Generation()).model_dump(mode="json")
    options = {"options": generation} if spec.task == "text-generation" else {}
    return {"folder": str(folder), "name": _name(_config(spec), folder, root), "task": spec.task, **options}


def with_generation(spec: Spec, root: Path) -> Spec:
    """The spec with what the model says of how it generates, where it is at hand and the spec leaves it out."""
    config = spec.source.huggingface
    if spec.task != "text-generation" or config is None:
        return spec
    try:
        return generation_config.completed(spec, _local(config, root))
    except UserError:  # reported where the folder is
        return spec


def with_labels(spec: Spec, root: Path) -> Spec:
    """The spec with the model's own labels where it names none and the model is at hand; else as it is."""
    config = spec.source.huggingface
    if config is None or spec.labels or "labels" in spec.model_fields_set:
        return spec
    try:
        labels = labels_of(_local(config, root), spec.task)
    except UserError:  # reported where the folder or the missing labels are
        return spec
    return spec.model_copy(update={"labels": labels}) if labels else spec


def labels_of(folder: Path, task: str) -> tuple[str, ...]:
    """The class names of config.json, of speech the symbols of vocab.json, in the order of the outputs; empty where it
    has none. Raises UserError.

    A name that several classes have, as DETR's gaps in COCO's numbers do, is followed by their number after the first.
    """
    if task in WITHOUT_LABELS:
        return ()
    if task == "speech-recognition":
        return symbols_of(folder)
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
        names = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    except FileNotFoundError:
        raise UserError(f"{folder.name} holds no config.json, so it is no model of transformers") from None
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{folder.name}/config.json cannot be read: {error}") from None
    found: dict[str, None] = {}
    for index in sorted(names):
        found[names[index] if names[index] not in found else f"{names[index]} {index}"] = None
    return tuple(found)


def labels_problem(own: Sequence[str], given: Sequence[str]) -> str:
    """What is wrong with the spec's labels beside the model's own; empty is good.

    Other names are fine where the model only counts (`LABEL_0`, …) or the classes are as many but named differently.
    """
    if not own or not given or list(own) == list(given):
        return ""
    if len(own) != len(given):
        return f"has {len(given)} classes, and the model {len(own)}: {listed(list(own))}"
    if {name.casefold() for name in own} == {name.casefold() for name in given}:
        return f"are the model's in another order; its outputs are {', '.join(own)}"
    return ""


def load_module(folder: str, name: str, task: str, options: dict[str, Any] | None = None) -> torch.nn.Module:
    """The model behind the task's names, its output alone, in eval mode. Raises UserError."""
    import torch
    import transformers

    kind = CLASSES[task]
    if not any(Path(folder).glob("*.safetensors")):
        raise UserError(
            f"{name}: holds no .safetensors file, and other weights would have to be unpickled",
            "save it again: model.save_pretrained(…, safe_serialization=True)",
        )
    try:
        with quiet():
            model, info = getattr(transformers, kind).from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises anything for a folder that is not its own
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{name}: transformers cannot load it as {kind}: {reason[:300]}") from error
    # Vectors are pooled from those of the tokens: a layer that pools otherwise may be missing.
    unused = ("pooler.",) if task == "text-embedding" else ()
    missing = sorted(str(key) for key in info["missing_keys"] if not str(key).startswith(unused))
    mismatched = sorted(str(key if isinstance(key, str) else key[0]) for key in info["mismatched_keys"])
    if missing or mismatched:
        raise UserError(
            f"{name}: its weights lack {listed(missing + mismatched)}: it was not fine-tuned as {kind}, "
            "and random weights would take their place",
            "name the fine-tuned model",
        )
    if options is not None:
        from model_build import seq2seq

        return seq2seq.loaded(model, options, name)
    return wrapped(model, task, Path(folder)).eval()


def _folder(spec: Spec, root: Path) -> Path:
    """Where the model lies on this machine; downloads it where the spec allows that. Raises UserError."""
    config = _config(spec)
    folder = _local(config, root)
    if folder.is_dir() if config.path else _complete(folder):
        return folder
    if config.path or config.offline:
        raise UserError(
            f"source.huggingface: {config.path or config.repository} is not on this machine"
            + ("" if config.path else f" at the revision {config.revision}"),
            "check the path" if config.path else "set source.huggingface.offline to false to let the build download it",
        )
    return _downloaded(config, spec.task)


def _local(config: HuggingfaceSource, root: Path) -> Path:
    """The folder of the spec, or of the hub's cache, which may not exist; nothing of the hub's library is imported."""
    from model_build.project_files import resolve

    if config.path:
        return resolve(config.path, root)
    assert config.repository and config.revision  # noqa: S101  # the spec's shape holds it
    cache = os.environ.get("HF_HUB_CACHE")
    home = os.environ.get("HF_HOME") or os.path.join(  # noqa: PTH118  # as the library composes it
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    folder = Path(cache) if cache else Path(home) / "hub"
    return folder.expanduser() / f"models--{config.repository.replace('/', '--')}" / "snapshots" / config.revision


def _complete(folder: Path) -> bool:
    """Whether a folder of the cache holds all of the model: a download may have been interrupted."""
    index = folder / "model.safetensors.index.json"
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values()) if index.is_file() else set()
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    wanted = shards or {path.name for path in folder.glob("*.safetensors")} or {"model.safetensors"}
    return all((folder / name).is_file() for name in {"config.json", *wanted})


def _downloaded(config: HuggingfaceSource, task: str) -> Path:
    import huggingface_hub

    assert config.repository and config.revision  # noqa: S101  # the spec's shape holds it
    try:
        with quiet():
            return Path(
                huggingface_hub.snapshot_download(
                    config.repository, revision=config.revision, allow_patterns=[*DOWNLOADED, *BESIDE.get(task, ())]
                )
            )
    except Exception as error:  # the hub's library and those below it have no common base
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"source.huggingface: {config.repository} cannot be downloaded: {reason[:300]}",
            "check the repository, the revision and the network; a private one needs HF_TOKEN",
        ) from error


def _config(spec: Spec) -> HuggingfaceSource:
    assert spec.source.huggingface is not None  # noqa: S101  # what this module is for
    return spec.source.huggingface


def _name(config: HuggingfaceSource, folder: Path, root: Path) -> str:
    return shown(folder, root) if config.path else f"{config.repository}@{config.revision}"
