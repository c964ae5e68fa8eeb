"""The stack's registry for our own serving image: scanned, immutable, encrypted, and emptied of what is old."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import own_image

KEPT_IMAGES = 10
UNTAGGED_DAYS = 7


@dataclass(frozen=True)
class ImageRepositoryArgs:
    """`disposable` lets a destroy take the images with it; `protected` makes Pulumi refuse the destroy."""

    stack: str
    disposable: bool
    protected: bool


class ImageRepository(pulumi.ComponentResource):
    url: pulumi.Output[str]

    def __init__(self, name: str, args: ImageRepositoryArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:ImageRepository", name, None, opts)
        fixed = own_image.repository_name(args.stack)
        repository = aws.ecr.Repository(
            fixed,
            name=fixed,  # `slipway image push` and the models' roles know it before it exists
            force_delete=args.disposable,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "KMS"}],
            opts=pulumi.ResourceOptions(parent=self, protect=args.protected, delete_before_replace=True),
        )
        aws.ecr.LifecyclePolicy(
            fixed,
            repository=repository.name,
            policy=json.dumps(lifecycle()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.url = repository.repository_url
        self.register_outputs({"url": self.url})


def lifecycle() -> dict[str, Any]:
    """What ECR removes by itself. An image that a model runs on is among the newest: each is another server version."""
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "What a push left without a tag",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            },
            {
                "rulePriority": 2,
                "description": f"All but the newest {KEPT_IMAGES}",
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES},
                "action": {"type": "expire"},
            },
        ]
    }
