"""`Diff`: which paths differ, and which of them force a replacement.

Values are compared in a canonical form (`canonical`), so that a rewritten policy, a reordered set, or an empty
value beside an absent one is no change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.provider.checking import DEFAULTS
from localcloud.provider.declarations import Property, Resource
from localcloud.provider.policies import canonical_document
from localcloud.provider.values import UNKNOWN, Values, asset_hash

Kind = Literal["add", "delete", "update"]


@dataclass(frozen=True)
class Change:
    path: str
    kind: Kind
    replaces: bool = False
    of_input: bool = True


@dataclass(frozen=True)
class Difference:
    changes: tuple[Change, ...]
    delete_before_replace: bool = False


def diff(
    resource: Resource, old_inputs: Values, old_state: Values, new_inputs: Values, default_tags: Mapping[str, str]
) -> Difference:
    # A computed input that the program begins to name is compared with what AWS chose.
    chosen = {key: old_state[key] for key, one in resource.inputs.items() if one.computed and key in old_state}
    found = {key: old_state[key] for key, one in resource.inputs.items() if one.as_found and key in old_state}
    changes = list(_field_changes(resource.inputs, {**chosen, **old_inputs, **found}, new_inputs, "", False))
    if resource.tagged and not any(change.path.startswith("tags") for change in changes):
        wanted = all_tags(default_tags, new_inputs)
        if wanted != UNKNOWN and wanted != (old_state.get("tagsAll") or {}):
            changes.append(Change("tagsAll", "update", of_input=False))
    replaced = any(change.replaces for change in changes)
    first = resource.delete_first or _name_is_taken(resource, old_inputs, new_inputs)
    return Difference(tuple(changes), replaced and first)


def all_tags(default_tags: Mapping[str, str], inputs: Values) -> Any:
    tags = inputs.get("tags") or {}
    return UNKNOWN if tags == UNKNOWN else {**default_tags, **tags}


def _name_is_taken(resource: Resource, old_inputs: Values, new_inputs: Values) -> bool:
    """A name that the program fixed cannot be given to a second resource while the first still has it."""
    if resource.autoname is None or not resource.autoname.random:
        return False
    key = resource.autoname.property
    fixed = key in new_inputs and key not in new_inputs.get(DEFAULTS, [])
    return fixed and new_inputs[key] in (old_inputs.get(key), UNKNOWN)


def canonical(declared: Property, value: Any) -> Any:
    """A form in which equal means the same to AWS; None for what AWS does not tell from absent."""
    if value is None or value == UNKNOWN:
        return value
    if declared.normal is not None:
        return declared.normal(value)
    if declared.kind == "json" and isinstance(value, str):
        try:
            return canonical_document(value)
        except ValueError:
            return value
    if declared.kind == "asset" and isinstance(value, dict):
        return asset_hash(value)
    if declared.kind == "object" and isinstance(value, dict):
        return _canonical_fields(declared.fields, value)
    if declared.kind == "list" and isinstance(value, list):
        items = [_canonical_fields(declared.fields, item) if declared.fields else item for item in value]
        return (sorted(items, key=_text) if declared.unordered else items) or None
    if declared.kind == "boolean":
        return value or None
    return None if value in ("", {}) else value


def _canonical_fields(fields: Mapping[str, Property], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    pairs = {key: canonical(fields[key], item) for key, item in value.items() if key in fields}
    return {key: item for key, item in pairs.items() if item is not None} or None


def _holds_what_replaces(declared: Property, value: Any) -> bool:
    """Whether an object that comes or goes as a whole has a field that forces a replacement, as upstream counts it."""
    items = value if isinstance(value, list) else [value]
    return any(
        field.force_new or _holds_what_replaces(field, item[key])
        for item in items
        if isinstance(item, dict)
        for key, field in declared.fields.items()
        if canonical(field, item.get(key)) is not None
    )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _field_changes(
    fields: Mapping[str, Property], old: Values, new: Values, prefix: str, replaces: bool
) -> Iterator[Change]:
    for key, declared in fields.items():
        yield from _changes(declared, old.get(key), new.get(key), prefix + key, replaces or declared.force_new)


def _changes(declared: Property, old: Any, new: Any, path: str, replaces: bool) -> Iterator[Change]:
    before, after = canonical(declared, old), canonical(declared, new)
    if before == after or (after is None and declared.computed):
        return
    if before is None or after is None or after == UNKNOWN:
        kind: Kind = "add" if before is None else "delete" if after is None else "update"
        yield Change(path, kind, replaces or _holds_what_replaces(declared, new if before is None else old))
    elif declared.kind == "object":
        yield from _field_changes(declared.fields, old, new, path + ".", replaces)
    elif declared.kind == "list" and declared.fields and not declared.unordered and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            if right == UNKNOWN:
                yield Change(f"{path}[{index}]", "update", replaces)
            else:
                yield from _field_changes(declared.fields, left, right, f"{path}[{index}].", replaces)
    elif declared.kind == "map":
        text = Property()
        for key in sorted({*old, *new}):
            where = f"{path}.{key}" if re.fullmatch(r"\w+", key) else f"{path}[{json.dumps(key)}]"
            yield from _changes(text, old.get(key), new.get(key), where, replaces)
    else:
        yield Change(path, "update", replaces)
