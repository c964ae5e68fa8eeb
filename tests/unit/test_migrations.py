"""`slipway migrate`, on migrations that these tests bring along: there is none to a published version yet."""

from __future__ import annotations

import difflib
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from model_build import loading, migrations
from model_build.migrations import MIGRATIONS, migrate
from model_build.spec import Spec
from model_build.yaml_edit import Document, EditError
from slipway import cli
from slipway.commands import migrate as command

ROOT = Path(__file__).parents[2]
SPECS = Path(__file__).parent / "specs"

# Of a version in which `labels` was `classes`, `sample` stood in `data`, and latency was measured in three rounds.
OLD = """\
# yaml-language-server: $schema=spec.schema.json
#
# What the file is for.
name: 'image'
task: "image-classification" # quoted

# The order of the outputs.
classes: &classes [zero,   one]

image: {mode: L, size: [28, 28]}
source: {onnx: {path: files/model.onnx}} # ö €
optimize: {candidates: [[]]}
data:
  # To try it with.
  sample: files/two.png # a picture
  evaluation: {factory: "files.model:evaluation", args: {limit: 12}}

deploy:
  environment: {A: "1"} # text
"""
NEW = """\
# yaml-language-server: $schema=spec.schema.json
#
# What the file is for.
version: 3
name: 'image'
task: "image-classification" # quoted

# The order of the outputs.
labels: &classes [zero,   one]

image: {mode: L, size: [28, 28]}
source: {onnx: {path: files/model.onnx}} # ö €
optimize: {candidates: [[]]}
data:
  evaluation: {factory: "files.model:evaluation", args: {limit: 12}}

deploy:
  environment: {A: "1"} # text
# To try it with.
sample: files/two.png # a picture
measure:
  rounds: 3
"""


def _to_2(spec: Document) -> None:
    """`classes` is `labels` and `data.sample` is `sample`: neither is data
    that is measured on."""
    spec.rename(("classes",), "labels")
    spec.move(("data", "sample"), ("sample",))


def _to_3(spec: Document) -> None:
    """Five rounds are measured where none are said; three, the old default, left too much open."""
    if not spec.has(("measure", "rounds")):
        spec.set(("measure", "rounds"), 3)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", {1: _to_2, 2: _to_3})


@pytest.fixture
def project(tmp_path: Path, three: None) -> Path:
    for name in ("files", "classifier"):
        shutil.copytree(SPECS / name, tmp_path / name)
    (tmp_path / "files/two.png").touch()
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/image.yaml").write_text(OLD)
    return tmp_path


def _slipway(root: Path, *arguments: str) -> int:
    return cli.run(["--root", str(root), *arguments])


# The text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_chain_of_versions_is_applied_in_order_and_all_else_stays_byte_for_byte(three: None, newline: str) -> None:
    made = migrate(OLD.replace("\n", newline))
    assert made.after == NEW.replace("\n", newline)
    assert made.version == 1
    assert made.reasons == (
        "`classes` is `labels` and `data.sample` is `sample`: neither is data that is measured on.",
        "Five rounds are measured where none are said; three, the old default, left too much open.",
    )


def test_migrating_again_changes_nothing(three: None) -> None:
    made = migrate(NEW)
    assert (made.after, made.version, made.reasons) == (NEW, 3, ())


def test_a_spec_of_a_version_between_gets_the_later_migrations_alone(three: None) -> None:
    made = migrate("version: 2 # by hand\nname: x\nclasses: [1]\n")
    assert made.after == "version: 3 # by hand\nname: x\nclasses: [1]\nmeasure:\n  rounds: 3\n"


def test_what_an_alias_shares_is_refused_with_the_line_and_the_reason(three: None) -> None:
    text = "name: x\ntask: tensor\ndata: &data\n  sample: a.json\n  evaluation: 1\nother: *data\n"
    with pytest.raises(EditError, match=r"an alias repeats .* \(for version 2: `classes` is `labels`") as caught:
        migrate(text)
    assert (caught.value.line, caught.value.key) == (4, ("other", "sample"))


def test_an_old_and_a_new_key_together_are_for_the_user_to_decide(three: None) -> None:
    with pytest.raises(EditError, match="its new name is labels, which is given too") as caught:
        migrate("name: x\nlabels: [a]\nclasses: [b]\n")
    assert caught.value.line == 3


