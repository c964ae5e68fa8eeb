"""Edits of YAML text: what changes, and that nothing else does."""

from __future__ import annotations

import re

import pytest

from model_build.yaml_edit import Document, EditError, yaml_text
from model_build.yaml_tree import Key, parse

TEXT = """\
# yaml-language-server: $schema=spec.schema.json
#
# The file's own words.
name: "one"  # quoted

# Above the gates.
gates: # of the model
  # Why so strict.
  'accuracy': {max_drop: 0.005,   min: 0.92}  # aligned   as   it   was
  size: {max_mb: 1} # small
    # deeper, so below size

lists:
    - [a, {b: {c: 1}}]
    - - d: &anchored
          e: 0x10
        f: |
          text # no comment

            more

      - "g # no comment"
last: *anchored # repeats
# the end
"""


def edited(text: str, *edits: tuple[str, object]) -> str:
    document = Document(text)
    for name, arguments in edits:
        getattr(document, name)(*arguments)  # type: ignore[misc]
    document.verify()
    return document.text


def values(text: str) -> object:
    tree, faults = parse(text)
    assert tree is not None and not faults, faults
    return tree.value


def comments(text: str) -> list[str]:
    return sorted(one for one in re.findall(r"# .*", text) if "no comment" not in one)


@pytest.mark.parametrize(
    ("edit", "arguments", "old", "new"),
    [
        ("rename", (("gates", "accuracy"), "score"), "'accuracy'", "'score'"),
        ("rename", (("gates",), "limits"), "gates: #", "limits: #"),
        ("rename", (("gates", "accuracy", "min"), "lowest"), "min: 0.92", "lowest: 0.92"),
        ("rename", (("lists", 0, 1, "b"), "bb"), "{b: {c", "{bb: {c"),
        ("set", (("gates", "accuracy", "min"), 0.9), "min: 0.92", "min: 0.9"),
        ("set", (("name",), "two words"), '"one"', '"two words"'),
        ("set", (("gates", "accuracy", "more"), True), "0.92}", "0.92, more: true}"),
        ("set", (("gates", "memory"), {"max_mb": 3}), "so below size\n", "so below size\n  memory: {max_mb: 3}\n"),
        ("set", (("new", "a", "b"), None), "# repeats\n", "# repeats\nnew:\n  a:\n    b: null\n"),
        ("set_first", ("version", 2), 'name: "one"', 'version: 2\nname: "one"'),
        ("remove", (("gates", "accuracy", "max_drop"),), "{max_drop: 0.005,   min", "{min"),
        ("remove", (("gates", "accuracy", "min"),), ",   min: 0.92}", "}"),
        ("remove", (("gates", "size", "max_mb"),), "size: {max_mb: 1}", "size: {}"),
        (
            "remove",
            (("gates", "size"),),
            "  size: {max_mb: 1} # small\n    # deeper, so below size\n",
            "  # small\n  # deeper, so below size\n",
        ),
        (
            "move",
            (("gates", "size", "max_mb"), ("gates", "accuracy", "mb")),
            "0.92}  # aligned   as   it   was\n  size: {max_mb: 1}",
            "0.92, mb: 1}  # aligned   as   it   was\n  size: {}",
        ),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_edit_changes_its_place_and_no_other_byte(
    edit: str, arguments: tuple[object, ...], old: str, new: str, newline: str
) -> None:
    text, old, new = (part.replace("\n", newline) for part in (TEXT, old, new))
    assert text.count(old) == 1
    assert edited(text, (edit, arguments)) == text.replace(old, new)


def test_a_key_moves_with_all_its_comments() -> None:
    text = "a:\n  # why b\n  # really\n  b: 1 # one\n    # below\n  c:\n    - 2\nd: {e: 3}\n\nf: 4 # four\n"
    assert edited(text, ("move", (("a", "b"), ("g", "h")))) == (
        "a:\n  c:\n    - 2\nd: {e: 3}\n\nf: 4 # four\ng:\n  # why b\n  # really\n  h: 1 # one\n    # below\n"
    )


def test_a_block_moves_to_another_depth() -> None:
    text = """\
deploy:
    network:
        vpc: # ours
            subnets:
            - a
            - b
    x: 1
y:
  z: |
    t
"""
    assert (
        edited(text, ("move", (("deploy", "network", "vpc"), ("vpc",))))
        == """\
deploy:
    network: {}
    x: 1
y:
  z: |
    t
vpc: # ours
    subnets:
    - a
    - b
"""
    )
    assert edited(text, ("move", (("y", "z"), ("deploy", "z")))) == text.replace(
        "y:\n  z: |\n    t\n", "    z: |\n      t\ny: {}\n"
    )


def test_a_file_without_a_last_line_end_stays_one() -> None:
    assert edited("a: 1", ("set", (("b",), 2))) == "a: 1\nb: 2"
    assert edited("{a: 1}", ("set_first", ("version", 2))) == "{a: 1, version: 2}"
    assert edited("---\na: 1\n...\n", ("set", (("b",), 2))) == "---\na: 1\nb: 2\n...\n"


def test_a_key_that_is_not_there_is_let_be() -> None:
    edits = [("rename", (("x",), "y")), ("move", (("x", "y"), ("z",))), ("remove", (("gates", "no"),))]
    assert edited(TEXT, *edits) == TEXT


def test_what_an_alias_repeats_can_be_renamed_everywhere_at_once_and_not_in_one_place() -> None:
    text = "a: &it {old: 1} # here\nb: *it\n"
    both = [("rename", (("a", "old"), "new")), ("rename", (("b", "old"), "new"))]
    assert edited(text, *both) == "a: &it {new: 1} # here\nb: *it\n"
    with pytest.raises(EditError, match="an alias repeats what changes") as caught:
        edited(text, both[0])
    assert (caught.value.line, caught.value.key) == (1, ("b", "old"))
    with pytest.raises(EditError, match="an alias"):
        edited(text, ("move", (("a", "old"), ("old",))))


@pytest.mark.parametrize(
    ("text", "edit", "arguments", "said", "line"),
    [
        ("a: {b: 1}\nc: 2\n", "move", (("a", "b"), ("c",)), "is c now, which is given too", 1),
        ("x: 0\na: 1\nb: 2\n", "rename", (("a",), "b"), "its new name is b, which is given too", 2),
        ("a:\n  b: 1\nc: {}\n", "move", (("a",), ("c", "a")), "between brackets, where no lines fit", 3),
        ("a: 1 # why\nc: {d: 1}\n", "move", (("a",), ("c", "a")), "between brackets, where no lines fit", 2),
        ("a: 1\nb: two\n", "set", (("b", "c"), 1), "must be keys", 2),
        ("l:\n  - a: 1\n    b: 2\n", "move", (("l", 0, "a"), ("a",)), "on the line of `-`", 2),
        ("a:\n  b: 1\n", "set", (("a",), 2), "holds more than that", 1),
        ("x: {a: {\n  b: 1 # why\n}}\n", "remove", (("x", "a"),), "its value has a comment", 1),
        ("a: 1\n", "remove", (("a",),), "would be left empty", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_with_its_line(
    text: str, edit: str, arguments: tuple[object, ...], said: str, line: int
) -> None:
    with pytest.raises(EditError, match=re.escape(said)) as caught:
        edited(text, (edit, arguments))
    assert caught.value.line == line


def test_a_text_with_faults_is_not_edited() -> None:
    for text in ("a: 1\na: 2\n", "a: [", "- a\n", ""):
        with pytest.raises(EditError):
            Document(text)


def _keys(value: object, key: Key = ()) -> list[Key]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for name, each in inner for one in ((*key, name), *_keys(each, (*key, name)))]


@pytest.mark.parametrize("edit", ["remove", "move", "rename", "set"])
def test_every_edit_of_every_key_holds_or_is_refused_and_loses_no_comment(edit: str) -> None:
    done = 0
    for key in _keys(values(TEXT)):
        arguments = {"remove": (key,), "move": (key, ("moved", "here")), "rename": (key, "fresh"), "set": (key, 5)}
        if isinstance(key[-1], int) and edit != "set":
            continue
        try:
            text = edited(TEXT, (edit, arguments[edit]))
        except EditError:
            continue
        done += 1
        assert comments(text) == comments(TEXT), key
    assert done >= 8


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "true"), (None, "null"), ("word", "word"), ("true", '"true"'), ("a b", '"a b"'), ("12", '"12"'),
     ([1, "a"], "[1, a]"), ({"a": {"b": [0.5]}}, "{a: {b: [0.5]}}"), ("é", '"é"'), ("null", '"null"')],
)  # fmt: skip
def test_values_are_written_as_they_are_read(value: object, text: str) -> None:
    assert yaml_text(value) == text
    assert values(f"x: {text}\n") == {"x": value}
