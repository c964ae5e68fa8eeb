"""The folder that Flower sends to a federation: the app, `serving`, and the Python that the factories stand on.

Apart from `federated` since a simulation needs none. Samples stay where they are: no file of data is taken along.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from model_build.federated.job import FILE, Job
from model_build.inputs import versions
from model_build.package import serving_files
from model_build.project_files import factory_files, resolve
from model_build.sources import federated_environment
from model_build.spec import Spec

TOKENIZER = "tokenizer.json"
_OWN = ("__init__.py", "calling.py", "errors.py", "factories.py")
_LIBRARIES = ("numpy", "orjson", "pillow", "safetensors", "soxr", "tokenizers", "torch")


def write(spec: Spec, job: Job, root: Path, directory: Path) -> None:
    """Writes the app's folder. `job` has its tokenizer as `TOKENIZER`."""
    source = spec.source.federated
    assert source is not None  # noqa: S101  # what this module is for
    checkout = federated_environment.CHECKOUT
    package = checkout / "model_build"
    ours = [package / name for name in _OWN] + sorted((package / "federated").glob("*.py"))
    theirs = {
        file
        for factory in (source, source.clients)
        for path in factory_files(factory, root)
        if path.suffix == ".py"
        for file in (path, *_packages(path, root))
    }
    files = {file.relative_to(checkout): file for file in (*ours, *serving_files()) if file.suffix == ".py"}
    files |= {file.relative_to(root): file for file in sorted(theirs)}
    if spec.text:
        files[Path(TOKENIZER)] = resolve(spec.text.tokenizer, root)
    for relative, file in files.items():
        (directory / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, directory / relative)
    job.write(directory / FILE)
    (directory / "pyproject.toml").write_text(_project(spec.name), encoding="utf-8")


def _packages(path: Path, root: Path) -> list[Path]:
    """The `__init__.py` of the packages that a file is in, which lie above its own folder too."""
    folders = [folder for folder in path.parents if folder != root and folder.is_relative_to(root)]
    return [file for folder in folders if (file := folder / "__init__.py").is_file()]


def _project(name: str) -> str:
    pins = [f"flwr=={federated_environment.flwr_version()}"]
    pins += [f"{library}=={version}" for library, version in versions(_LIBRARIES).items() if version != "none"]
    return f"""\
[project]
name = "slipway-{name}"
version = "1.0.0"
description = "Trains the model {name}."
license = "Apache-2.0"
dependencies = {json.dumps(pins)}

[tool.flwr.app]
publisher = "slipway"

[tool.flwr.app.components]
serverapp = "model_build.federated.server:app"
clientapp = "model_build.federated.client:app"

[tool.flwr.app.config]
"""
