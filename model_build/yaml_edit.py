"""Changes of a YAML text that leave every other byte as it is: comments, quotes, anchors, blank lines, line ends.

Apart from `yaml_tree`, which need not know columns. Edits are cuts and insertions where the parser says that a value
stands. A round trip through a library (ruamel.yaml, tried) writes the whole file anew: it changed what nobody asked for
in 7 of 38 specs and examples of this project (braces, aligned columns, indented lists), and line ends everywhere.

Cutting text is safe since each edit is done to the plain values too: a text that then says anything else is refused.
No comment is ever lost: one moves with what it explains, or stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from model_build.yaml_tree import Key, events_of, parse

_WORD = re.compile(r"[A-Za-z_][\w./-]*")
_STEP = "  "
_ENDS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


class EditError(Exception):
    """A text that cannot be changed so; the line and key where, and why."""

    def __init__(self, line: int, key: Key, message: str) -> None:
        super().__init__(message)
        self.line, self.key, self.message = line, key, message


@dataclass
class _Piece:
    """A value as it is written, `text[start:end]`, `flow` between brackets, which open just before `inner`.

    `names` are where a mapping's keys stand, `items` what a mapping or list holds, `target` what an alias repeats.
    """

    start: int
    end: int
    flow: bool = False
    inner: int = 0
    names: dict[str, tuple[int, int]] = field(default_factory=dict)
    items: dict[str | int, _Piece] = field(default_factory=dict)
    target: _Piece | None = None

    @property
    def block(self) -> bool:
        return bool(self.items) and not self.flow


@dataclass(frozen=True)
class _Entry:
    """A key with its value, out of its place: its lines in a block, without indentation, and as it is in `{…}`."""

    lines: list[str]
    inline: str | None
    """None where it needs several lines, or has a comment."""

    def within(self, name: str) -> _Entry:
        inline = None if self.inline is None else f"{name}: {{{self.inline}}}"
        return _Entry([f"{name}:", *(_STEP + line for line in self.lines)], inline)


class Document:
    """A mapping's text while it is changed. `rename`, `move` and `remove` let a key be that is not there.

    All raise EditError: where the text is no such document, or is written in a way that an edit cannot follow.
    """

    def __init__(self, text: str) -> None:
        tree, faults = parse(text)
        if tree is None or faults:
            raise EditError(*faults[0])
        self._before = tree
        self.text = text
        self.values: dict[str, Any] = json.loads(json.dumps(tree.value))  # what aliases repeat becomes separate
        """What the text has to say in the end."""
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def get(self, key: Key, default: Any = None) -> Any:
        value: Any = self.values
        for part in key:
            there = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            if part not in there:
                return default
            value = value[part]
        return value

    def has(self, key: Key) -> bool:
        return self.get(key, self) is not self

    def rename(self, key: Key, name: str) -> None:
        """Gives a key of a mapping another name, at its place."""
        if not self.has(key):
            return
        holder, old = self.get(key[:-1]), str(key[-1])
        if name in holder:
            raise self.error(key, f"its new name is {name}, which is given too; keep one of them")
        renamed = {name if one == old else one: value for one, value in holder.items()}
        holder.clear()
        holder.update(renamed)
        names = self._mapping(key[:-1]).names
        if old in names:  # else it was renamed where an alias takes it from
            start, end = names[old]
            quote = self.text[start] if self.text[start] in "\"'" else ""
            self._replace(start, end, f"{quote}{name}{quote}")

    def set(self, key: Key, value: Any) -> None:
        """Gives a key a value: in place of its own, or behind the others of its mapping, which is made if need be."""
        if not self.has(key):
            said = f"{key[-1]}: {yaml_text(value)}"
            self._place(key, value, _Entry([said], said))
            return
        piece = self._piece(key)
        if piece.block or self._comments(piece.start, piece.end):
            raise self.error(key, f"should be {yaml_text(value)}, and holds more than that can stand for")
        self.get(key[:-1])[key[-1]] = value
        gap = " " if piece.start == piece.end else ""
        self._replace(piece.start, piece.end, gap + yaml_text(value))

    def set_first(self, name: str, value: Any) -> None:
        """The same of a key of the document itself, which comes before the others if it is new."""
        whole = self._mapping(())
        first = min(whole.names.values())[0] if whole.names else 0
        line = self._line_start(first)
        if self.has((name,)) or whole.flow or self.text[line:first]:
            self.set((name,), value)
        else:
            self.values = {name: value, **self.values}
            self._replace(line, line, f"{name}: {yaml_text(value)}{self._newline}")

    def move(self, key: Key, to: Key) -> None:
        """Takes a key with its comments to another mapping, which is made if need be, behind what that holds."""
        if not self.has(key):
            return
        if self.has(to):
            raise self.error(key, f"is {'.'.join(map(str, to))} now, which is given too; keep one of them")
        entry = self._cut(key, str(to[-1]))
        self._place(to, self.get(key[:-1]).pop(key[-1]), entry)

    def remove(self, key: Key) -> None:
        """Takes a key away. The comments stay."""
        if not self.has(key):
            return
        holder, piece = self._mapping(key[:-1]), self._piece(key)
        start, _ = holder.names[str(key[-1])]
        if holder.flow:
            if self._comments(start, piece.end):
                raise self.error(key, "is no longer a key, and its value has a comment; take it out")
            self._cut_flow(holder, str(key[-1]))
        else:
            begin, stop = self._extent(key)
            kept = [self.text[begin:start] + comment + self._newline for comment in self._comments(begin, stop)]
            self._replace(begin, stop, "".join(kept))
            self._leave(key, holder)
        del self.get(key[:-1])[key[-1]]

    def verify(self) -> None:
        """Raises EditError where the text does not say what the edits meant."""
        tree, faults = parse(self.text)
        if tree is not None and not faults and json.dumps(tree.value) == json.dumps(self.values):
            return
        raise self.error(
            _difference(tree.value, self.values) if tree else (),
            "an alias repeats what changes, or it is written in a way that cannot be followed; write it out plainly",
        )

    def error(self, key: Key, message: str) -> EditError:
        """With the line of the text as it was in the beginning, which is what people see."""
        return EditError(self._before.line_of(key), key, message)

    # Where things stand

    def _whole(self) -> _Piece:
        try:
            return _composed(self.text)
        except yaml.YAMLError:
            raise self.error((), "it is written in a way that cannot be followed; write it out plainly") from None

    def _piece(self, key: Key) -> _Piece:
        piece = self._whole()
        for part in key:
            holder = piece.target or piece
            if part not in holder.items:
                raise self.error(key, "what an alias repeats is changed; write it out plainly")
            piece = holder.items[part]
        return piece

    def _mapping(self, key: Key) -> _Piece:
        piece = self._piece(key)
        piece = piece.target or piece
        if not isinstance(self.get(key), dict) or not (piece.names or piece.flow):
            raise self.error(key, "must be keys, `{key: value}`")
        return piece

    def _line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def _line_end(self, position: int) -> int:
        return self.text.find("\n", position) + 1 or len(self.text)

    def _extent(self, key: Key) -> tuple[int, int]:
        """The lines of an entry of a block."""
        holder = self._mapping(key[:-1])
        start, _ = holder.names[str(key[-1])]
        begin = self._line_start(start)
        if before := self.text[begin:start].strip():
            raise self.error(key, f"stands on the line of `{before}`; begin a line with it")
        return begin, self._stop(holder, str(key[-1]))

    def _stop(self, holder: _Piece, name: str) -> int:
        """Where an entry of a block ends, with the comments below it that are indented deeper."""
        start, _ = holder.names[name]
        end = self._line_end(holder.items[name].end)
        column = start - self._line_start(start)
        below = re.compile(rf"(?:[ \t]*\r?\n)* {{{column}}}[ \t]+#.*(?:\n|\Z)")
        while match := below.match(self.text, end):
            end = match.end()
        return end

    def _comments(self, start: int, end: int) -> list[str]:
        """The comments between two positions."""
        scalars = sorted(_scalars(self._whole()))
        found, position = [], start
        while (position := self.text.find("#", position, end)) >= 0:
            inside = next((stop for begin, stop in scalars if begin <= position < stop), None)
            if inside is None:
                stop = self.text.find("\n", position)
                stop = len(self.text) if stop < 0 else stop
                found.append(self.text[position:stop].rstrip())
            position = inside or stop
        return found

    # Cutting and placing

    def _replace(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]

    def _cut(self, key: Key, name: str) -> _Entry:
        """Takes an entry out of the text, with the comments above it and under its new name."""
        holder, piece = self._mapping(key[:-1]), self._piece(key)
        start, end = holder.names[str(key[-1])]
        inline = name + self.text[end : piece.end]
        fits = not piece.block and "\n" not in inline and piece.start < piece.end
        if holder.flow:
            self._cut_flow(holder, str(key[-1]))
            return _Entry(inline.splitlines(), inline if fits else None)
        begin, stop = self._extent(key)
        indent, above = self.text[begin:start], begin
        while above and self.text[self._line_start(above - 1) :].startswith(f"{indent}#"):
            above = self._line_start(above - 1)
        above = above or begin  # what the file begins with is of the whole file
        whole = self.text[above:start] + name + self.text[end:stop]
        lines = [
            line.removeprefix(indent) if line.startswith(indent) else line.lstrip(" ") for line in whole.splitlines()
        ]
        commented = bool(self._comments(above, stop))
        self._replace(above, stop, "")
        self._leave(key, holder)
        return _Entry(lines, inline if fits and not commented else None)

    def _cut_flow(self, holder: _Piece, name: str) -> None:
        """Takes an entry out of `{…}`, with one comma."""
        start, end = holder.names[name][0], holder.items[name].end
        after = re.compile(r"\s*,[ \t]*").match(self.text, end)
        if after:
            self._replace(start, after.end(), "")
            return
        self._replace(start, end, "")
        earlier = [piece.end for one, piece in holder.items.items() if one != name]
        if earlier:
            comma = self.text.index(",", max(earlier), start)
            blank = self.text[comma + 1 : start]
            self._replace(comma, start if not blank.strip() and "\n" not in blank else comma + 1, "")

    def _leave(self, key: Key, holder: _Piece) -> None:
        """Writes `{}` where a block has lost its only entry."""
        if len(holder.names) > 1:
            return
        if len(key) < 2 or not isinstance(key[-2], str):
            raise self.error(key[:-1], "would be left empty")
        above = self._mapping(key[:-2])
        start = above.names[key[-2]][1]
        colon = re.compile(r"\s*:(?:[ \t]*&\S+)?").match(self.text, start)
        at = colon.end() if colon else start
        self._replace(at, at, " {}")

    def _place(self, to: Key, value: Any, entry: _Entry) -> None:
        """Puts an entry behind all others of a mapping, which is made where there is none."""
        known = next(size for size in range(len(to) - 1, -1, -1) if self.has(to[:size]))
        piece = self._mapping(to[:known])
        if to[known] in piece.names:
            raise self.error(to, "what an alias repeats is changed; write it out plainly")
        holder = self.get(to[:known])
        for name in to[known:-1]:
            holder = holder.setdefault(name, {})
        holder[to[-1]] = value
        for name in reversed(to[known:-1]):
            entry = entry.within(str(name))
        if piece.flow:
            if entry.inline is None:
                raise self.error(to[:known], "is written between brackets, where no lines fit; write it as lines")
            at = max((item.end for item in piece.items.values()), default=piece.inner)
            self._replace(at, at, f", {entry.inline}" if piece.items else entry.inline)
            return
        _, last = max((place, name) for name, place in piece.names.items())
        first = min(piece.names.values())[0]
        indent = " " * (first - self._line_start(first))
        at = self._stop(piece, last)
        said = self._newline.join(indent + line if line else line for line in entry.lines)
        ended = self.text[at - 1] == "\n"
        self._replace(at, at, said + self._newline if ended else self._newline + said)


def yaml_text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {yaml_text(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_text, value))}]"
    if isinstance(value, str) and _WORD.fullmatch(value):
        tree, _ = parse(f"value: {value}")
        if tree is not None and tree.value["value"] == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _difference(one: Any, other: Any) -> Key:
    """The first key at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**other, **one}:
            if json.dumps(one.get(name)) != json.dumps(other.get(name)):
                return (name, *_difference(one.get(name), other.get(name)))
    return ()


