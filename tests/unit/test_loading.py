"""Loading: real files, good ones and bad ones, each bad one with every message that it must give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_build import yaml_tree
from model_build.errors import SpecError, UserError
from model_build.loading import find, load, load_all, read, written
from model_build.passes import PASSES
from model_build.project_files import input_files, resolve
from model_build.spec import Step

PROJECT = Path(__file__).parent / "specs"

# What is said of each file in bad/, word for word: FILE:LINE: KEY: MESSAGE.
EXPECTED = [
    line.replace("known: PASSES", f"known: {', '.join(PASSES)}")
    for line in (PROJECT / "problems.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


def expected(name: str) -> list[str]:
    return [line for line in EXPECTED if line.startswith(f"bad/{name}:")]


@pytest.mark.parametrize("file", sorted((PROJECT / "good").iterdir()), ids=lambda file: file.name)
def test_a_good_spec_has_no_problem(file: Path) -> None:
    spec, problems = read(file, PROJECT)
    assert problems == []
    assert spec is not None and spec.name == file.stem


@pytest.mark.parametrize("name", sorted(file.name for file in (PROJECT / "bad").iterdir()))
def test_a_bad_spec_gives_every_problem_with_line_and_key(name: str) -> None:
    _, problems = read(PROJECT / "bad" / name, PROJECT)
    assert expected(name), "problems.txt says nothing of this file"
    assert [str(problem) for problem in problems] == expected(name)


def test_every_expected_problem_is_of_a_file() -> None:
    assert {line.partition(":")[0] for line in EXPECTED} == {f"bad/{file.name}" for file in (PROJECT / "bad").iterdir()}


def test_the_same_problems_come_from_the_parser_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.setattr(yaml_tree, "_Loader", yaml.SafeLoader)
    # What cannot be parsed at all is worded by the parser that meets it.
    for name in ("several.yaml", "duplicate-key.yaml", "laughs.yaml", "tab.yaml", "tag.yaml"):
        test_a_bad_spec_gives_every_problem_with_line_and_key(name)


def test_load_raises_all_problems_as_one_error() -> None:
    with pytest.raises(SpecError) as caught:
        load(PROJECT / "bad" / "several.yaml", PROJECT)
    assert list(caught.value.problems) == expected("several.yaml")
    assert str(caught.value) == "\n".join(expected("several.yaml"))


def test_options_and_aliases_arrive_in_the_spec() -> None:
    spec = load(PROJECT / "good" / "text.yaml", PROJECT)
    assert spec.optimize.candidates[1] == (
        Step(name="export_onnx", options={"opset": 17}),
        Step(name="quantize_dynamic"),
    )
    assert spec.data.calibration is not None
    assert spec.data.calibration.args == {"anything": [1, 2.5, None]}
    yaml = load(PROJECT / "good" / "yaml-1-2.yaml", PROJECT)
    assert yaml.labels == ("yes", "no", "on", "12:30", "2026-01-31", "1_000")
    assert yaml.data.evaluation is not None
    assert yaml.data.evaluation.args == {"limit": 12, "size": [28, 28]}


def _project(folder: Path, **specs: str) -> Path:
    shutil.copytree(PROJECT / "files", folder / "files")
    (folder / "specs").mkdir()
    for name, text in specs.items():
        (folder / "specs" / f"{name}.yaml").write_text(text)
    return folder


GOOD = (PROJECT / "good" / "tensor.yaml").read_text()


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    root = _project(tmp_path, tensor=GOOD + "#" * yaml_tree.MAX_BYTES)
    _, problems = read(root / "specs" / "tensor.yaml", root)
    assert [problem.message for problem in problems] == [
        "is larger than 1,000,000 bytes; a spec names data and does not hold it"
    ]


def test_bytes_that_are_not_text_are_told(tmp_path: Path) -> None:
    root = _project(tmp_path)
    (root / "specs" / "x.yaml").write_bytes(b"name: \xff\xfe")
    assert [str(one) for one in load_all([], root)[1]] == ["specs/x.yaml:1: is not UTF-8 text (byte 6)"]
    (root / "specs" / "x.yaml").write_bytes(b"name: x\ndescription: \x07")
    assert [str(one) for one in load_all([], root)[1]] == [
        "specs/x.yaml:2: not YAML: control characters are not allowed"
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    root = _project(tmp_path)
    (root / "specs" / "tensor.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_all([], root)[1] == []


def test_control_characters_are_shown_and_not_sent_to_the_terminal(tmp_path: Path) -> None:
    root = _project(tmp_path, tensor=GOOD + '"\\e[31mkey": "\\a"\n')
    assert str(load_all([], root)[1][0]).startswith("specs/tensor.yaml:7: \\x1b[31mkey: unknown key '\\x1b[31mkey'")


def test_a_file_outside_the_project_is_refused(tmp_path: Path) -> None:
    root = _project(tmp_path / "project")
    (tmp_path / "tensor.yaml").write_text(GOOD)
    specs, problems = load_all([str(tmp_path / "tensor.yaml")], root)
    assert specs == {}
    assert "lies outside the project" in problems[0].message


def test_a_sample_larger_than_a_request_is_refused(tmp_path: Path) -> None:
    root = _project(tmp_path, tensor=GOOD + "sample: files/large.npy\n")
    (root / "files" / "large.npy").write_bytes(bytes(6_000_001))
    assert [str(one) for one in load_all([], root)[1]] == [
        "specs/tensor.yaml:7: sample: has 6,000,001 bytes; an endpoint takes at most 6,000,000 in one request"
    ]


def test_a_module_that_is_not_python_is_told_with_its_error(tmp_path: Path) -> None:
    root = _project(tmp_path, image=(PROJECT / "good" / "image.yaml").read_text())
    (root / "files" / "model.py").write_text("def build(:\n")
    assert [str(one) for one in load_all([], root)[1]] == [
        "specs/image.yaml:5: source.pytorch.factory: files/model.py is not valid Python: line 1: invalid syntax"
    ]


def test_a_name_or_a_path_finds_its_spec_once_and_no_name_finds_all(tmp_path: Path) -> None:
    root = _project(tmp_path, tensor=GOOD, other=GOOD.replace("name: tensor", "name: other"))
    tensor, other = root / "specs" / "tensor.yaml", root / "specs" / "other.yaml"
    assert find([], root) == [other, tensor]
    assert find(["tensor", "specs/tensor.yaml", str(tensor)], root) == [tensor]
    specs, problems = load_all([], root)
    assert problems == [] and [spec.name for spec in specs.values()] == ["other", "tensor"]


def test_an_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    root = _project(tmp_path, fashion="", news="")
    with pytest.raises(UserError, match="'fashon'; did you mean 'fashion'") as caught:
        find(["fashon"], root)
    assert caught.value.next_step == "there are fashion, news"


def test_a_project_without_specs_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no spec"):
        find([], _project(tmp_path))


def test_the_inputs_are_the_spec_and_every_project_file_that_it_reads(tmp_path: Path) -> None:
    root = _project(tmp_path, text=(PROJECT / "good" / "text.yaml").read_text())
    (root / "files" / "__pycache__").mkdir()
    (root / "files" / "__pycache__" / "model.pyc").write_bytes(b"")
    (root / "files" / ".hidden").write_bytes(b"")
    (root / "files" / "more").mkdir()
    (root / "files" / "more" / "words.txt").write_text("read by the factory")
    (root / "elsewhere.txt").write_text("not read")
    files = input_files(load(root / "specs" / "text.yaml", root), root)
    folder = sorted(f"files/{file.name}" for file in (PROJECT / "files").iterdir() if file.is_file())
    assert list(files) == ["specs/text.yaml", *sorted([*folder, "files/more/words.txt"])]
    assert all(file.is_file() for file in files.values())


def test_a_module_in_the_root_brings_only_itself(tmp_path: Path) -> None:
    root = _project(tmp_path, image=(PROJECT / "good" / "image.yaml").read_text().replace("files.model", "alone"))
    (root / "alone.py").write_text("def build(): ...\n")
    (root / "neighbour.py").write_text("")
    assert list(input_files(load(root / "specs" / "image.yaml", root), root)) == [
        "specs/image.yaml", "alone.py", "files/weights.safetensors",
    ]  # fmt: skip


def test_files_of_an_onnx_model_include_its_external_data(tmp_path: Path) -> None:
    root = _project(tmp_path, tensor=GOOD)
    (root / "files" / "model.onnx.data").write_bytes(b"")
    files = input_files(load(root / "specs" / "tensor.yaml", root), root)
    assert list(files) == ["specs/tensor.yaml", "files/model.onnx", "files/model.onnx.data"]


def test_a_file_of_an_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "a_package_of_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights.safetensors").write_bytes(b"")
    monkeypatch.syspath_prepend(str(package.parent))
    assert resolve("pkg:a_package_of_weights/weights.safetensors", tmp_path) == package / "weights.safetensors"
    with pytest.raises(UserError, match="'no_such_package' is not installed"):
        resolve("pkg:no_such_package/weights.safetensors", tmp_path)


def test_an_unreadable_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _project(tmp_path, tensor=GOOD)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # a mode of 0 would not keep root out
        patch.setattr(Path, "open", denied)
        _, problems = load_all([], root)
    assert [str(one) for one in problems] == ["specs/tensor.yaml:1: cannot be read: Permission denied"]


def test_a_key_is_written_as_people_write_it() -> None:
    assert written(("optimize", "candidates", 1, 0)) == "optimize.candidates[1][0]"
