"""Which models to deploy: every manifest under `build/`, trusted only after it was verified against its surroundings.

It runs before any resource exists and finds every problem at once, so that a stack is never half deployed because
the third model was stale. Specs are counted, never opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infra import own_image, preview, prices
from infra.images import OWN, Repository, image_uri, repository
from infra.settings import Settings
from model_build.capacity import CapacityError, read_capacity
from model_build.instances import is_arm
from model_build.manifest import Deploy, Manifest, ManifestError, read_manifest, verify

PRODUCTION_MINIMUM = 2  # AWS Security Hub control SageMaker.4: one instance is one failure from an outage


LOCAL_ACCOUNT = "123456789012"  # the local AWS's, where nothing pulls an image


@dataclass(frozen=True)
class BuiltModel:
    """A verified manifest, and what this stack makes of it."""

    manifest: Manifest
    artifact: Path
    deploy: Deploy
    image_uri: str
    image_repository: Repository
    shadow_uri: str | None = None
    shadow_repository: Repository | None = None
    target: float | None = None
    """What `autoscaling.target: auto` came to; None where the spec gives a number, or none."""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def uses_own_image(self) -> bool:
        shadow = self.deploy.shadow
        return self.deploy.image == OWN or (shadow is not None and shadow.image == OWN)

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
    missed = [gate.gate for gate in manifest.gates if not gate.passed]
    if missed:
        problems.append(
            f"{_shown(directory, settings)}: missed gates ({', '.join(missed)}), past which nothing is promoted; "
            f"mend the model or specs/{manifest.name}.yaml, then run: slipway build {manifest.name}"
        )
    deploy = manifest.deployment(settings.stack)
    if settings.preview:
        deploy = preview.smallest(deploy, manifest.chosen.memory_peak_mb, prices.committed().region(settings.region))
    where = f"specs/{manifest.name}.yaml: "
    where += f"environments.{settings.stack}.deploy" if settings.stack in manifest.environments else "deploy"
    if settings.production and deploy.endpoint == "realtime" and deploy.instances.min < PRODUCTION_MINIMUM:
        problems.append(
            f"specs/{manifest.name}.yaml: environments.{settings.stack}.deploy.instances: min is "
            f"{deploy.instances.min}, but production needs at least {PRODUCTION_MINIMUM} (SageMaker.4); "
            f"mend it, then run: slipway build {manifest.name}"
        )
    try:
        uri = _image(deploy.image, _is_arm(deploy), settings)
        source = repository(uri)
    except ValueError as error:
        problems.append(f"{where}.image: {error}; mend it, then run: slipway build {manifest.name}")
        return None
    shadow_uri, shadow_source = None, None
    if deploy.shadow and deploy.shadow.image:
        try:
            shadow_uri = _image(deploy.shadow.image, is_arm(deploy.shadow.instance or deploy.instance), settings)
            shadow_source = repository(shadow_uri)
        except ValueError as error:
            problems.append(f"{where}.shadow.image: {error}; mend it, then run: slipway build {manifest.name}")
            return None
    target = None
    if deploy.autoscaling.target == "auto":
        try:
            target = _evidence(manifest, deploy, settings)
        except CapacityError as error:
            problems.append(f"{where}.autoscaling.target: {error}")
            return None
    return BuiltModel(
        manifest, directory / manifest.artifact.file, deploy, uri, source, shadow_uri, shadow_source, target
    )


def _is_arm(deploy: Deploy) -> bool:
    return deploy.endpoint != "serverless" and is_arm(deploy.instance)  # serverless has no instances


def _image(image: str, arm: bool, settings: Settings) -> str:
    """Raises ValueError."""
    if image == OWN:
        account = settings.account or LOCAL_ACCOUNT
        return own_image.uri(account, settings.region, settings.stack, arm=arm)
    return image_uri(image, settings.region)


def _evidence(manifest: Manifest, deploy: Deploy, settings: Settings) -> float:
    """The target that a load test of exactly this artifact stands for. Raises CapacityError.

    Read now and not at the build: the test loads an endpoint, so that it comes after the artifact.
    """
    found = read_capacity(
        settings.root,
        name=manifest.name,
        artifact=manifest.artifact.sha256,
        instance=deploy.instance,
        environment=settings.stack,
    )
    return found.target("concurrency" if deploy.metric == "concurrency" else "invocations", deploy.autoscaling.safety)


def _shown(path: Path, settings: Settings) -> str:
    return path.relative_to(settings.root).as_posix()