def _composed(text: str) -> _Piece:
    """Where everything stands in a text that `yaml_tree` has read without faults."""
    events = events_of(text)
    anchors: dict[str | None, _Piece] = {}

    def compose(event: Any) -> _Piece:
        piece = _Piece(event.start_mark.index, event.end_mark.index)
        if type(event) is yaml.AliasEvent:
            piece.target = anchors.get(event.anchor)  # none where an edit took it away, which `verify` finds
            return piece
        if event.anchor:
            anchors[event.anchor] = piece
        if type(event) is yaml.ScalarEvent:
            if event.style in ("|", ">"):  # the lines below it are not its own
                piece.end = len(text[: piece.end].rstrip())
            return piece
        piece.flow, piece.inner = bool(event.flow_style), piece.end
        while type(inner := next(events)) not in _ENDS:
            name: str | int = len(piece.items)
            if type(event) is yaml.MappingStartEvent:
                name = inner.value
                piece.names[inner.value] = (inner.start_mark.index, inner.end_mark.index)
                inner = next(events)
            piece.items[name] = compose(inner)
        # A block's end is told only by what comes after it.
        piece.end = inner.end_mark.index if piece.flow else max(item.end for item in piece.items.values())
        return piece

    next(event for event in events if type(event) is yaml.DocumentStartEvent)
    return compose(next(events))


def _scalars(piece: _Piece) -> Iterator[tuple[int, int]]:
    """The places of all keys and of all values that are no lists or mappings."""
    yield from piece.names.values()
    if not piece.items and not piece.flow:
        yield piece.start, piece.end
    for item in piece.items.values():
        yield from _scalars(item)
