"""Rules of S3 buckets: who may read them, and what happens to what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.policy.resources import Resource, Rule, Stack, Unknown, Violation, listed, setting, statements

BUCKET = "aws:s3/bucket:Bucket"
FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
# What FSBP S3.6 lets no other account do.
SENSITIVE = ("s3:deletebucketpolicy", "s3:putbucketacl", "s3:putbucketpolicy", "s3:putencryptionconfiguration",
             "s3:putobjectacl")  # fmt: skip


def _part(stack: Stack, bucket: Resource, kind: str) -> list[Resource]:
    """The resources of a kind that configure a bucket; `kind` as in `aws:s3/bucketPolicy:BucketPolicy`."""
    token = f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}"
    return list(stack.belonging(bucket, token, "bucket", "bucket"))


def closed(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        blocks = _part(stack, bucket, "BucketPublicAccessBlock")
        if not blocks:
            yield Violation(bucket.urn, "has no BucketPublicAccessBlock, so a policy or ACL could open it to everyone")
        for block in blocks:
            off = [flag for flag in FLAGS if _is_off(block.properties.get(flag))]
            if off:
                yield Violation(block.urn, f"leaves {', '.join(off)} off; set all four")


def without_acls(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        owned = [setting(part.properties, "rule", "objectOwnership") for part in _owned(stack, bucket)]
        if not any(value == "BucketOwnerEnforced" or isinstance(value, Unknown) for value in owned):
            yield Violation(bucket.urn, "lets ACLs decide: give it BucketOwnershipControls with BucketOwnerEnforced")
        if str(bucket.properties.get("acl") or "private").startswith("public-"):
            yield Violation(bucket.urn, f"has the ACL {bucket.properties['acl']}; leave it out")


def _owned(stack: Stack, bucket: Resource) -> list[Resource]:
    return _part(stack, bucket, "BucketOwnershipControls")


def encrypted_in_transit(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        policies = _part(stack, bucket, "BucketPolicy")
        documents = [policy.properties.get("policy") for policy in policies]
        if any(isinstance(document, Unknown) for document in documents):
            continue
        if not any(_refuses_plaintext(one) for document in documents for one in statements(document)):
            yield Violation(bucket.urn, "takes requests without TLS: its policy must deny aws:SecureTransport false")


def _refuses_plaintext(statement: Any) -> bool:
    insecure = setting(statement, "Condition", "Bool", "aws:SecureTransport")
    everyone = statement.get("Principal") in ("*", {"AWS": "*"})
    everything = any(action in ("s3:*", "*") for action in listed(statement.get("Action")))
    inside = any(str(resource).endswith("/*") or resource == "*" for resource in listed(statement.get("Resource")))
    return statement.get("Effect") == "Deny" and str(insecure).lower() == "false" and everyone and everything and inside


def kept_from_other_accounts(stack: Stack) -> Iterator[Violation]:
    for policy in stack.of("aws:s3/bucketPolicy:BucketPolicy"):
        for statement in statements(policy.properties.get("policy")):
            if statement.get("Effect") != "Allow":
                continue
            if _everyone(statement.get("Principal")) and not statement.get("Condition"):
                yield Violation(policy.urn, "allows everyone; name the principals")
            actions = {str(action).lower() for action in listed(statement.get("Action"))}
            if setting(statement, "Principal", "AWS") and actions & {*SENSITIVE, "s3:*", "*"}:
                found = ", ".join(sorted(actions & {*SENSITIVE, "s3:*", "*"}))
                yield Violation(policy.urn, f"lets other principals change the bucket itself ({found})")


def _everyone(principal: Any) -> bool:
    return principal == "*" or "*" in listed(setting(principal, "AWS"))


def logged(stack: Stack) -> Iterator[Violation]:
    parts = list(stack.of("aws:s3/bucketLogging:BucketLogging"))
    targets = {urn for part in parts for urn in part.refers.get("targetBucket", ())}
    names = {part.properties.get("targetBucket") for part in parts}
    for bucket in stack.of(BUCKET):
        is_target = bucket.urn in targets or bucket.properties.get("bucket") in names - {None}
        if not is_target and not _part(stack, bucket, "BucketLogging"):
            yield Violation(bucket.urn, "has no access log; give it a BucketLogging to another bucket")


def cleaned_up(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        rules = [
            rule
            for part in _part(stack, bucket, "BucketLifecycleConfiguration")
            for rule in listed(part.properties.get("rules"))
            if setting(rule, "status") == "Enabled"
        ]
        if not rules:
            yield Violation(bucket.urn, "keeps everything for ever: it has no lifecycle rule that is enabled")
        elif not any(setting(rule, "abortIncompleteMultipartUpload", "daysAfterInitiation") for rule in rules):
            yield Violation(bucket.urn, "keeps abandoned uploads, which cost: abort them after some days")


def versioned(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        states = [
            setting(part.properties, "versioningConfiguration", "status")
            for part in _part(stack, bucket, "BucketVersioning")
        ]
        if not any(state == "Enabled" or isinstance(state, Unknown) for state in states):
            yield Violation(bucket.urn, "keeps no versions, so that what is overwritten or deleted is lost")


def locked(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        if not bucket.properties.get("objectLockEnabled") and not _part(stack, bucket, "BucketObjectLockConfiguration"):
            yield Violation(bucket.urn, "has no object lock: whoever may delete versions can remove artifacts for good")


def encrypted(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        if not _algorithms(stack, bucket):
            yield Violation(bucket.urn, "has no BucketServerSideEncryptionConfiguration")


def encrypted_with_own_key(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        algorithms = _algorithms(stack, bucket)
        if algorithms and not any(one in ("aws:kms", "aws:kms:dsse") or isinstance(one, Unknown) for one in algorithms):
            yield Violation(bucket.urn, "is encrypted with AWS's key, not with one of the account (aws:kms)")


def _algorithms(stack: Stack, bucket: Resource) -> list[Any]:
    return [
        setting(rule, "applyServerSideEncryptionByDefault", "sseAlgorithm")
        for part in _part(stack, bucket, "BucketServerSideEncryptionConfiguration")
        for rule in listed(part.properties.get("rules"))
    ]


def _is_off(value: Any) -> bool:
    return not isinstance(value, Unknown) and value is not True


RULES = (
    Rule(
        "s3-public-access-blocked",
        "A bucket is closed to the public, whatever its policy or an ACL says.",
        ("S3.1", "S3.2", "S3.3", "S3.8", "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56"),
        closed,
        "everywhere",
    ),
    Rule(
        "s3-no-acls",
        "Policies alone decide about a bucket, not ACLs.",
        ("S3.12", "CKV_AWS_20", "CKV_AWS_57"),
        without_acls,
        "everywhere",
    ),
    Rule("s3-tls-only", "A bucket refuses requests without TLS.", ("S3.5",), encrypted_in_transit, "everywhere"),
    Rule(
        "s3-no-foreign-rights",
        "A bucket's policy lets nobody else change the bucket, and not everyone do anything.",
        ("S3.6",),
        kept_from_other_accounts,
        "everywhere",
    ),
    Rule("s3-encrypted", "A bucket encrypts what it stores.", ("CKV_AWS_19",), encrypted, "everywhere"),
    Rule(
        "s3-own-key",
        "A bucket encrypts with a KMS key of the account.",
        ("S3.17", "CKV_AWS_145"),
        encrypted_with_own_key,
        "nowhere",
    ),
    Rule("s3-versioned", "A bucket keeps versions.", ("S3.14", "CKV_AWS_21"), versioned, "everywhere"),
    Rule(
        "s3-cleaned-up",
        "A bucket has lifecycle rules, and removes abandoned uploads.",
        ("S3.13", "CKV_AWS_300"),
        cleaned_up,
        "everywhere",
    ),
    Rule("s3-access-log", "Requests to a bucket are logged.", ("S3.9", "CKV_AWS_18"), logged, "nowhere"),
    Rule("s3-object-lock", "Objects of a bucket cannot be deleted for a time.", ("S3.15",), locked, "nowhere"),
)
