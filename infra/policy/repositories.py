"""Rules of image repositories: what runs is what was pushed, and it was looked at."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.resources import Rule, Stack, Unknown, Violation, listed, setting

REPOSITORY = "aws:ecr/repository:Repository"


def immutable(stack: Stack) -> Iterator[Violation]:
    for repository in stack.of(REPOSITORY):
        if not str(repository.properties.get("imageTagMutability")).startswith("IMMUTABLE"):
            yield Violation(repository.urn, "lets a tag be moved to another image; set IMMUTABLE")


def scanned(stack: Stack) -> Iterator[Violation]:
    for repository in stack.of(REPOSITORY):
        value = setting(repository.properties, "imageScanningConfiguration", "scanOnPush")
        if value is not True and not isinstance(value, Unknown):
            yield Violation(repository.urn, "does not scan what is pushed")


def encrypted(stack: Stack) -> Iterator[Violation]:
    for repository in stack.of(REPOSITORY):
        kinds = [
            setting(one, "encryptionType") for one in listed(repository.properties.get("encryptionConfigurations"))
        ]
        if not any(kind in ("KMS", "KMS_DSSE") or isinstance(kind, Unknown) for kind in kinds):
            yield Violation(repository.urn, "is not encrypted with KMS")


RULES = (
    Rule(
        "ecr-immutable", "A tag of a repository stays the image that it is.", ("CKV_AWS_51",), immutable, "everywhere"
    ),
    Rule("ecr-scanned", "Images are scanned when they are pushed.", ("CKV_AWS_163",), scanned, "everywhere"),
    Rule("ecr-encrypted", "A repository is encrypted with KMS.", ("CKV_AWS_136",), encrypted, "everywhere"),
)
