"""What rules look at: a stack's resources as plain values, and what belongs to which of them.

Rules import this and the standard library alone, so that they are tested without Pulumi.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Values = Mapping[str, Any]


class Unknown:
    """A value that a preview cannot know. Equal to nothing, and empty as a mapping or list."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """`type` is Pulumi's token; `refers` says which resources (URNs) a property's value comes from."""

    type: str
    urn: str
    name: str
    properties: Values
    refers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    name: str
    resources: tuple[Resource, ...]

    def of(self, type_: str) -> Iterator[Resource]:
        return (resource for resource in self.resources if resource.type == type_)

    def belonging(self, owner: Resource, type_: str, by: str, key: str) -> Iterator[Resource]:
        """Resources whose property `by` names the owner: by reference, or by its property `key`."""
        for resource in self.of(type_):
            value = resource.properties.get(by)
            named = isinstance(value, str) and value == owner.properties.get(key)
            if owner.urn in resource.refers.get(by, ()) or named:
                yield resource


@dataclass(frozen=True)
class Violation:
    urn: str
    message: str


Level = Literal["mandatory", "advisory"]
Check = Callable[[Stack], Iterable[Violation]]


@dataclass(frozen=True)
class Rule:
    """`controls` are the ids in AWS's Foundational Security Best Practices and in checkov that it stands for.

    `mandatory` names the stacks where a violation stops the deployment; `everywhere` all of them.
    """

    name: str
    description: str
    controls: tuple[str, ...]
    check: Check
    mandatory: Literal["everywhere", "production", "nowhere"]

    def level(self, stack: str) -> Level:
        if self.mandatory == "everywhere" or (self.mandatory == "production" and stack == PRODUCTION):
            return "mandatory"
        return "advisory"


PRODUCTION = "prod"


def statements(document: Any) -> list[Values]:
    """The statements of a policy document, which is text or an object; none where it is not known yet."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except json.JSONDecodeError:
            return []
    if not isinstance(document, Mapping):
        return []
    return [statement for statement in listed(document.get("Statement")) if isinstance(statement, Mapping)]


def listed(value: Any) -> list[Any]:
    """AWS's documents write one thing without a list."""
    if value is None or isinstance(value, Unknown):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def setting(values: Any, *path: str | int) -> Any:
    """A value below others; UNKNOWN where a part of the way is not known yet, None where it is not set."""
    for part in path:
        if isinstance(values, Unknown):
            return UNKNOWN
        if isinstance(values, Mapping):
            values = values.get(str(part))
        elif isinstance(values, list | tuple) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values
