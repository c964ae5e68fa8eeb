"""YAML text → plain values that know the line of every key, within limits that no honest spec meets.

Apart from `loading` because it knows nothing of specs. Scalars follow YAML 1.2's core schema, as editors do: `no`,
`on`, dates and `12:30` are text, where YAML 1.1 would turn them into something else. Tags are refused, so nothing is
ever made but dict, list, str, int, float, bool and None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ALIASES = 100
MAX_VALUES = 20_000  # counted after aliases are expanded, which is what a "billion laughs" file makes huge

Key = tuple[str | int, ...]

# The C parser where PyYAML was built with it: ten times faster, the same events.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Fault(NamedTuple):
    line: int
    key: Key
    message: str


@dataclass
class Node:
    """A value and where it stands; `children` are the same for its items, with the line of the key or item."""

    value: Any
    line: int
    children: dict[str | int, tuple[int, Node]] = field(default_factory=dict)
    size: int = 1
    height: int = 0

    def line_of(self, key: Key) -> int:
        """The line of a key, or of the nearest one above it that is in the file."""
        node, line = self, self.line
        for part in key:
            if part not in node.children:
                break
            line, node = node.children[part]
        return line

    def at(self, key: Key) -> Node | None:
        node = self
        for part in key:
            if part not in node.children:
                return None
            node = node.children[part][1]
        return node


def parse(text: str) -> tuple[Node | None, list[Fault]]:
    """The tree of a document with one mapping, and all that is wrong with it; no tree where nothing can be read."""
    composer = _Composer(text)
    try:
        return composer.document(), composer.faults
    except _Unreadable as stop:
        return None, [*composer.faults, stop.fault]
    except yaml.YAMLError as error:
        return None, [*composer.faults, _syntax_fault(error, text)]


def events_of(text: str) -> Iterator[Any]:
    """What the parser finds, one after the other; each knows where it stands. Raises yaml.YAMLError."""
    return iter(yaml.parse(text, Loader=_Loader))


class _Unreadable(Exception):
    def __init__(self, line: int, key: Key, message: str) -> None:
        self.fault = Fault(line, key, message)


class _Composer:
    """Builds the tree from the parser's events, since a loader that makes values has forgotten lines by then."""

    def __init__(self, text: str) -> None:
        self.events = events_of(text)
        self.faults: list[Fault] = []
        self.anchors: dict[str, Node | None] = {}
        self.aliases = 0
        self.values = 0

    def document(self) -> Node | None:
        next(self.events)  # the stream's start
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise _Unreadable(1, (), "the file is empty; a spec begins with `name: …`")
        node = self._node(next(self.events), (), 0)
        next(self.events)  # the document's end
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Unreadable(_line(event), (), "a second document (`---`); one file holds one spec")
        if not isinstance(node.value, dict):
            raise _Unreadable(node.line, (), "a spec is a mapping of keys to values, beginning with `name: …`")
        return node

    def _node(self, event: Any, key: Key, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Unreadable(_line(event), key, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key, depth)
        self._count(1, event, key)
        if event.tag is not None:
            self.faults.append(Fault(_line(event), key, f"the tag {event.tag} is not allowed; write the value alone"))
        if event.anchor:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event, key), _line(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, key, depth)
        else:
            node = self._mapping(event, key, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, key: Key, depth: int) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _Unreadable(_line(event), key, f"more than {MAX_ALIASES} aliases; write the values out")
        if event.anchor not in self.anchors:
            raise _Unreadable(_line(event), key, f"the alias *{event.anchor} has no anchor &{event.anchor} before it")
        node = self.anchors[event.anchor]
        if node is None:
            raise _Unreadable(_line(event), key, f"the alias *{event.anchor} stands inside the value that it repeats")
        if depth + node.height > MAX_DEPTH:
            raise _Unreadable(_line(event), key, f"nested deeper than {MAX_DEPTH} levels")
        self._count(node.size, event, key)
        return node

    def _count(self, values: int, event: Any, key: Key) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise _Unreadable(_line(event), key, f"more than {MAX_VALUES:,} values once its aliases are expanded")

    def _sequence(self, start: Any, key: Key, depth: int) -> Node:
        node = Node([], _line(start))
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            index = len(node.value)
            self._adopt(node, index, _line(event), self._node(event, (*key, index), depth + 1))
        return node

    def _mapping(self, start: Any, key: Key, depth: int) -> Node:
        node = Node({}, _line(start))
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = _line(event)
            name = self._key(event, key, depth)
            child = self._node(next(self.events), key if name is None else (*key, name), depth + 1)
            if name is None:
                continue
            if name in node.children:
                first = node.children[name][0]
                self.faults.append(Fault(line, (*key, name), f"given twice, first on line {first}; keep one"))
            else:
                self._adopt(node, name, line, child)
        return node

    def _key(self, event: Any, key: Key, depth: int) -> str | None:
        """A mapping's key, or None after a fault was noted."""
        line = _line(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, key, depth + 1)
            self.faults.append(Fault(line, key, "a key must be text, not a list, a mapping or an alias"))
            return None
        if event.value == "<<" and event.implicit[0]:
            self.faults.append(Fault(line, key, "merge keys (`<<`) are not supported; write the keys out"))
            return None
        name = self._node(event, key, depth + 1).value
        if not isinstance(name, str):
            wanted = f'put it in quotes: "{event.value}"' if event.value else "write one before the colon"
            self.faults.append(
                Fault(line, key, f"a key must be text, and `{event.value}` is {kind_of(name)}; {wanted}")
            )
            return None
        return name

    def _scalar(self, event: Any, key: Key) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _INTEGER.fullmatch(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text):
            number = float(text.replace(".inf", "inf").replace(".nan", "nan") if "." in text else text)
            if not math.isfinite(number):
                self.faults.append(Fault(_line(event), key, f"`{text:.40}` is not a finite number"))
            return number
        return text

    @staticmethod
    def _adopt(parent: Node, key: str | int, line: int, child: Node) -> None:
        if isinstance(key, int):
            parent.value.append(child.value)
        else:
            parent.value[key] = child.value
        parent.children[key] = (line, child)
        parent.size += child.size
        parent.height = max(parent.height, child.height + 1)


