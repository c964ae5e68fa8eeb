"""The stack's own key, where it has one: encrypts the bucket, the instances' volumes and the topics."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import policies
from infra.images import partition

DELETION_DAYS = 30


@dataclass(frozen=True)
class EncryptionKeyArgs:
    stack: str
    region: str
    account: pulumi.Input[str]
    protected: bool


class EncryptionKey(pulumi.ComponentResource):
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:EncryptionKey", name, None, opts)
        stem = f"{name}-{args.stack}"
        region_partition = partition(args.region)
        key = aws.kms.Key(
            stem,
            description=f"Artifacts, volumes and topics of the Slipway stack {args.stack}",
            enable_key_rotation=True,
            deletion_window_in_days=DELETION_DAYS,
            policy=pulumi.Output.from_input(args.account).apply(
                lambda account: json.dumps(policies.stack_key(region_partition, account))
            ),
            # What it encrypted is lost with it.
            opts=pulumi.ResourceOptions(parent=self, protect=args.protected),
        )
        aws.kms.Alias(stem, name=f"alias/{stem}", target_key_id=key.key_id, opts=pulumi.ResourceOptions(parent=self))
        self.arn = key.arn
        self.register_outputs({"arn": self.arn})
