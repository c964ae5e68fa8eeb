"""How a resource type is declared: its properties, and the functions that make it real.

Everything the provider does in the same way for all types (checking, diffing, previewing, shaping what was read,
the table in docs/provider-fidelity.md) follows from these declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from localcloud.provider.values import Values

if TYPE_CHECKING:
    from localcloud.provider.cloud import Cloud

Kind = Literal["string", "boolean", "integer", "number", "map", "list", "object", "json", "asset"]


@dataclass(frozen=True, kw_only=True)
class Property:
    """One input.

    `computed` inputs may be left out, and are then whatever AWS chose. `write_only` ones cannot be read back.
    `aws` is the name in the API where it is not the input's with a capital letter; `encode` and `decode` turn a value
    into the API's and back where they differ; `single` is a list that the API has as one object.
    `normal` gives a form in which values that mean the same are equal. What is there `as_found` is recorded, and the
    next diff looks at it, even where an update was said to have gone well.
    `fields` are an object's, or those of each object of a list; `rejected` the upstream fields not served here.
    """

    kind: Kind = "string"
    required: bool = False
    force_new: bool = False
    computed: bool = False
    write_only: bool = False
    unordered: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    aws: str = ""
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    normal: Callable[[Any], Any] | None = None
    single: bool = False
    as_found: bool = False
    fields: Mapping[str, Property] = field(default_factory=dict)
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Autoname:
    """The property that gets `LOGICAL_NAME-7HEX`, with `before` in front, when it is left out, as upstream does it."""

    property: str = "name"
    before: str = ""
    prefix_property: str = ""
    longest: int = 255
    lower_case: bool = False
    random: bool = True


Create = Callable[["Cloud", Values], str]
Read = Callable[["Cloud", str, Values], Values | None]
Update = Callable[["Cloud", str, Values, Values], None]
Delete = Callable[["Cloud", str, Values], None]
Validate = Callable[[Values], list[tuple[str, str]]]


Identify = Callable[[str, Values], str]
Trouble = Callable[["Cloud", str], str]


def nothing_more(_inputs: Values) -> list[tuple[str, str]]:
    return []


def same_id(identifier: str, _live: Values) -> str:
    return identifier


def no_trouble(_cloud: Cloud, _identifier: str) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource type.

    `service` is boto3's name of the service that it lives in.
    `create(cloud, inputs)` returns the id. `read(cloud, id, known)` returns live values by property name, inputs and
    outputs alike, or None when the resource is gone; `known` is the last state, empty on import. `update(cloud, id,
    old, new)` gets the old state and the new inputs. `delete(cloud, id, old)` succeeds when there is nothing left.
    `validate(inputs)` returns (property, reason) pairs for what single properties cannot tell.
    `trouble(cloud, id)` says why an existing resource does not work, which a refresh records; empty when it does.
    `identify(id, live)` turns the id that an import gave into the one that is recorded.
    `volatile` outputs may change in an update; the others keep their value.
    `delete_first` is for what cannot be there twice: its replacement has the id of what it replaces.
    """

    label: str
    service: str
    inputs: Mapping[str, Property]
    rejected: tuple[str, ...] = ()
    outputs: tuple[str, ...]
    volatile: tuple[str, ...] = ()
    autoname: Autoname | None = None
    delete_first: bool = False
    import_id: str
    create: Create
    read: Read
    update: Update
    delete: Delete
    validate: Validate = nothing_more
    trouble: Trouble = no_trouble
    identify: Identify = same_id

    @property
    def tagged(self) -> bool:
        return "tags" in self.inputs


TAGS = Property(kind="map")
REGION = Property(computed=True, force_new=True)


def text(**options: Any) -> Property:
    return Property(kind="string", **options)


def flag(**options: Any) -> Property:
    return Property(kind="boolean", **options)


def integer(**options: Any) -> Property:
    return Property(kind="integer", **options)


def number(**options: Any) -> Property:
    return Property(kind="number", **options)


def document(**options: Any) -> Property:
    """A JSON policy document: text or an object; compared by meaning."""
    return Property(kind="json", **options)


def obj(fields: Mapping[str, Property], **options: Any) -> Property:
    return Property(kind="object", fields=fields, **options)


def objects(fields: Mapping[str, Property], **options: Any) -> Property:
    return Property(kind="list", fields=fields, **options)
