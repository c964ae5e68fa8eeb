"""Remote builds: settings, the request that starts one, what it is made from, and its program before it builds."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import onnx_models
import pytest
import yaml

from infra.remote_builds import RemoteBuilds
from localcloud.protocol import _problems, service_model
from model_build import loading
from model_build.errors import UserError
from slipway import remote, remote_job, remote_request, remote_tree
from stores import blobs
from stores.folder import FolderStore

ROLE = "arn:aws:iam::123456789012:role/slipway-ci/slipway-build-job"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("specs", "models", "build"):
        (tmp_path / folder).mkdir()
    onnx_models.write_linear(tmp_path / "models/one.onnx")
    spec = {
        "name": "one",
        "task": "tensor",
        "source": {"onnx": {"path": "models/one.onnx"}},
        "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
        "optimize": {"candidates": [["quantize_dynamic"]]},
        "deploy": {"instance": "ml.m5.large"},
    }
    (tmp_path / "specs/one.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    stack(tmp_path, builds={"role": ROLE, "store": "s3://cache/slipway"})
    return tmp_path


def stack(root: Path, **values: Any) -> None:
    config = {f"slipway:{key}": value for key, value in {"region": "eu-west-1", **values}.items()}
    (root / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))


def request(root: Path, **given: str) -> dict[str, Any]:
    return remote.plan(root, "dev", ["one"], given).request


def test_the_request_is_one_that_sagemaker_takes(root: Path) -> None:
    stack(
        root,
        tags={"team": "vision"},
        builds={
            "role": ROLE,
            "store": "s3://cache/slipway",
            "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/0a1b",
            "subnets": ["subnet-0a1b2c3d"],
            "security_groups": ["sg-0a1b2c3d"],
            "max_hours": 1.5,
            "volume_gb": 50,
        },
    )
    for given in ({}, {"isolated": "true"}):
        asked = request(root, **given)
        shape = service_model("sagemaker").operation_model("CreateProcessingJob").input_shape
        assert list(_problems(asked, shape, "")) == []
    assert asked["ProcessingResources"]["ClusterConfig"] == {
        "InstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "VolumeSizeInGB": 50,
        "VolumeKmsKeyId": "arn:aws:kms:eu-west-1:123456789012:key/0a1b",
    }
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 5400}
    assert asked["NetworkConfig"]["EnableNetworkIsolation"] is True
    assert asked["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0a1b2c3d"]
    assert {"Key": "team", "Value": "vision"} in asked["Tags"]
    assert asked["AppSpecification"]["ImageUri"].split("/")[0].endswith(".dkr.ecr.eu-west-1.amazonaws.com")
    (output,) = asked["ProcessingOutputConfig"]["Outputs"]
    assert output["S3Output"]["S3Uri"] == "s3://cache/slipway"


def test_what_is_given_stands_before_the_stack(root: Path) -> None:
    asked = request(root, instance="ml.c7i.4xlarge", volume_gb="99", store="s3://other")
    assert asked["ProcessingResources"]["ClusterConfig"] == {
        "InstanceCount": 1,
        "InstanceType": "ml.c7i.4xlarge",
        "VolumeSizeInGB": 99,
    }
    assert asked["ProcessingInputs"][0]["S3Input"]["S3Uri"].startswith("s3://other/jobs/")
    assert "ProcessingOutputConfig" not in asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"instance": "c7i"}, "slipway:builds: instance: String should match"),
        ({"hours": "3"}, "slipway:builds: hours: Extra inputs"),
        ({"subnets": "[subnet-0a1b2c3d]"}, "subnets, security_groups: a network needs both"),
        ({"store": "file:///srv/cache"}, "slipway:builds: store:"),
        ({"image": "pytorch-nowhere:1", "role": "role"}, "slipway:builds: role:"),
    ],
)
def test_settings_that_cannot_be_used_are_named(root: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        request(root, **given)


def test_a_stack_that_says_nothing_of_remote_builds_says_what_lacks(root: Path) -> None:
    stack(root)
    with pytest.raises(UserError, match="what remote builds use: store and role"):
        request(root)


def test_names_of_jobs_are_short_enough_and_never_the_same() -> None:
    long = "a" * 40
    names = {remote_request.job_name([long]) for _ in range(20)} | {remote_request.job_name(["a", "b"])}
    assert len(names) == 21
    assert all(len(name) <= 63 and not name.endswith("-") for name in names)


def test_the_tree_has_what_git_has_as_it_is_now_and_what_specs_name(root: Path) -> None:
    (root / ".gitignore").write_text("*.onnx\nbuild/\n")
    for name in ("kept.py", "deleted.py", "untracked.py", "build/old"):
        (root / name).write_text(name)
    for arguments in (["init", "-q"], ["add", ".gitignore", "kept.py", "deleted.py", "specs"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    (root / "deleted.py").unlink()
    (root / "kept.py").write_text("changed")
    files = remote.plan(root, "dev", ["one"], {}).tree.files
    project = {name.removeprefix("project/") for name in files if name.startswith("project/")}
    assert project == {".gitignore", "kept.py", "specs/one.yaml", "models/one.onnx"}
    assert files["project/kept.py"].sha256 == hashlib.sha256(b"changed").hexdigest()
    code = {name.split("/")[1] for name in files if name.startswith("slipway/")}
    assert code == set(remote_tree.ROOMS)


def test_only_contents_that_the_store_lacks_are_sent(root: Path) -> None:
    spec, _ = loading.load_all(["specs/one.yaml"], root)
    (root / "same.py").write_text("twice")
    (root / "again.py").write_text("twice")
    tree = remote_tree.gather(root, spec)
    store = FolderStore(root / "build/store")
    absent = remote_tree.missing(tree, store)
    assert len(absent) == len(tree.blobs()) < len(tree.files)
    remote_tree.upload(absent, store)
    assert remote_tree.missing(tree, store) == []
    (root / "same.py").write_text("another")
    tree = remote_tree.gather(root, spec)
    assert [file.path.name for file in remote_tree.missing(tree, store)] == ["same.py"]
    (store.directory / blobs.name(tree.files["project/again.py"].sha256)).write_text("cut off")
    assert [file.path.name for file in remote_tree.missing(tree, store)] == ["again.py", "same.py"]


def laid_out(tmp_path: Path, files: dict[str, bytes]) -> dict[str, str]:
    listing = {}
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        path = tmp_path / "input/tree" / blobs.name(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        listing[name] = sha256
    return listing


def test_the_job_lays_out_what_arrived_and_refuses_what_is_damaged(tmp_path: Path) -> None:
    contents, tree = tmp_path / "input/tree", tmp_path / "tree"
    listing = laid_out(tmp_path, {"project/a/b.txt": b"one", "project/c.txt": b"one", "slipway/empty.py": b""})
    remote_job.lay_out(listing, contents, tree)
    assert (tree / "project/a/b.txt").read_bytes() == (tree / "project/c.txt").read_bytes() == b"one"
    (contents / blobs.name(listing["project/c.txt"])).write_bytes(b"two")
    with pytest.raises(remote_job.JobError, match="is damaged"):
        remote_job.lay_out(listing, contents, tree)
    with pytest.raises(remote_job.JobError, match="did not arrive"):
        remote_job.lay_out({"x": "0" * 64}, contents, tree)
    with pytest.raises(remote_job.JobError, match="no path inside"):
        remote_job.lay_out({"../x": listing["slipway/empty.py"]}, contents, tree)


def test_the_job_finds_what_the_image_lacks() -> None:
    from importlib.metadata import version

    lock = (
        f"# made\npydantic=={version('pydantic')} \\\n    --hash=sha256:0\nclick==0.1 \\\n"
        "windows-only==1 ; sys_platform == 'win32' \\\n"
    )
    assert list(remote_job.differing([lock, "no-such-package==3.0\n"])) == ["click==0.1", "no-such-package==3.0"]


def test_a_job_without_a_network_says_which_package_its_image_lacks(tmp_path: Path) -> None:
    folder = tmp_path / "processing"
    listing = laid_out(folder, {"slipway/requirements/build.txt": b"no-such-package==3.0\n"})
    job = {
        "files": listing,
        "requirements": ["slipway/requirements/build.txt"],
        "isolated": True,
        "python": "3.11.7",
        "machine": "here",
    }
    (folder / "input/job").mkdir()
    (folder / "input/job/job.json").write_text(json.dumps(job))
    with pytest.raises(remote_job.JobError, match=r"lacks no-such-package==3\.0"):
        remote_job.run(folder, tmp_path / "message")


def test_what_a_job_leaves_to_be_told_is_cut_to_what_sagemaker_tells(tmp_path: Path) -> None:
    remote_job.leave(tmp_path / "output/message", "x" * 5000)
    assert len((tmp_path / "output/message").read_text()) == remote_job.MESSAGE_LIMIT


def test_the_default_image_is_one_whose_registry_is_known() -> None:
    from infra.images import image_uri

    assert image_uri(RemoteBuilds().image, "eu-central-1").startswith("763104351884.")