def kind_of(value: Any) -> str:
    """A value's kind in plain words."""
    if value is None:
        return "empty"
    kinds = {bool: "a boolean", int: "a whole number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "a mapping")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


_HINTS = {
    "mapping values are not allowed": "a colon where none may be: put text that holds `: ` in quotes, or indent",
    "did not find expected node content": "a value is missing, or a bracket is never closed",
    "did not find expected key": "the indentation does not fit the lines before, or a bracket or quote is missing",
    "did not find expected '-' indicator": "the indentation does not fit the list's other items",
    "did not find expected ',' or": "a comma or a closing bracket is missing",
    "found unexpected end of stream": "a quote is never closed",
    "could not find expected ':'": "a key has no colon",
    "cannot start any token": "this character cannot begin a value: put the value in quotes",
    "found unknown escape character": "an unknown escape in double quotes: use single quotes, or double the backslash",
}


def _syntax_fault(error: yaml.YAMLError, text: str) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        position = getattr(error, "position", 0)
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        return Fault(text.count("\n", 0, position or 0) + 1, (), f"not YAML: {reason}")
    line = int(error.problem_mark.line)
    lines = text.splitlines()
    source = lines[line] if line < len(lines) else ""
    if "\t" in source[: len(source) - len(source.lstrip())]:
        return Fault(line + 1, (), "a tab in the indentation; YAML is indented with spaces")
    problem = error.problem or "cannot be parsed"
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
    since = ""
    if error.context_mark is not None and error.context_mark.line != line:
        since = f" (in what begins on line {error.context_mark.line + 1})"
    return Fault(line + 1, (), f"not YAML: {hint or problem}{since}")
