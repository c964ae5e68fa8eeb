"""Inference images: from a spec's `repository:tag` to the URI that SageMaker pulls. Pure, over committed tables.

The registries come from AWS's own SDK (`image_refresh` reads them into `tables/images.json`), so that nothing imports
that package at deploy time; the ends of patching from AWS's support policy (`tables/end_of_patch.json`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from infra.prices import TableError
from model_build.manifest import Frozen

Table = TypeVar("Table", bound=Frozen)

OWN = "own"
"""In place of an image: our slim one, from the stack's own repository (`own_image`)."""

FOLDER = Path(__file__).with_name("tables")
# Where the table does not know a repository, AWS publishes it as this one: framework images share their registries.
TYPICAL = "pytorch-inference"
ARM = re.compile(r"-(graviton|arm64)$")
ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<repository>[a-z0-9][a-z0-9._/-]*?)(?::(?P<tag>[\w.-]+))?(?:@sha256:[0-9a-f]{64})?"
)


class Repository(NamedTuple):
    account: str
    region: str
    name: str


class Registries(Frozen):
    """Which account publishes a repository in a region."""

    format: Literal[1] = 1
    date: date
    source: str
    repositories: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Repository → account → regions."""

    def account(self, name: str, region: str) -> str | None:
        for account, regions in self.repositories[name].items():
            if region in regions:
                return account
        return None


class EndOfPatch(Frozen):
    """Versions of a repository that get no security patches after a day."""

    repository: str
    version: str
    end: date


class Support(Frozen):
    format: Literal[1] = 1
    date: date
    source: str
    alternative: str
    images: tuple[EndOfPatch, ...]


@cache
def registries() -> Registries:
    return _read(FOLDER / "images.json", Registries)


@cache
def support() -> Support:
    return _read(FOLDER / "end_of_patch.json", Support)


def partition(region: str) -> str:
    """The partition that a region belongs to: the second part of every ARN there."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def image_uri(image: str, region: str) -> str:
    """A whole URI is passed as is; `repository:tag` becomes AWS's own image in `region`.

    Raises ValueError where AWS does not publish that repository there, as far as the table knows.
    """
    if _whole(image):
        return image
    name = re.split("[:@]", image, maxsplit=1)[0]
    table = registries()
    account = table.account(name if name in table.repositories else TYPICAL, region)
    if account is None:
        raise ValueError(
            f"AWS publishes no '{name}' in {region} that is known here (table of {table.date}); give the whole image "
            "URI, or run: slipway images refresh"
        )
    return f"{registry(account, region)}/{image}"


def registry(account: str, region: str) -> str:
    """The host of an account's registry in a region."""
    domain = "amazonaws.com.cn" if partition(region) == "aws-cn" else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}"


def repository(uri: str) -> Repository:
    """The ECR repository that a URI names. Raises ValueError for another registry, from which SageMaker cannot pull."""
    match = ECR.fullmatch(uri)
    if match is None:
        raise ValueError(f"'{uri}' is not in Amazon ECR, and SageMaker pulls from there alone")
    return Repository(match["account"], match["region"], match["repository"])


def retired(image: str, today: date) -> str | None:
    """Why an image of AWS's should not be deployed any more; None for any that is still patched, or not known."""
    name, tag = _name_and_tag(image)
    name = ARM.sub("", name)  # the policy is by a framework's version, whatever it runs on
    for ended in support().images:
        same_version = re.match(rf"{re.escape(ended.version)}(?![\d])", tag)
        if name == ended.repository and same_version and today > ended.end:
            return (
                f"{name} {ended.version} gets no security patches since {ended.end} (AWS's support policy, read "
                f"{support().date}); take {support().alternative}"
            )
    return None


def _name_and_tag(image: str) -> tuple[str, str]:
    if not _whole(image):
        name, _, tag = image.partition(":")
        return name, tag
    match = ECR.fullmatch(image)
    if match is None or match["repository"] not in registries().repositories:
        return "", ""
    published = registries().account(match["repository"], match["region"])
    return (match["repository"], match["tag"] or "") if match["account"] == published else ("", "")


def _whole(image: str) -> bool:
    registry_part = image.partition("/")[0]
    return "/" in image and ("." in registry_part or ":" in registry_part)


def _read(path: Path, kind: type[Table]) -> Table:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TableError(f"{path}: the table cannot be read ({error}); restore it from git") from None
