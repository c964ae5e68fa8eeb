"""Every rule of the pack, and how violations are told."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy import buckets, endpoints, repositories, roles
from infra.policy.resources import Rule, Stack, Violation

RULES: tuple[Rule, ...] = (*buckets.RULES, *roles.RULES, *endpoints.RULES, *repositories.RULES)


def message(rule: Rule, violation: Violation) -> str:
    """One sentence with the resource's name, and the controls that it breaks."""
    name = violation.urn.rpartition("::")[2]
    controls = f" ({', '.join(rule.controls)})" if rule.controls else ""
    return f"{name} {violation.message}{controls}"


def violations(stack: Stack) -> Iterator[tuple[Rule, Violation]]:
    for rule in RULES:
        for violation in rule.check(stack):
            yield rule, violation
