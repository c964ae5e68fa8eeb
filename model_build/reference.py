"""The generated part of docs/: a page for each key of a spec, and the passes with their options.

Apart from `schema` because it writes for people. What people wrote around a page's markers stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

from model_build.errors import UserError
from model_build.moves import MOVES
from model_build.passes import PASSES
from model_build.passes.base import Pass, TrainingConfig
from model_build.schema import Schema, spec_schema, summary
from serving.tasks import TASKS

BEGIN, END = "<!-- made by `slipway schema` -->", "<!-- end of what is made -->"
_LAYERS = {"linear": "linear layers", "conv": "convolutions", "embedding": "embeddings", "attention": "attention"}


def pages(docs: Path) -> dict[Path, str]:
    """Every page of the folder that has a generated part, made anew. Raises UserError where a marker is missing."""
    schema = spec_schema()
    made = {
        docs / "spec.md": ("The spec", _index(schema)),
        docs / "passes.md": ("The passes", _passes(schema)),
    }
    made |= {_page_of(docs, name): (f"`{name}`", _key(name, schema)) for name in schema["properties"]}
    return {path: _filled(path, title, text) for path, (title, text) in made.items()}


def orphans(docs: Path) -> list[Path]:
    """Pages of keys that a spec has no longer."""
    known = {_page_of(docs, name) for name in spec_schema()["properties"]}
    return sorted(set((docs / "spec").glob("*.md")) - known)


def _page_of(docs: Path, key: str) -> Path:
    return docs / "spec" / f"{key}.md"


def _filled(path: Path, title: str, made: str) -> str:
    page = path.read_text("utf-8") if path.is_file() else f"# {title}\n\n{BEGIN}\n{END}\n"
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise UserError(f"{path}: the lines {BEGIN} and {END} are missing", next_step="put them back")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def _index(schema: Schema) -> str:
    return _table(schema, schema, link="spec/{}.md")


def _key(name: str, schema: Schema) -> str:
    """All that is below one key of the spec: itself, and each object in it that has keys of its own."""
    value = schema["properties"][name]
    required = "Required" if name in schema["required"] else "Optional"
    meaning = _about(_resolved(value, schema)) or value["description"]
    sections = [f"{meaning}\n\n**{required}**: {_kind(value, schema)}.\n"]
    alike: dict[str, tuple[list[str], Schema]] = {}
    for path, node in _objects("", {"properties": {name: value}}, schema):
        alike.setdefault(json.dumps(node), ([], node))[0].append(f"`{path}`")
    for paths, node in alike.values():
        head = () if paths == [f"`{name}`"] else (f"## {', '.join(paths)}", _about(node))
        sections.append("\n\n".join(filter(None, (*head, _table(node, schema)))))
    if name == "task":
        sections += [f"## `{task}`\n\n{cleandoc(one.__doc__ or '')}\n" for task, one in TASKS.items()]
    return "\n".join(sections)


def _passes(schema: Schema) -> str:
    lines = ["| Pass | What it does | Takes → makes |", "|---|---|---|"]
    for name, one in PASSES.items():
        lines.append(f"| [`{name}`](#{name}) | {summary(one)} | {' or '.join(sorted(one.ACCEPTS))} → {one.PRODUCES} |")
    sections = ["\n".join(lines) + "\n"]
    for name, one in PASSES.items():
        said = [_linked(cleandoc(one.__doc__ or ""), name), _needs(one), _searched(name)]
        text = "\n\n".join(filter(None, said))
        sections.append(f"## `{name}`\n\n{text}\n\n{_table(schema['$defs'][name], schema)}")
    return "\n".join(sections)


def _linked(text: str, within: str) -> str:
    """The text, with a link wherever another pass is named."""
    others = "|".join(name for name in PASSES if name != within)
    return re.sub(rf"(?<![\w`])`?({others})`?(?![\w`])", r"[`\1`](#\1)", text)


def _needs(one: Pass) -> str:
    needs = f"Takes {' or '.join(sorted(one.ACCEPTS))}, makes {one.PRODUCES}."
    if one.NEEDS_CALIBRATION:
        needs += " Needs `data.calibration`."
    if issubclass(one.Config, TrainingConfig):
        needs += " Needs `data.training`, unless `epochs` is 0."
    return needs


def _searched(name: str) -> str:
    """How `optimize: auto` tries a pass."""
    tried = []
    for move in MOVES:
        options = [step[1] for step in move.steps if step[0] == name]
        layers = " or ".join(words for trait, words in _LAYERS.items() if trait in move.needs)
        where = [f"in models with {layers}"] if layers else []
        where += [f"beside {' or '.join(f'`{one}`' for one in sorted(move.beside))}"] if move.beside else []
        if options:
            tried.append(" ".join([", then ".join(map(_flow, options)), *where]))
    return f"`optimize: auto` tries it with {'; '.join(tried)}." if tried else ""


def _flow(options: Mapping[str, Any]) -> str:
    """Options as a spec would have them on one line."""
    said = (
        f"{name}: [{', '.join(map(_word, value))}]" if isinstance(value, list) else f"{name}: {_word(value)}"
        for name, value in options.items()
    )
    return f"`{', '.join(said)}`" if options else "its defaults"


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


def _table(node: Schema, schema: Schema, link: str = "") -> str:
    """The keys of an object, each a link to its page where `link` says how that is called."""
    lines = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    required = node.get("required", [])
    for name, value in node.get("properties", {}).items():
        meaning = value.get("description") or _about(_resolved(value, schema))
        default = "**required**" if name in required else _default(value)
        key = f"[`{name}`]({link.format(name)})" if link else f"`{name}`"
        cells = (key, _kind(value, schema), default, meaning)
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
            return "keys"
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
