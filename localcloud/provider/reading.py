"""From live values to state: inputs in the shape of `Check`'s, so that a refresh shows drift and nothing else.

AWS answers with more than was asked for (defaults, computed values, rewritten documents). What means the same as
the known input keeps the known input's form; what was not given and is nothing but AWS's own choice stays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.provider.checking import DEFAULTS
from localcloud.provider.declarations import Property, Resource
from localcloud.provider.diffing import canonical
from localcloud.provider.values import Values


def inputs_from(resource: Resource, known: Values, live: Values, default_tags: Mapping[str, str]) -> Values:
    """`known` are the last inputs, empty on import; `live` is what the resource's `read` returned."""
    importing = not known
    live = {**live, "tags": own_tags(live.get("tags") or {}, known.get("tags") or {}, default_tags)}
    result: Values = {}
    for key, declared in resource.inputs.items():
        if declared.write_only:
            value = declared.default if importing else known.get(key)
        else:
            value = _reconcile(declared, known.get(key), live.get(key), importing)
        if value is not None:
            result[key] = value
    if DEFAULTS in known:
        result[DEFAULTS] = known[DEFAULTS]
    return result


def own_tags(live: Mapping[str, str], known: Mapping[str, str], default_tags: Mapping[str, str]) -> dict[str, str]:
    """Without the tags that the provider's configuration adds, unless the resource names them itself."""
    return {
        key: value
        for key, value in live.items()
        if not key.startswith("aws:") and (key in known or default_tags.get(key) != value)
    }


def state_from(resource: Resource, inputs: Values, live: Values, region: str) -> Values:
    """The outputs that the engine records: every input, computed ones filled in, and the outputs proper."""
    state: Values = {}
    for key, declared in resource.inputs.items():
        value = inputs.get(key) if key in inputs and not declared.as_found else live.get(key)
        if value is not None and key != "tags":
            state[key] = value
    state.update({key: live[key] for key in resource.outputs if live.get(key) is not None})
    if "region" in resource.inputs:
        state["region"] = region
    if resource.tagged:
        state["tags"] = inputs.get("tags")
        state["tagsAll"] = {key: value for key, value in (live.get("tags") or {}).items() if not key.startswith("aws:")}
    return {key: value for key, value in state.items() if value is not None}


def _reconcile(declared: Property, known: Any, live: Any, importing: bool) -> Any:
    if known is None:
        return _uninvited(declared, live, importing)
    if canonical(declared, known) == canonical(declared, live):
        return known
    if declared.kind == "object" and isinstance(known, dict) and isinstance(live, dict):
        return _reconcile_fields(declared, known, live, importing)
    if declared.kind == "list" and declared.fields and isinstance(live, list) and isinstance(known, list):
        if declared.unordered:
            return _reconcile_set(declared, known, live, importing) or None
        padded = known if len(known) == len(live) else [{}] * len(live)
        return [
            _reconcile_fields(declared, old, item, importing) for old, item in zip(padded, live, strict=True)
        ] or None
    return None if live in ("", [], {}) else live


def _reconcile_set(declared: Property, known: list[Values], live: list[Values], importing: bool) -> list[Values]:
    """In the order of the known ones, those that mean the same as they were given; then what else there is."""
    left, result = list(live), []
    for old in known:
        for item in left:
            seen = _reconcile_fields(declared, old, item, importing)
            if canonical(declared, [seen]) == canonical(declared, [old]):
                result.append(old)
                left.remove(item)
                break
    return result + [_reconcile_fields(declared, {}, item, importing) for item in left]


def _reconcile_fields(declared: Property, known: Values, live: Values, importing: bool) -> Values:
    pairs = {key: _reconcile(inner, known.get(key), live.get(key), importing) for key, inner in declared.fields.items()}
    return {key: value for key, value in pairs.items() if value is not None}


def _uninvited(declared: Property, live: Any, importing: bool) -> Any:
    """A live value that the inputs did not name: drift, or only AWS's default."""
    if live in (None, "", [], {}):
        return None
    if importing:
        # The program may name any of it; what it leaves out stays as it is.
        if declared.kind == "object":
            return _reconcile_fields(declared, {}, live, importing)
        if declared.kind == "list" and declared.fields:
            return [_reconcile_fields(declared, {}, item, importing) for item in live]
        return live
    if declared.computed or live is False or live == declared.default:
        return None
    if declared.kind == "object":
        return _reconcile_fields(declared, {}, live, importing) or None
    if declared.kind == "list" and declared.fields:
        return [_reconcile_fields(declared, {}, item, importing) for item in live]
    return live
