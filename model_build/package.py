"""What lies in `model.tar.gz`; the layout is `docs/architecture.md`'s, and `archive` packs it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import serving
from model_build import wheels
from model_build.passes.base import Format
from model_build.project_files import resolve
from model_build.spec import Spec
from serving.config import ENCODER

MODEL = "model.onnx"
PARTS = (ENCODER,)
"""What else of a model of several graphs lies beside it."""
FORMATS: dict[str, Format] = {".onnx": "onnx", ".tflite": "litert"}
"""Ending of a model's file → its format."""
RUNTIMES: dict[Format, str] = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}
"""Format → the distribution that runs it."""


def contents(
    spec: Spec, model: Path, root: Path, vendored: Path | None = None, parts: Sequence[Path] = ()
) -> dict[str, bytes | Path]:
    """Every file of the artifact by its path in there; `vendored` is a folder of wheels for its code, `parts` are the
    model's further graphs."""
    name = f"model{model.suffix}"
    files: dict[str, bytes | Path] = {name: model, **{part.name: part for part in parts}}
    sections = spec.sections()
    if spec.text:
        files["tokenizer.json"] = resolve(spec.text.tokenizer, root)
        sections["text"]["tokenizer"] = "tokenizer.json"
    if spec.generation and spec.generation.tokenizer:
        files["answer_tokenizer.json"] = resolve(spec.generation.tokenizer, root)
        sections["generation"]["tokenizer"] = "answer_tokenizer.json"
    for path in serving_files():
        files[f"code/serving/{path.relative_to(_serving()).as_posix()}"] = path
    files["code/inference.py"] = resolve(spec.handler.inference, root) if spec.handler else _serving() / "inference.py"
    for extra in spec.handler.files if spec.handler else ():
        path = resolve(extra, root)
        files[f"code/{path.name}"] = path
    lines = requirements(spec, FORMATS[model.suffix])
    if vendored is not None:
        lines = [*wheels.OPTIONS, *lines]
        files |= {f"code/{wheels.FOLDER}/{path.name}": path for path in sorted(vendored.glob("*.whl"))}
    files["code/requirements.txt"] = "".join(f"{line}\n" for line in lines).encode()
    config = {
        "format": 1,
        "name": spec.name,
        "task": spec.task,
        "labels": list(spec.labels),
        "model": name,
        **sections,
        "files": {name: hashlib.sha256(_read(content)).hexdigest() for name, content in sorted(files.items())},
    }
    files["slipway.json"] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    return files


def serving_files() -> list[Path]:
    """The source files of `serving`, which travel in the artifact."""
    return sorted(path for path in _serving().rglob("*.py") if "__pycache__" not in path.parts)


def requirements(spec: Spec, model: Format) -> list[str]:
    """Pinned lines: what the task and the model need in the versions installed here, the handler's own pins first."""
    from serving.tasks import TASKS

    needed = {*TASKS[spec.task].REQUIREMENTS} - {*RUNTIMES.values()} | {RUNTIMES[model]}
    pins = {_normal(name): f"{name}=={version(name)}" for name in needed}
    for line in spec.handler.requirements if spec.handler else ():
        pins[_normal(re.split(r"[\[=]", line)[0])] = line
    return [pins[name] for name in sorted(pins)]


def _read(content: bytes | Path) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content


def _serving() -> Path:
    (folder,) = serving.__path__
    return Path(folder).resolve()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
