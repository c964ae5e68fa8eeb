"""How the rules reach Pulumi's policy SDK: plain values, unknown ones, and levels by stack."""

import pytest
from pulumi_policy import EnforcementLevel, PolicyResource, PolicyResourceOptions, StackValidationArgs
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policy.pack import policies, stack_of
from infra.policy.resources import UNKNOWN
from infra.policy.rules import RULES

OPTIONS = PolicyResourceOptions(False, [], None, [], None, [])


def resource(token, properties, name="x", stack="dev", **refers):
    urn = f"urn:pulumi:{stack}::slipway::{token}::{name}"
    return PolicyResource(
        token,
        unknown_checking_proxy(properties),
        urn,
        name,
        OPTIONS,
        None,
        None,
        [],
        {k: [v] for k, v in refers.items()},
    )


def test_resources_become_plain_values_that_say_what_is_unknown():
    bucket = resource(
        "aws:s3/bucket:Bucket", {"bucket": UNKNOWN_STRING_VALUE, "tags": {"a": ["b", UNKNOWN_STRING_VALUE]}}
    )
    block = resource("aws:s3/bucketPolicy:BucketPolicy", {}, bucket=bucket)
    stack = stack_of([bucket, block])
    assert stack.name == "dev"
    assert stack.resources[0].properties == {"bucket": UNKNOWN, "tags": {"a": ["b", UNKNOWN]}}
    assert stack.resources[1].refers == {"bucket": (bucket.urn,)}


def test_an_empty_stack_has_no_name_and_breaks_nothing():
    for rule in RULES:
        for policy in policies(rule):
            policy.validate(StackValidationArgs([], {}), pytest.fail)


@pytest.mark.parametrize(
    ("stack", "speaking"), [("prod", EnforcementLevel.MANDATORY), ("dev", EnforcementLevel.ADVISORY)]
)
def test_of_a_rule_that_is_stricter_in_production_only_the_policy_of_the_stacks_level_speaks(stack, speaking):
    (rule,) = [one for one in RULES if one.name == "sagemaker-redundant"]
    single = resource(
        "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
        {"productionVariants": [{"variantName": "A", "initialInstanceCount": 1}]},
        stack=stack,
    )
    said = {policy.enforcement_level: [] for policy in policies(rule)}
    for policy in policies(rule):
        policy.validate(
            StackValidationArgs([single], {}),
            lambda text, urn, level=policy.enforcement_level: said[level].append((text, urn)),
        )
    ((text, urn),) = said.pop(speaking)
    assert "one instance" in text
    assert urn == single.urn
    assert list(said.values()) == [[]]


def test_every_policy_has_a_name_of_its_own():
    names = [policy.name for rule in RULES for policy in policies(rule)]
    assert len(set(names)) == len(names)
