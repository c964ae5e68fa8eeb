"""Wheels in the artifact: for the image's Python, out of an index that is a folder, with all that they need."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from model_build import package, rules, wheels
from model_build.errors import UserError
from model_build.spec import Spec

ARM_IMAGE = "pytorch-inference-graviton:2.4.0-cpu-py311-ubuntu22.04-sagemaker"
STOCK = "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04"


def spec_of(**changes: Any) -> Spec:
    values: dict[str, Any] = {
        "name": "m",
        "task": "tensor",
        "tensor": {"inputs": {"x": {"shape": [3]}}},
        "source": {"onnx": {"path": "m.onnx"}},
    }
    return Spec.model_validate(values | changes)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pip finds instead of the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path, name: str, version: str, tag: str, needs: str = "") -> str:
    """A wheel as small as one can be; gives its file name."""
    file = f"{name}-{version}-{tag}.whl"
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(folder / file, "w") as archive:
        archive.writestr(f"{about}/METADATA", metadata + (f"Requires-Dist: {needs}\n" if needs else ""))
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    return file


def test_the_images_python_is_read_from_its_tag() -> None:
    assert wheels.python_of(STOCK) == "312"
    assert wheels.python_of("pytorch-inference:2.6.0-cpu-py39") == "39"
    assert wheels.python_of("sklearn-inference:1.2-1-cpu") is None


def test_wheels_are_wanted_where_any_environment_wants_them() -> None:
    assert wheels.python_for(spec_of()) is None
    assert wheels.python_for(spec_of(deploy={"network": {"wheels": True}})) == "312"
    prod = {"deploy": {"network": {"isolation": True, "wheels": True}}}
    assert wheels.python_for(spec_of(environments={"prod": prod})) == "312"


def test_wheels_come_for_the_images_python_with_all_that_they_need_in_the_versions_of_here(
    tmp_path: Path, index: Path
) -> None:
    native = wheel(index, "native", "1.0", "cp312-cp312-manylinux_2_28_x86_64", needs="plain")
    for other in ("cp311-cp311-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_aarch64", "cp312-cp312-win_amd64"):
        wheel(index, "native", "1.0", other)
    plain = wheel(index, "plain", "1.0", "py3-none-any")
    wheel(index, "plain", "2.0", "py3-none-any")
    node = tmp_path / "node"
    node.mkdir()
    wheels.fetch(["native==1.0"], ["plain==1.0", "elsewhere==3"], "312", "x86_64", node)
    assert sorted(path.name for path in node.iterdir()) == [native, plain]

    # The artifact's requirements install from them, wherever they are unpacked, and without an index.
    (tmp_path / "m.onnx").write_bytes(b"weights")
    files = package.contents(spec_of(), tmp_path / "m.onnx", tmp_path, node)
    assert {name for name in files if name.startswith("code/wheels/")} == {
        f"code/wheels/{name}" for name in (native, plain)
    }
    content = files["code/requirements.txt"]
    assert isinstance(content, bytes)
    options, pins = content.decode().splitlines()[:2], content.decode().splitlines()[2:]
    assert options == ["--no-index", "--find-links wheels"]
    assert [pin.partition("==")[0] for pin in pins] == ["numpy", "onnxruntime", "orjson"]
    code = tmp_path / "elsewhere" / "code"
    code.mkdir(parents=True)
    node.rename(code / "wheels")
    (code / "requirements.txt").write_text("\n".join([*options, "native==1.0"]))
    for left in index.iterdir():
        left.unlink()
    told = ["--dry-run", "--target", str(tmp_path / "t"), "--only-binary=:all:", "--python-version", "312"]
    told += ["--platform", "manylinux_2_28_x86_64", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *told, "-r", str(code / "requirements.txt")],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert "Would install native-1.0 plain-1.0" in done.stdout, done.stdout + done.stderr


def test_a_package_without_a_wheel_for_the_image_is_named_with_the_next_step(tmp_path: Path, index: Path) -> None:
    wheel(index, "native", "1.0", "cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(UserError, match=r"for Python 3\.12 could not be fetched: .*native==1\.0") as caught:
        wheels.fetch(["native==1.0"], [], "312", "x86_64", tmp_path)
    assert "image: own" in caught.value.next_step


def test_wheels_for_an_arm_instance_are_for_arm(tmp_path: Path, index: Path) -> None:
    arm = spec_of(deploy={"instance": "ml.c7g.large", "image": ARM_IMAGE, "network": {"wheels": True}})
    assert wheels.machine_for(arm) == "aarch64"
    assert wheels.machine_for(spec_of(deploy={"network": {"wheels": True}})) == "x86_64"
    native = wheel(index, "native", "1.0", "cp311-cp311-manylinux_2_28_aarch64")
    legacy = wheel(index, "older", "1.0", "cp311-cp311-manylinux2014_aarch64")
    for name in ("native", "older"):
        wheel(index, name, "1.0", "cp311-cp311-manylinux_2_28_x86_64")
    node = tmp_path / "node"
    node.mkdir()
    wheels.fetch(["native==1.0", "older==1.0"], [], "311", "aarch64", node)
    assert sorted(path.name for path in node.iterdir()) == [native, legacy]


def test_a_package_that_has_wheels_for_intel_alone_is_refused_for_arm(tmp_path: Path, index: Path) -> None:
    wheel(index, "native", "1.0", "cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(UserError) as caught:
        wheels.fetch(["native==1.0"], [], "311", "aarch64", tmp_path)
    assert "for Linux on aarch64" in caught.value.next_step


def test_one_artifact_does_not_bring_packages_for_arm_and_for_intel(tmp_path: Path) -> None:
    arm = {"deploy": {"instance": "ml.c7g.large", "image": ARM_IMAGE}}
    intel = {"image": STOCK.replace("py312", "py311"), "network": {"wheels": True}}
    spec = spec_of(deploy=intel, environments={"prod": arm})
    said = [finding.message for finding in rules.check(spec, tmp_path)]
    assert any("ml.c7g.large, which is Arm, and ml.c7i.large, which is not" in message for message in said)
    without = spec_of(deploy=intel | {"network": {"wheels": False}}, environments={"prod": arm})
    assert not any("which is Arm" in finding.message for finding in rules.check(without, tmp_path))


def test_what_the_lines_pin_is_no_constraint() -> None:
    from importlib.metadata import version

    assert f"numpy=={version('numpy')}" in wheels.constraints(["orjson==1"])
    assert not [line for line in wheels.constraints(["NumPy==1", "a[b]==2"]) if line.startswith("numpy==")]


def test_one_artifact_is_not_for_the_images_of_two_pythons(tmp_path: Path) -> None:
    older = {"deploy": {"image": STOCK.replace("py312", "py310")}}
    spec = spec_of(deploy={"network": {"wheels": True}}, environments={"dev": older})
    assert any("cannot bring packages for the Pythons of" in finding.message for finding in rules.check(spec, tmp_path))
    own = {"deploy": {"image": "own", "network": {"wheels": False}}}
    spec = spec_of(deploy={"network": {"wheels": True}}, environments={"dev": own})
    assert not any("Pythons" in finding.message for finding in rules.check(spec, tmp_path))