def test_every_migration_says_what_and_why_and_none_is_left_out() -> None:
    assert list(MIGRATIONS) == list(range(1, migrations.current()))
    assert all(migrations.reason(version).endswith(".") for version in MIGRATIONS)


# What ships is of this version, and goes through the editor unharmed


def _examples() -> dict[str, str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    files = [*(ROOT / "specs").glob("*.yaml"), *(ROOT / "slipway/templates").glob("*/spec.yaml")]
    found = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in [*files, *SPECS.glob("good/*.yaml")]}
    for page in pages:
        blocks = re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.S)
        for number, block in enumerate(blocks):
            try:
                keys = Document(block).values
            except EditError:  # several alternatives one below the other, or pieces of a list
                continue
            if set(keys) <= set(Spec.model_fields):
                found[f"{page.relative_to(ROOT)} {number}"] = block
    return found


EXAMPLES = _examples()


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) > 40
    assert any(name.startswith("README") for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_ships_needs_no_migration(name: str) -> None:
    made = migrate(EXAMPLES[name])
    assert (made.after, made.reasons) == (EXAMPLES[name], ())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_renamed_key_added_default_and_new_version_leave_every_other_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLES[name]

    def renaming(spec: Document) -> None:
        """Two keys are renamed and one is added."""
        spec.rename(("gates",), "limits")
        spec.rename(("source",), "origin")
        spec.set(("added", "by", "default"), [1, 2])

    def back(spec: Document) -> None:
        """All of it is taken back."""
        spec.rename(("limits",), "gates")
        spec.rename(("origin",), "source")
        spec.remove(("added",))
        spec.remove(("version",))

    changed = set(spec := Document(text).values) & {"gates", "source"}
    monkeypatch.setattr(migrations, "MIGRATIONS", {1: renaming})
    # The version comes first where it is new.
    expected = {"version": 2} | {{"gates": "limits", "source": "origin"}.get(key, key): spec[key] for key in spec}
    expected["version"] = 2
    there = migrate(text)
    assert Document(there.after).values == expected | {"added": {"by": {"default": [1, 2]}}}
    lines = [line for line in difflib.ndiff(text.splitlines(), there.after.splitlines()) if line[:2] in ("- ", "+ ")]
    assert len([line for line in lines if line[0] == "-"]) == len(changed) + ("version" in spec), lines
    if "version" not in spec:
        document = Document(there.after)
        back(document)
        document.verify()
        assert document.text == text


# The command


def test_it_shows_what_changes_and_why_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _slipway(project, "migrate") == 0
    out, err = capsys.readouterr()
    assert err == (
        "specs/image.yaml: version 1 → 3\n"
        "  2: `classes` is `labels` and `data.sample` is `sample`: neither is data that is measured on.\n"
        "  3: Five rounds are measured where none are said; three, the old default, left too much open.\n"
        "1 spec to migrate; next: slipway migrate --write\n"
    )
    assert out.splitlines()[:2] == ["--- specs/image.yaml\tversion 1", "+++ specs/image.yaml\tversion 3"]
    assert "-classes: &classes [zero,   one]\n+labels: &classes [zero,   one]\n" in out
    assert (project / "specs/image.yaml").read_text() == OLD


@pytest.mark.parametrize("text", [OLD, OLD.replace("\n", "\r\n"), OLD.rstrip("\n")], ids=["lf", "crlf", "no last end"])
def test_patch_takes_the_difference(project: Path, capfdbinary: pytest.CaptureFixture[bytes], text: str) -> None:
    path = project / "specs/image.yaml"
    path.write_bytes(text.encode())
    assert _slipway(project, "migrate") == 0
    difference = capfdbinary.readouterr().out
    subprocess.run(["patch", "-p0", "--binary"], cwd=project, input=difference, check=True, capture_output=True)
    assert path.read_bytes().decode() == migrate(text).after


def test_it_writes_whole_files_with_their_mode_and_mark_and_they_load(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "specs/image.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + OLD.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    assert _slipway(project, "migrate", "image", "--write") == 0
    assert capsys.readouterr().err.endswith("✓ wrote 1 spec; next: slipway check\n")
    assert path.read_bytes() == b"\xef\xbb\xbf" + NEW.replace("\n", "\r\n").encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in (project / "specs").iterdir()] == ["image.yaml"]
    spec = loading.load(path, project)
    assert (spec.version, spec.labels, spec.measure.rounds) == (3, ("zero", "one"), 3)
    assert _slipway(project, "migrate", "--write") == 0
    assert capsys.readouterr().err == "✓ nothing to migrate: 1 spec of version 3, this Slipway's\n"


def test_a_link_to_a_spec_stays_a_link(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, kept = project / "specs/image.yaml", project / "image.yaml"
    path.rename(kept)
    path.symlink_to("../image.yaml")
    assert _slipway(project, "migrate", "--write") == 0
    assert path.is_symlink() and kept.read_text() == NEW


def test_a_folder_that_cannot_be_written_is_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert _slipway(project, "migrate", "--write") == 1
    assert "image.yaml cannot be written: No space left on device\n  next: " in capsys.readouterr().err
    assert (project / "specs/image.yaml").read_text() == OLD
    assert [one.name for one in (project / "specs").iterdir()] == ["image.yaml"]


def test_checking_exits_1_only_where_something_would_change(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _slipway(project, "migrate", "--check") == 1
    assert (project / "specs/image.yaml").read_text() == OLD
    (project / "specs/image.yaml").write_text(NEW)
    assert _slipway(project, "migrate", "--check") == 0
    assert _slipway(project, "migrate", "--check", "--write") == 1
    assert "give one of them" in capsys.readouterr().err


def test_one_file_that_cannot_be_migrated_does_not_hold_up_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"torn": "name: [", "newer": "name: newer\nversion: 9\n", "odd": 'version: "1"\n'}.items():
        (project / f"specs/{name}.yaml").write_text(text)
    assert _slipway(project, "migrate", "--write") == 1
    said = capsys.readouterr().err
    assert "specs/torn.yaml:2: not YAML: " in said or "specs/torn.yaml:1: not YAML: " in said
    assert "specs/newer.yaml:2: version: is 9, and this Slipway knows none above 3; update Slipway\n" in said
    assert "specs/odd.yaml:1: version: must be a whole number, at least 1\n" in said
    assert (project / "specs/image.yaml").read_text() == NEW


def test_on_a_terminal_the_difference_is_in_colour_and_cannot_steer_it(
    three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    made = migrate(OLD.replace("# The order", "# The\u202e order"))
    lines = list(command._difference("specs/image.yaml", made))
    assert "\x1b[31m-classes: &classes [zero,   one]\x1b[0m" in lines
    assert "\x1b[32m+labels: &classes [zero,   one]\x1b[0m" in lines
    assert " # The order of the outputs." in lines


# `slipway check`


def test_check_names_an_older_spec_and_the_command_and_nothing_else_of_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _slipway(project, "check") == 1
    assert capsys.readouterr().err == (
        "specs/image.yaml:4: version: is 1 (or left out), and this Slipway reads 3; run: slipway migrate image\n"
        "✗ 1 problem in 1 spec\n"
    )
    assert _slipway(project, "migrate", "--write") == 0
    assert _slipway(project, "check") == 0


@pytest.mark.parametrize(
    ("version", "said"),
    [("2", "is 2, and this Slipway knows none above 1; update Slipway"), ("0", "must be at least 1; it is 0"),
     ("true", "must be a whole number, not true"), ('"1"', "must be a whole number, not the text '1'")],
)  # fmt: skip
def test_check_refuses_a_newer_version_with_its_line(tmp_path: Path, version: str, said: str) -> None:
    shutil.copytree(SPECS / "files", tmp_path / "files")
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs/tensor.yaml"
    path.write_text(f"{(SPECS / 'good/tensor.yaml').read_text()}version: {version}\n")
    _, problems = loading.read(path, tmp_path)
    assert [(problem.line, problem.key) for problem in problems] == [(len(path.read_text().splitlines()), "version")]
    assert said in problems[0].message


def test_the_version_is_no_part_of_what_is_built(tmp_path: Path) -> None:
    shutil.copytree(SPECS / "files", tmp_path / "files")
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs/tensor.yaml"
    without = (SPECS / "good/tensor.yaml").read_text()
    dumped = []
    for text in (without, f"{without}version: 1\n"):
        path.write_text(text)
        dumped.append(loading.load(path, tmp_path).model_dump(mode="json"))
    assert dumped[0] == dumped[1] and "version" not in dumped[0]
