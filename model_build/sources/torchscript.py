"""A PyTorch module saved as TorchScript: a program beside its weights, which torch interprets. It cannot call Python.

No pickle of Python's is involved, but loading and running the archive runs the program in it. Two of its operators
reach files, `torch.save` and `torch.from_file`: an archive that uses one is refused. PyTorch has deprecated
TorchScript; new models are better kept as a factory and safetensors, or as ONNX.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.quiet import quiet
from model_build.sources.base import shown

if TYPE_CHECKING:
    import torch

    from model_build.spec import Spec

LIBRARIES = ("torch",)

# As the archive writes them: `torch.save(…)`, `ops.aten.save(…)`.
_REACHES_FILES = re.compile(r"\b(?:torch|aten)\s*\.\s*(save|from_file)\b")
MAX_CODE_BYTES = 64_000_000


def files(spec: Spec, root: Path) -> list[Path]:
    from model_build.project_files import resolve

    assert spec.source.torchscript is not None  # noqa: S101  # what this module is for
    return [resolve(spec.source.torchscript.path, root)]


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    (path,) = files(spec, root)
    return {"path": str(path), "root": str(root)}


def load_module(path: str, root: str) -> torch.nn.Module:
    """The archive as a `ScriptModule` on the CPU, in eval mode. Raises UserError."""
    import torch

    file = shown(Path(path), Path(root))
    _check(Path(path), file)
    try:
        with quiet():
            module: torch.nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            return module.eval()
    except (RuntimeError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"{file}: torch cannot load this TorchScript archive: {lines[0].strip() if lines else 'no reason given'}",
            "save it again with torch.jit.save",
        ) from error


def _check(path: Path, file: str) -> None:
    """Refuses what is no archive, or whose program reaches files. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            programs = [one for one in archive.infolist() if "/code/" in one.filename and one.filename.endswith(".py")]
            if sum(one.file_size for one in programs) > MAX_CODE_BYTES:
                raise UserError(f"{file}: its program has more than {MAX_CODE_BYTES:,} bytes", "save a smaller one")
            found = [
                match[1]
                for one in programs
                if (match := _REACHES_FILES.search(archive.read(one).decode("utf-8", "replace")))
            ]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{file}: is not a TorchScript archive: {error}", "save it with torch.jit.save") from error
    if not programs:
        raise UserError(
            f"{file}: holds no TorchScript; a state dict goes under source.pytorch.weights",
            "save the scripted or traced module with torch.jit.save",
        )
    if found:
        raise UserError(
            f"{file}: its program calls torch.{found[0]}, which reaches files of this machine",
            "leave that out of the module's forward, and save it again",
        )
