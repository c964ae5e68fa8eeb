"""Images of specs that AWS does not patch any more, each with its file, line and key.

Here and not among `model_build.rules`: what AWS publishes is provisioning's knowledge, which building does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

from infra.images import retired
from model_build.loading import Problem, written
from model_build.spec import Spec
from model_build.yaml_tree import Key, parse


def problems(specs: Mapping[Path, Spec], root: Path, today: date) -> list[Problem]:
    """What `slipway check` refuses beyond the spec itself, by file and line."""
    found = []
    for path, spec in specs.items():
        ended = [(key, why) for key, image in _images(spec) if (why := retired(image, today))]
        if ended:
            tree, _ = parse(path.read_text("utf-8-sig"))
            shown = path.resolve().relative_to(root.resolve()).as_posix()
            found += [Problem(shown, tree.line_of(key) if tree else 1, written(key), why) for key, why in ended]
    return found


def _images(spec: Spec) -> Iterator[tuple[Key, str]]:
    """Every image that is named, once for each place where it is written."""
    base = spec.deploy
    yield ("deploy", "image"), base.image
    if base.shadow and base.shadow.image:
        yield ("deploy", "shadow", "image"), base.shadow.image
    for environment, deploy in spec.deployments().items():
        key: Key = ("environments", environment, "deploy")
        if deploy.image != base.image:
            yield (*key, "image"), deploy.image
        if deploy.shadow and deploy.shadow.image and deploy.shadow != base.shadow:
            yield (*key, "shadow", "image"), deploy.shadow.image
