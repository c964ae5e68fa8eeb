"""Which models to deploy: every manifest under `build/`, trusted only after it was verified against its surroundings.

It runs before any resource exists and finds every problem at once, so that a stack is never half deployed because
the third model was stale. Specs are counted, never opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra.images import Repository, image_uri, repository
from infra.settings import Settings
from model_build.manifest import Deploy, Manifest, ManifestError, read_manifest, verify

PRODUCTION_MINIMUM = 2  # AWS Security Hub control SageMaker.4: one instance is one failure from an outage


@dataclass(frozen=True)
class BuiltModel:
    """A verified manifest, and what this stack makes of it."""

    manifest: Manifest
    artifact: Path
    deploy: Deploy
    image_uri: str
    image_repository: Repository

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def digest(self) -> str:
        """SHA-256 of the artifact, hexadecimal."""
        return self.manifest.artifact.sha256


def find_models(settings: Settings, problems: list[str]) -> list[BuiltModel]:
    """The stack's models by name. What is wrong is appended to `problems`, each line with what mends it."""
    specs = {path.stem for path in settings.specs_directory.glob("*.yaml")}
    built = {path.parent.name for path in settings.build_directory.glob("[!.]*/manifest.json")}
    known = specs | built
    for name in sorted(set(settings.models) - known):
        problems.append(
            f"slipway:models: there is no model '{name}'; known: {', '.join(sorted(known)) or 'none'}; "
            "mend the list in the stack's file, or run: pulumi config rm slipway:models"
        )
    chosen = known & set(settings.models) if settings.models else known
    models = []
    for name in sorted(chosen):
        found: list[str] = []
        directory = settings.build_directory / name
        if name not in specs:
            found.append(
                f"{_shown(directory, settings)}: its spec specs/{name}.yaml is gone; to take the endpoint down, "
                f"run: rm -r {_shown(directory, settings)}"
            )
        elif name not in built:
            found.append(f"specs/{name}.yaml: not built; run: slipway build {name}")
        else:
            model = _read(directory, settings, found)
            if model is not None and not found:
                models.append(model)
        problems += found
    return models


def _read(directory: Path, settings: Settings, problems: list[str]) -> BuiltModel | None:
    try:
        manifest = read_manifest(directory / "manifest.json")
    except ManifestError as error:
        problems.append(str(error))
        return None
    problems += verify(manifest, directory, settings.root)
    deploy = manifest.deployment(settings.stack)
    where = f"specs/{manifest.name}.yaml: "
    where += f"environments.{settings.stack}.deploy" if settings.stack in manifest.environments else "deploy"
    if settings.production and deploy.instances.min < PRODUCTION_MINIMUM:
        problems.append(
            f"specs/{manifest.name}.yaml: environments.{settings.stack}.deploy.instances: min is "
            f"{deploy.instances.min}, but production needs at least {PRODUCTION_MINIMUM} (SageMaker.4); "
            f"mend it, then run: slipway build {manifest.name}"
        )
    uri = image_uri(deploy.image, settings.region)
    try:
        source = repository(uri)
    except ValueError as error:
        problems.append(f"{where}.image: {error}; mend it, then run: slipway build {manifest.name}")
        return None
    return BuiltModel(manifest, directory / manifest.artifact.file, deploy, uri, source)


def _shown(path: Path, settings: Settings) -> str:
    return path.relative_to(settings.root).as_posix()
