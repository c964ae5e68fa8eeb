"""Builds our slim serving image and pushes it to a stack's repository, with whatever container program is at hand."""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import own_image
from infra.images import registry
from model_build.errors import UserError
from slipway.console import Console
from slipway.stacks import StackFile

PROGRAMS = ("docker", "podman")
PLATFORMS = {False: "linux/amd64", True: "linux/arm64"}
"""Whether instances are Arm → what they run."""


@dataclass(frozen=True)
class Destination:
    """The image in a stack's repository."""

    account: str
    region: str
    repository: str
    tag: str
    arm: bool = False

    @property
    def uri(self) -> str:
        return f"{registry(self.account, self.region)}/{self.repository}:{self.tag}"


def destination(stack: StackFile, arm: bool = False) -> Destination:
    """Raises UserError where the stack's file does not say where its repository is, or this is no checkout."""
    if stack.name == "local":
        raise UserError("the local stack runs the server as processes, so there is no image to push", "give --env ENV")
    for key in ("account", "region"):
        if not getattr(stack, key):
            raise UserError(
                f"Pulumi.{stack.name}.yaml names no {key}", f"run: pulumi config set slipway:{key} … -s {stack.name}"
            )
    return Destination(stack.account, stack.region, own_image.repository_name(stack.name), current_tag(arm), arm)


def current_tag(arm: bool = False) -> str:
    """Raises UserError."""
    try:
        return own_image.tag(arm=arm)
    except own_image.NoServingCodeError as error:
        raise UserError(str(error)) from None


def container_program() -> str:
    """Raises UserError where there is none."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise UserError(
        "neither docker nor podman is installed, so the image cannot be built here",
        "install one, or run this where there is one (a CI runner has docker)",
    )


def build(program: str, uri: str, console: Console, arm: bool = False) -> None:
    """Builds the image of this checkout. Raises UserError with what the program said."""
    with console.step(f"image {uri}"):
        dockerfile = own_image.CODE / own_image.DOCKERFILE
        command = [program, "build", "--platform", PLATFORMS[arm], "--file", str(dockerfile), "--tag", uri]
        _run([*command, str(own_image.CODE)])


def push(program: str, where: Destination, ecr: Any, console: Console) -> bool:
    """Builds and pushes where the repository lacks the tag; False where it has it. Raises UserError."""
    if _pushed(where, ecr):
        return False
    build(program, where.uri, console, where.arm)
    with console.step("push"):
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        host = registry(where.account, where.region)
        _run([program, "login", "--username", user, "--password-stdin", host], secret=password)
        _run([program, "push", where.uri])
    return True


def _pushed(where: Destination, ecr: Any) -> bool:
    try:
        ecr.describe_images(
            registryId=where.account, repositoryName=where.repository, imageIds=[{"imageTag": where.tag}]
        )
    except ecr.exceptions.ImageNotFoundException:
        return False
    except ecr.exceptions.RepositoryNotFoundException:
        raise UserError(
            f"account {where.account} has no repository {where.repository} in {where.region} yet",
            "make it first, alone, before the models that need it: docs/aws.md, 'Our own image'",
        ) from None
    return True


def _run(command: list[str], secret: str | None = None) -> None:
    done = subprocess.run(
        command, cwd=Path.cwd(), input=secret, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        said = done.stdout.strip()[-2000:]
        raise UserError(f"`{Path(command[0]).name} {command[1]}` failed:\n{said}", "read the lines above")
