"""Our slim serving image: what it is called, from what its code is. Pure but for reading that code.

The tag is a digest of everything that the Dockerfile copies, so that a change of the server is another image, and
immutable tags never stand in the way of a push.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from infra.images import Repository, registry
from infra.names import STACK_LIMIT

# The code that runs is the code that is pushed: this checkout's, wherever the stack's project lies.
CODE = Path(__file__).resolve().parents[1]
DOCKERFILE = "serving/Dockerfile"
REQUIREMENTS = "requirements/serving.txt"
DIGITS = 16
ARM = "-arm64"
"""What the tag of the image for Arm ends in; the other one is for Intel and AMD."""


class NoServingCodeError(ValueError):
    """The files that the image is made of are not there; the message says so with the next step."""


def repository_name(stack: str) -> str:
    assert len(stack) <= STACK_LIMIT  # noqa: S101  settings refuse longer ones
    return f"slipway-serving-{stack}"


def files(code: Path = CODE) -> list[Path]:
    """What goes into the image, in a fixed order. Raises NoServingCodeError."""
    wanted = [code / DOCKERFILE, code / REQUIREMENTS]
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        raise NoServingCodeError(
            f"`image: own` is built from a checkout of Slipway, and {missing[0]} is not there; name another image"
        )
    return [*wanted, *sorted(path for path in (code / "serving").rglob("*.py"))]


def tag(code: Path = CODE, *, arm: bool = False) -> str:
    """Raises NoServingCodeError."""
    digest = hashlib.sha256()
    for path in files(code):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(code).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:DIGITS] + (ARM if arm else "")


def uri(account: str, region: str, stack: str, code: Path = CODE, *, arm: bool = False) -> str:
    """The image in the stack's own repository. Raises NoServingCodeError."""
    return f"{registry(account, region)}/{repository_name(stack)}:{tag(code, arm=arm)}"


def repository(account: str, region: str, stack: str) -> Repository:
    return Repository(account, region, repository_name(stack))
