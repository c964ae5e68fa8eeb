"""Between Pulumi's policy SDK and the rules: its resources as plain values, which say UNKNOWN instead of raising."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_policy import EnforcementLevel, PolicyResource, StackValidationArgs, StackValidationPolicy
from pulumi_policy.proxy import UnknownValueError

from infra.policy.resources import PRODUCTION, UNKNOWN, Level, Resource, Rule, Stack
from infra.policy.rules import message

Report = Callable[..., None]
LEVELS = {"mandatory": EnforcementLevel.MANDATORY, "advisory": EnforcementLevel.ADVISORY}


def policies(rule: Rule) -> list[StackValidationPolicy]:
    """One policy for each level that a rule has somewhere.

    A policy has its level before it sees a stack, so a rule that is stricter in production is two policies, of which
    only one speaks.
    """
    strict: tuple[Level, ...] = ("mandatory", "advisory")
    levels = strict if rule.mandatory == "production" else (rule.level(PRODUCTION),)
    return [
        StackValidationPolicy(
            name=rule.name if len(levels) == 1 or level == "advisory" else f"{rule.name}-{PRODUCTION}",
            description=rule.description,
            enforcement_level=LEVELS[level],
            validate=validation(rule, level),
        )
        for level in levels
    ]


def validation(rule: Rule, level: Level) -> Callable[[StackValidationArgs, Report], None]:
    """The function that the SDK calls for a rule where it has this level."""

    def validate(args: StackValidationArgs, report: Report) -> None:
        stack = stack_of(args.resources)
        if rule.level(stack.name) == level:
            for violation in rule.check(stack):
                report(message(rule, violation), violation.urn)

    return validate


def stack_of(resources: Sequence[PolicyResource]) -> Stack:
    """The stack's name is in every URN: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
    name = resources[0].urn.split("::")[0].removeprefix("urn:pulumi:") if resources else ""
    return Stack(name, tuple(plain(resource) for resource in resources))


def plain(resource: PolicyResource) -> Resource:
    refers = {key: tuple(one.urn for one in found) for key, found in resource.property_dependencies.items()}
    return Resource(resource.resource_type, resource.urn, resource.name, _mapping(resource.props), refers)


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _value(values, key) for key in values}


def _value(holder: Any, key: Any) -> Any:
    """A property as plain data. The SDK raises at the access of one that a preview cannot know."""
    try:
        value = holder[key]
    except UnknownValueError:
        return UNKNOWN
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_value(value, index) for index in range(len(value))]
    return value
