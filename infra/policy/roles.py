"""Rules of IAM: what a role may do is named, and nobody can use it, or its own rights, to get more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from infra.policy.resources import Resource, Rule, Stack, Values, Violation, listed, setting, statements

ROLE = "aws:iam/role:Role"
POLICIES = ("aws:iam/rolePolicy:RolePolicy", "aws:iam/policy:Policy")
# AWS knows no narrower resource for these. Those of networks are what an endpoint in a VPC needs.
WITHOUT_RESOURCE = {
    "application-autoscaling:describescalabletargets", "application-autoscaling:describescalingpolicies",
    "application-autoscaling:describescheduledactions", "sagemaker:listendpoints", "servicequotas:listservicequotas",
    "ecr:getauthorizationtoken", "cloudwatch:putmetricdata", "ec2:createnetworkinterface",
    "ec2:createnetworkinterfacepermission", "ec2:deletenetworkinterface", "ec2:deletenetworkinterfacepermission",
    "ec2:describedhcpoptions", "ec2:describenetworkinterfaces", "ec2:describesecuritygroups", "ec2:describesubnets",
    "ec2:describevpcs",
}  # fmt: skip
# Each gives its holder rights that the policy did not name.
ESCALATION = (
    "ec2:runinstances", "glue:updatedevendpoint", "iam:addusertogroup", "iam:attach*", "iam:createaccesskey",
    "iam:createloginprofile", "iam:createpolicyversion", "iam:passrole", "iam:put*policy",
    "iam:setdefaultpolicyversion", "iam:updateassumerolepolicy", "iam:updateloginprofile",
    "lambda:updatefunctioncode", "sts:assumerole",
)  # fmt: skip
# What takes the danger out of an action, where a statement on named resources has it as a condition.
BOUNDED_BY = {
    "iam:passrole": "iam:passedtoservice",  # to the services that it names alone
    "iam:putrolepolicy": "iam:permissionsboundary",  # into roles that get no further than the boundary
    "kms:creategrant": "kms:grantisforawsresource",  # for AWS's services, as disks with a key need it
}
# Each opens a resource to others.
EXPOSURE = (
    "ecr:setrepositorypolicy", "kms:creategrant", "kms:putkeypolicy", "lambda:addpermission", "s3:deletebucketpolicy",
    "s3:putbucketacl", "s3:putbucketpolicy", "s3:putbucketpublicaccessblock", "s3:putobjectacl",
    "secretsmanager:putresourcepolicy", "sns:addpermission", "sqs:addpermission",
)  # fmt: skip


def _granted(stack: Stack) -> Iterator[tuple[Resource, Values, set[str]]]:
    """Every statement that allows something, with its actions in lower case."""
    for resource in stack.resources:
        for document in _documents(resource):
            for statement in statements(document):
                if statement.get("Effect") == "Allow":
                    yield resource, statement, {str(action).lower() for action in listed(statement.get("Action"))}


def _documents(resource: Resource) -> Iterator[Any]:
    if resource.type in POLICIES:
        yield resource.properties.get("policy")
    elif resource.type == ROLE:
        for inline in listed(resource.properties.get("inlinePolicies")):
            yield setting(inline, "policy")


def narrow_actions(stack: Stack) -> Iterator[Violation]:
    for policy, statement, actions in _granted(stack):
        if "*" in actions or statement.get("NotAction"):
            yield Violation(policy.urn, "allows every action; name those that are needed")
        for action in sorted(action for action in actions if action.endswith(":*")):
            yield Violation(policy.urn, f"allows all of {action.removesuffix(':*')}; name the actions that are needed")


def narrow_resources(stack: Stack) -> Iterator[Violation]:
    for policy, statement, actions in _granted(stack):
        wide = statement.get("NotResource") or "*" in listed(statement.get("Resource"))
        named = sorted(actions - WITHOUT_RESOURCE)
        if wide and named:
            yield Violation(policy.urn, f"allows {', '.join(named)} on every resource; name the resources")
        if "cloudwatch:putmetricdata" in actions and "cloudwatch:namespace" not in _conditions(statement):
            yield Violation(policy.urn, "may publish metrics in every namespace; name it in a condition")


def _conditions(statement: Values) -> set[str]:
    """The keys that a statement's conditions look at, in lower case."""
    operators = statement.get("Condition")
    if not isinstance(operators, Mapping):
        return set()
    return {str(key).lower() for keys in operators.values() for key in keys}


def no_full_access(stack: Stack) -> Iterator[Violation]:
    attached = [
        (one, one.properties.get("policyArn")) for one in stack.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    ]
    attached += [(role, arn) for role in stack.of(ROLE) for arn in listed(role.properties.get("managedPolicyArns"))]
    for resource, arn in attached:
        if isinstance(arn, str) and arn.endswith(("FullAccess", "AdministratorAccess", "PowerUserAccess")):
            yield Violation(resource.urn, f"attaches {arn.rpartition('/')[2]}, far more than a model needs")


def no_escalation(stack: Stack) -> Iterator[Violation]:
    yield from _forbidden(stack, ESCALATION, "lets its holder get further rights")


def no_exposure(stack: Stack) -> Iterator[Violation]:
    yield from _forbidden(stack, EXPOSURE, "lets its holder open resources to others")


def _forbidden(stack: Stack, patterns: tuple[str, ...], what: str) -> Iterator[Violation]:
    for policy, statement, actions in _granted(stack):
        found = sorted(
            action
            for action in actions
            if any(fnmatchcase(action, pattern) or fnmatchcase(pattern, action) for pattern in patterns)
            and not (BOUNDED_BY.get(action) in _conditions(statement) and "*" not in listed(statement.get("Resource")))
        )
        if found:
            yield Violation(policy.urn, f"{what}: {', '.join(found)}")


def trusted_narrowly(stack: Stack) -> Iterator[Violation]:
    for role in stack.of(ROLE):
        for statement in statements(role.properties.get("assumeRolePolicy")):
            if statement.get("Effect") != "Allow":
                continue
            principal = statement.get("Principal")
            if principal == "*" or "*" in listed(setting(principal, "AWS")):
                yield Violation(role.urn, "can be taken by everyone; name who may")
            if setting(principal, "Service") and not _conditions(statement) & {"aws:sourceaccount", "aws:sourcearn"}:
                yield Violation(
                    role.urn,
                    "can be taken by a service for any account: condition on aws:SourceAccount or aws:SourceArn",
                )


RULES = (
    Rule(
        "iam-actions-named",
        "A policy names its actions.",
        ("CKV_AWS_62", "CKV_AWS_63"),
        narrow_actions,
        "everywhere",
    ),
    Rule(
        "iam-resources-named",
        "A policy names its resources, where AWS knows any.",
        ("CKV_AWS_288", "CKV_AWS_290", "CKV_AWS_355"),
        narrow_resources,
        "everywhere",
    ),
    Rule(
        "iam-no-escalation", "No policy gives the means to more rights.", ("CKV_AWS_286",), no_escalation, "everywhere"
    ),
    Rule(
        "iam-no-exposure", "No policy gives the means to open resources.", ("CKV_AWS_289",), no_exposure, "everywhere"
    ),
    Rule(
        "iam-no-full-access",
        "No role has one of AWS's full-access policies.",
        ("CKV_AWS_274",),
        no_full_access,
        "everywhere",
    ),
    Rule(
        "iam-trust-named", "A role can be taken by whom it names, for this account.", (), trusted_narrowly, "everywhere"
    ),
)
