"""What a build stands on, as digests: files, versions, code. Every cache key is made of these.

Apart so that a build with nothing to do reads them, compares, and imports nothing more.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from model_build import cache, wheels
from model_build.manifest import file_sha256
from model_build.package import serving_files
from model_build.passes import PASSES
from model_build.project_files import (
    EXTERNAL_DATA,
    factories,
    factory_files,
    input_files,
    named_paths,
    resolve,
    step_factories,
    walk,
)
from model_build.sources import SOURCES, federated, federated_environment
from model_build.spec import Factory, Spec, Step

# What the passes and the measurement run on, and what the preprocessing runs on.
LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "torch", "torch-pruning")
PREPROCESSING = ("numpy", "pillow", "soxr", "tokenizers")
SLIPWAY = Path(__file__).resolve().parent.parent
ENCODING = ("config", "generation", "sound")
"""The modules of `serving`, beside its tasks, that turn a sample into a model's input, or run it more than once."""


class Inputs:
    """The inputs of one spec, each file read once."""

    def __init__(self, spec: Spec, root: Path, path: Path | None = None) -> None:
        self.spec = spec
        self.root = root
        self.files: dict[str, str] = {
            relative: file_sha256(file) for relative, file in input_files(spec, root, path).items()
        }
        """Every file of the project, the spec first: the manifest's `inputs`."""
        self.packaged: dict[str, str] = {
            named: _digest_of(resolve(named, root)) for _, named in named_paths(spec) if named.startswith("pkg:")
        }
        """Files and folders of installed packages, by the spec's path."""

    def build_key(self) -> str:
        """Changes with anything that could change what a build publishes."""
        packages = {name for _, factory in factories(self.spec) for name in factory.packages}
        vendored = {"wheels": wheels.constraints(())} if wheels.python_for(self.spec) else {}
        return cache.key(
            "build",
            spec=self.spec.model_dump(mode="json"),
            files=self.files,
            packaged=self.packaged,
            versions=versions(
                (
                    *LIBRARIES,
                    *PREPROCESSING,
                    *SOURCES[self.spec.source.kind].LIBRARIES,
                    *pass_libraries(self.spec),
                    "isal",
                    "orjson",
                    *packages,
                )
            ),
            python=platform.python_version(),
            machine=platform.machine(),
            code=_code(path for path in (SLIPWAY / "model_build").rglob("*") if path.suffix in (".py", ".html"))
            | _code(serving_files()),
            **vendored,
        )

    def source_key(self) -> str:
        source = self.spec.source
        named = [path for key, path in named_paths(self.spec) if key[0] == "source" and key[-1] != "certificate"]
        beside = tuple(f"{path}{suffix}" for path in named for suffix in (*EXTERNAL_DATA, "/"))
        return cache.key(
            "source",
            kind=source.kind,
            settings=source.config.model_dump(mode="json", exclude={"allow_code", "offline", "certificate"}),
            files={path: digest for path, digest in self.files.items() if path in named or path.startswith(beside)},
            packaged=self._digests(path for path in named if path.startswith("pkg:")),
            factory=self._factory(source.factory[1]) if source.factory else None,
            # What is made into ONNX when it is read is made for the task's names.
            preprocessing=self.preprocessing_key() if source.format == "onnx" else None,
            **self._trained(),
        )

    def _trained(self) -> dict[str, Any]:
        """What else decides what a source becomes. No federation is asked again as Slipway or a library changed."""
        libraries = versions(SOURCES[self.spec.source.kind].LIBRARIES)
        source = self.spec.source.federated
        if source is None:
            return {"versions": libraries}
        clients = self._factory(source.clients)
        if source.superlink:
            return {"clients": clients, "task": self.spec.task, "sections": self.spec.sections()}
        flower = federated_environment.flwr_version()
        samples = self.preprocessing_key()
        return {
            "clients": clients,
            "samples": samples,
            "app": federated.VERSION,
            "versions": {**libraries, "flwr": flower},
        }

    def preprocessing_key(self) -> str:
        return cache.key(
            "preprocessing",
            task=self.spec.task,
            sections=self.spec.sections(),
            tokenizer=self._digests(path for key, path in named_paths(self.spec) if key[-1] == "tokenizer"),
            code=_code(path for path in serving_files() if path.parent.name == "tasks" or path.stem in ENCODING),
            versions=versions(PREPROCESSING),
        )

    def samples_key(self, factory: Factory | None) -> str:
        """Of the encoded samples; without a factory, of the made-up ones."""
        return cache.key(
            "samples",
            factory=self._factory(factory) if factory else None,
            classes=len(self.spec.labels),
            preprocessing=self.preprocessing_key(),
        )

    def of_options(self, step: Step) -> dict[str, Any]:
        """Digests of the files that the options of a step name."""
        return {
            option: self._factory(factory) | {"weights": self._digests([factory.weights] if factory.weights else [])}
            for option, factory in step_factories(step)
        }

    def _factory(self, factory: Factory) -> dict[str, Any]:
        return {
            "name": factory.factory,
            "args": factory.args,
            "files": {
                relative: self.files[relative]
                for file in factory_files(factory, self.root)
                if (relative := file.relative_to(self.root).as_posix())
            },
            "packaged": self._digests(path for path in factory.files if path.startswith("pkg:")),
            "packages": versions(factory.packages),
        }

    def _digests(self, paths: Iterable[str]) -> dict[str, str]:
        return {path: self.packaged[path] if path in self.packaged else self.files[path] for path in paths}


def _digest_of(path: Path) -> str:
    """Of a file, or of a folder's files."""
    if path.is_file():
        return file_sha256(path)
    return cache.digest({file.relative_to(path).as_posix(): file_sha256(file) for file in walk(path)})


def pass_libraries(spec: Spec) -> set[str]:
    """The distributions that only some passes need, of the passes that a spec names."""
    steps = (step for candidate in spec.optimize.candidates for step in candidate)
    return {name for step in steps for name in getattr(PASSES[step.name], "LIBRARIES", ())}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution; `none` where one is not installed."""
    return {name: _version(name) for name in sorted(set(names))}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _code(paths: Iterable[Path]) -> dict[str, str]:
    """Digests of Slipway's own source files, by their path in the checkout."""
    return {path.relative_to(SLIPWAY).as_posix(): file_sha256(path) for path in sorted(paths)}
