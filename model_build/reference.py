"""The tables of docs/spec.md: every key of a spec and every option of a pass, made from the JSON schema.

Apart from `schema` because it writes for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from model_build.errors import UserError
from model_build.passes import PASSES
from model_build.schema import Schema, spec_schema, summary


def update(page: str) -> str:
    """The page with what stands between its markers made anew. Raises UserError where a marker is missing."""
    schema = spec_schema()
    for mark, made in (("keys", key_tables(schema)), ("passes", pass_tables(schema))):
        begin, end = f"<!-- {mark}: made by `slipway schema` -->", f"<!-- end of {mark} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise UserError(f"docs/spec.md: the lines {begin} and {end} are missing", next_step="put them back")
        page = f"{before}{begin}\n\n{made}\n{end}{after}"
    return page


def key_tables(schema: Schema) -> str:
    alike: dict[str, tuple[list[str], Schema]] = {}
    for path, node in _objects("", schema, schema):
        alike.setdefault(json.dumps(node), ([], node))[0].append(f"`{path}`")
    tables = [_table("The spec itself", "", schema, schema)]
    tables += [_table(", ".join(paths), _about(node), node, schema) for paths, node in alike.values()]
    return "\n".join(tables)


def pass_tables(schema: Schema) -> str:
    tables = []
    for name, one in PASSES.items():
        formats = f"Takes {' or '.join(sorted(one.ACCEPTS))}, makes {one.PRODUCES}."
        if one.NEEDS_CALIBRATION:
            formats += " Needs `data.calibration`."
        tables.append(_table(f"`{name}`", f"{summary(one)} {formats}", schema["$defs"][name], schema))
    return "\n".join(tables)


def _objects(path: str, node: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every object below a node that has keys of its own, with its path; an overlay's are those of `deploy`."""
    for name, value in node.get("properties", {}).items():
        here = f"{path}{name}"
        inner = _resolved(value, schema)
        if here.startswith("environments."):
            continue
        if "properties" in inner:
            yield here, inner
            yield from _objects(f"{here}.", inner, schema)
        each = _resolved(inner.get("items") or {}, schema)
        if "properties" in each:
            yield f"{here}[]", each
        many = [*inner.get("patternProperties", {}).values(), inner.get("additionalProperties")]
        for each in (_resolved(each, schema) for each in many if isinstance(each, dict)):
            if "properties" in each:
                yield f"{here}.NAME", each
                yield from _objects(f"{here}.NAME.", each, schema)


def _table(title: str, about: str, node: Schema, schema: Schema) -> str:
    lines = [f"#### {title}", ""]
    lines += [about, ""] if about else []
    lines += ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    required = node.get("required", [])
    for name, value in node.get("properties", {}).items():
        meaning = value.get("description") or _about(_resolved(value, schema))
        default = "**required**" if name in required else _default(value)
        cells = (f"`{name}`", _kind(value, schema), default, meaning)
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _about(node: Schema) -> str:
    return " ".join(str(node.get("description", "")).split())


def _resolved(node: Schema, schema: Schema) -> Schema:
    node = node.get("else", node)  # a word in place of keys
    found: Schema = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return found


def _default(value: Schema) -> str:
    if value.get("default") in (None, "", [], {}):
        return "–"
    default = value["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)}`"


def _kind(value: Schema, schema: Schema) -> str:
    """A value's type in words."""
    node = _resolved(value, schema)
    if value.get("$ref", "").endswith("/Step"):
        return "pass"
    if "then" in value:
        return f"{_kind(value['then'], schema)} or {_kind(value['else'], schema)}"
    for union in ("anyOf", "oneOf"):
        if union in node:
            return " or ".join(_kind(branch, schema) for branch in node[union])
    if "enum" in node:
        return ", ".join(f"`{_word(one)}`" for one in node["enum"])
    if "const" in node:
        return f"`{_word(node['const'])}`"
    match node.get("type"):
        case "array" if "prefixItems" in node:
            return f"list of {len(node['prefixItems'])}: {_kind(node['prefixItems'][0], schema)}"
        case "array":
            return f"list of {_kind(node['items'], schema)}"
        case "object" if "properties" in node:
            return "keys below"
        case "object":
            each = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
            inner = next((one for one in each if isinstance(one, dict)), None)
            return f"NAME: {_kind(inner, schema)}" if inner else "any keys"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _range(node)
        case "boolean":
            return "`true`, `false`"
    return "text"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above = node.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f", {low}…{high}"
    parts = [f"≥ {low}"] if low is not None else [f"> {above}"] if above is not None else []
    parts += [f"≤ {high}"] if high is not None else []
    return f", {' and '.join(parts)}" if parts else ""
