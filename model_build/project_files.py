"""Where the files that a spec names lie, found without importing or running any of them.

Apart from `loading` since the build finds its files here too.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from model_build.errors import UserError
from model_build.spec import Factory, Spec, Step, WeightedFactory

EXTERNAL_DATA = (".data", "_data")
"""What an ONNX file's name is followed by in that of the file beside it that holds its weights, where one does."""

_IGNORED_FOLDERS = {"__pycache__", "build", "node_modules"}


def resolve(path: str, root: Path) -> Path:
    """The file of a spec's path, which may not exist. Raises UserError where its package is not installed."""
    if not path.startswith("pkg:"):
        return root / path
    package, _, inside = path.removeprefix("pkg:").partition("/")
    for folder in package_folders(package):
        if (folder / inside).exists():
            return folder / inside
    folders = package_folders(package)
    if not folders:
        raise UserError(f"{path}: the package '{package}' is not installed", next_step="run: make setup")
    return folders[0] / inside


def package_folders(package: str) -> list[Path]:
    """The folders of an installed top-level package; finding the spec of a top-level name imports nothing."""
    try:
        found = importlib.util.find_spec(package)
    except (ValueError, ImportError):
        return []
    return [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []


def module_file(module: str, root: Path) -> Path | None:
    """The source file of a dotted module name: the project's own first, then an installed package's."""
    head, *rest = module.split(".")
    places = [root.joinpath(head, *rest)]
    places += [folder.joinpath(*rest) for folder in package_folders(head)]
    for place in places:
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def factory_files(factory: Factory, root: Path) -> Iterator[Path]:
    """The project's files that a factory stands on: all of its module's folder but its documentation, and `files`.

    A module that lies in the project's root itself stands on its own file alone, as the whole project is beside it.
    """
    file = module_file(factory.factory.partition(":")[0], root)
    if file is not None and file.is_relative_to(root) and not is_installed(file, root):
        yield from [file] if file.parent == root else (path for path in walk(file.parent) if path.suffix != ".md")
    for path in factory.files:
        if not path.startswith("pkg:"):
            yield from walk(root / path)


def is_installed(file: Path, root: Path) -> bool:
    """Whether a file below the root belongs to an environment such as `.venv` rather than to the project."""
    return any(part.startswith(".") or part == "site-packages" for part in file.relative_to(root).parts)


def walk(path: Path) -> Iterator[Path]:
    """A file, or every file of a folder in a fixed order, without caches and hidden files."""
    if not path.is_dir():
        yield path
        return
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if name not in _IGNORED_FOLDERS and name[0] != ".")
        yield from (Path(folder, name) for name in sorted(files) if name[0] != "." and not name.endswith(".pyc"))


def named_paths(spec: Spec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every path that the spec names, with its key."""
    if pytorch := spec.source.pytorch:
        key: tuple[str | int, ...] = ("source", "pytorch", "weights")
        if isinstance(pytorch.weights, str):
            yield key, pytorch.weights
        for submodule, path in pytorch.weights.items() if isinstance(pytorch.weights, dict) else ():
            yield (*key, submodule), path
    if source := getattr(spec.source.config, "path", None):
        yield ("source", spec.source.kind, "path"), source
    if spec.source.federated and spec.source.federated.certificate:
        yield ("source", "federated", "certificate"), spec.source.federated.certificate
    if spec.text:
        yield ("text", "tokenizer"), spec.text.tokenizer
    if spec.generation and spec.generation.tokenizer:
        yield ("generation", "tokenizer"), spec.generation.tokenizer
    if spec.handler:
        yield ("handler", "inference"), spec.handler.inference
        yield from ((("handler", "files", index), path) for index, path in enumerate(spec.handler.files))
    if spec.sample:
        yield ("sample",), spec.sample
    for key, factory in factories(spec):
        yield from (((*key, "files", index), path) for index, path in enumerate(factory.files))
        if isinstance(factory, WeightedFactory) and factory.weights:
            yield (*key, "weights"), factory.weights


def factories(spec: Spec) -> Iterator[tuple[tuple[str | int, ...], Factory]]:
    """Every factory of the spec, with its key."""
    if made := spec.source.factory:
        yield ("source", *made[0]), made[1]
    if spec.source.federated:
        yield ("source", "federated", "clients"), spec.source.federated.of_a_client
    if spec.data.evaluation:
        yield ("data", "evaluation"), spec.data.evaluation
    if spec.data.calibration:
        yield ("data", "calibration"), spec.data.calibration
    if spec.data.training:
        yield ("data", "training"), spec.data.training
    for candidate, steps in enumerate(spec.optimize.candidates):
        for position, step in enumerate(steps):
            for option, factory in step_factories(step):
                yield ("optimize", "candidates", candidate, position, step.name, option), factory


def step_factories(step: Step) -> Iterator[tuple[str, WeightedFactory]]:
    """The factories among a step's options; one that is malformed is reported by the pass's `Config`."""
    for option, value in step.options.items():
        if isinstance(value, dict) and "factory" in value:
            with suppress(ValidationError):
                yield option, WeightedFactory.model_validate(value)


def input_files(spec: Spec, root: Path, path: Path | None = None) -> dict[str, Path]:
    """Every file of the project that the spec reads, by its path relative to the root; the spec itself is first.

    `path` is the spec's own file, `specs/NAME.yaml` if not given. Files of installed packages are not the project's:
    they are pinned by the requirements.
    """
    root = root.resolve()
    found = [(path or root / "specs" / f"{spec.name}.yaml").resolve()]
    rest = {file for _, named in named_paths(spec) if not named.startswith("pkg:") for file in walk(root / named)}
    rest |= {file for _, factory in factories(spec) for file in factory_files(factory, root)}
    if spec.source.onnx and not spec.source.onnx.path.startswith("pkg:"):
        model = root / spec.source.onnx.path
        rest |= {file for suffix in EXTERNAL_DATA if (file := model.with_name(model.name + suffix)).is_file()}
    rest -= set(found)
    return {file.relative_to(root).as_posix(): file for file in [*found, *sorted(rest)]}


def definitions(source: str) -> dict[str, ast.stmt] | None:
    """What a module defines or imports at its top level; None where `import *` hides it. Raises SyntaxError."""
    names: dict[str, ast.stmt] = {}
    statements: list[ast.stmt] = ast.parse(source).body
    while statements:
        statement = statements.pop(0)
        match statement:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                names[statement.name] = statement
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    if alias.name == "*":
                        return None
                    names[alias.asname or alias.name.partition(".")[0]] = statement
            case ast.Assign():
                names |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = statement
            case ast.If() | ast.Try() | ast.With():  # what stands under a condition may be defined
                statements += [inner for inner in ast.walk(statement) if isinstance(inner, ast.stmt)][1:]
    return names
