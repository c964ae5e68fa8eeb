"""Factories of a project: called by name, their mistakes told with file and line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model_build import factories
from model_build.errors import UserError


def test_a_factory_gets_its_arguments_and_an_edited_module_is_read_anew(tmp_path: Path) -> None:
    module = tmp_path / "some_factory.py"
    for answer in (1, 22):
        module.write_text(f"def make(by):\n    return {answer} * by\n")
        with factories.opened(tmp_path):
            assert factories.call("some_factory:make", {"by": 2}, tmp_path, "source") == answer * 2
        assert "some_factory" not in sys.modules
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def make():\n    raise ValueError('no such size')\n",
            "failing_factory.py:2: ValueError: no such size",
        ),
        (
            "def make():\n    return inner()\n\ndef inner():\n    return {}['key']\n",
            "failing_factory.py:5: KeyError: 'key'",
        ),
        (
            "import json\n\ndef make():\n    return json.loads('{')\n",
            "failing_factory.py:4: json.decoder.JSONDecodeError",
        ),
        ("import a_module_that_is_not_there\n", "failing_factory.py:1: ModuleNotFoundError: No module named"),
        ("def make(:\n", "failing_factory.py:1: SyntaxError"),
        ("import sys\n\ndef make():\n    sys.exit('stop')\n", "failing_factory.py:4: SystemExit: stop"),
    ],
)
def test_a_factory_that_raises_is_named_with_file_line_and_reason(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "failing_factory.py").write_text(code)
    with factories.opened(tmp_path), pytest.raises(UserError) as caught:
        factories.call("failing_factory:make", {}, tmp_path, "data.evaluation")
    assert caught.value.message.startswith("data.evaluation: failing_factory:make failed at ")
    assert message in caught.value.message
    assert "Traceback" not in str(caught.value)


def test_a_folder_without_init_is_forgotten_with_its_project(tmp_path: Path) -> None:
    for name, init in (("first", False), ("second", True)):
        folder = tmp_path / name / "forgotten_folder"
        folder.mkdir(parents=True)
        (folder / "it.py").write_text(f"def where():\n    return {name!r}\n")
        if init:
            (folder / "__init__.py").touch()
    for name in ("first", "second", "first"):
        root = tmp_path / name
        with factories.opened(root):
            assert factories.call("forgotten_folder.it:where", {}, root, "data.evaluation") == name
