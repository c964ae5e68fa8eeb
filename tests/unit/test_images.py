"""The tables of AWS's images and of our own, what `slipway check` refuses by them, and how they are read anew."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from infra import image_refresh, image_repository, images, own_image
from slipway import cli, retired_images
from slipway.stacks import StackFile

ROOT = Path(__file__).parents[2]
ENDED = "pytorch-inference:2.6.0-cpu-py312"
DAY = date(2026, 11, 24)


def test_a_repository_comes_from_the_account_that_publishes_it_in_the_region():
    assert images.image_uri("sagemaker-xgboost:3.0-5", "us-east-1").startswith("683313688378.dkr.ecr.us-east-1.")
    assert images.image_uri("pytorch-inference:2.6.0", "us-east-1").startswith("763104351884.dkr.ecr.us-east-1.")


def test_a_repository_that_is_not_published_in_a_region_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"no 'sagemaker-xgboost' in ap-east-2 .*slipway images refresh"):
        images.image_uri("sagemaker-xgboost:3.0-5", "ap-east-2")


def test_an_image_past_its_end_of_patch_is_named_with_the_date_and_an_alternative():
    said = images.retired(ENDED, DAY)
    assert "no security patches since 2026-06-30" in said
    assert "huggingface-pytorch-inference" in said
    assert "image: own" in said


def test_the_same_version_for_arm_ends_with_it():
    for name in ("pytorch-inference-graviton", "pytorch-inference-arm64"):
        assert "no security patches since 2026-06-30" in images.retired(ENDED.replace("pytorch-inference", name), DAY)
    assert images.retired("pytorch-inference-arm64:2.9.0-cpu-py312", DAY) is None


def test_an_image_is_good_on_its_last_day():
    assert images.retired(ENDED, date(2026, 6, 30)) is None
    assert images.retired(ENDED, date(2026, 7, 1)) is not None


@pytest.mark.parametrize(
    "image",
    [
        "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04",
        "pytorch-inference:2.60.0-cpu",
        "own",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0",
        "quay.io/pytorch-inference:2.6.0",
    ],
)
def test_other_images_versions_and_registries_are_left_alone(image):
    assert images.retired(image, DAY) is None


def test_a_whole_uri_of_awss_own_is_judged_as_its_short_name():
    assert images.retired("763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-inference:2.5.1-cpu", DAY)


def test_the_default_image_and_those_of_the_shipped_specs_are_still_patched():
    assert cli.run(["--root", str(ROOT), "check"]) == 0


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    shutil.copytree(Path(__file__).parent / "specs/good", tmp_path / "specs")
    for name in ("files", "classifier"):
        shutil.copytree(Path(__file__).parent / "specs" / name, tmp_path / name)
    path = tmp_path / "specs/image.yaml"
    text = path.read_text()
    text = text[: text.index("deploy:")] if "deploy:" in text else text
    path.write_text(f"{text}\ndeploy:\n  image: {ENDED}\nenvironments:\n  prod:\n    deploy:\n      image: {ENDED}-x\n")
    return path


def test_check_refuses_an_ended_image_with_file_line_and_key(spec, capsys):
    lines = spec.read_text().splitlines()
    assert cli.run(["--root", str(spec.parents[1]), "check", "image"]) == 1
    said = capsys.readouterr().err
    first = lines.index(f"  image: {ENDED}") + 1
    second = lines.index(f"      image: {ENDED}-x") + 1
    assert f"specs/image.yaml:{first}: deploy.image: pytorch-inference 2.6 gets no security patches" in said
    assert f"specs/image.yaml:{second}: environments.prod.deploy.image: " in said
    assert "✗ 2 problems in 1 spec" in said


def test_a_spec_is_good_before_the_end_comes(spec):
    from model_build.loading import load

    root = spec.parents[1]
    assert retired_images.problems({spec: load(spec, root)}, root, date(2026, 1, 1)) == []


TABLES = {
    "pytorch.json": {
        "training": {"versions": {"2.6": {"registries": {"eu-west-1": "1" * 12}, "repository": "pytorch-training"}}},
        "inference": {
            "version_aliases": {"2": "2.6"},
            "versions": {
                "2.5": {"registries": {"eu-west-1": "2" * 12, "us-iso-east-1": "9" * 12}, "repository": "serve"},
                "2.6": {"registries": {"us-east-1": "3" * 12}, "repository": "serve"},
            },
        },
        "inference_graviton": {"versions": {"2.6": {"registries": {"eu-west-1": "4" * 12}, "repository": "serve-arm"}}},
    },
    "trees.json": {
        "scope": ["inference", "training"],
        "versions": {"1": {"registries": {"eu-west-1": "5" * 12}, "repository": "trees"}},
    },
    "jobs.json": {
        "scope": ["training"],
        "versions": {"1": {"registries": {"eu-west-1": "6" * 12}, "repository": "jobs"}},
    },
    "gpus.json": {"ml.g5": {"gpus": 1}},
}


def test_a_refresh_reads_the_inference_repositories_of_all_versions_without_isolated_regions(tmp_path):
    for name, content in TABLES.items():
        (tmp_path / name).write_text(json.dumps(content))
    table = image_refresh.read(tmp_path, "a test", DAY)
    assert dict(table.repositories) == {
        "serve": {"2" * 12: ("eu-west-1",), "3" * 12: ("us-east-1",)},
        "serve-arm": {"4" * 12: ("eu-west-1",)},
        "trees": {"5" * 12: ("eu-west-1",)},
    }
    assert images.Registries.model_validate_json(image_refresh.to_json(table)) == table


def test_the_committed_table_is_what_a_refresh_wrote():
    path = images.FOLDER / "images.json"
    assert path.read_text() == image_refresh.to_json(images.registries())


class Installed:
    """A distribution whose tables lie in a folder."""

    version = "9.9"

    def __init__(self, folder):
        self.folder = folder

    def locate_file(self, path):
        return self.folder / path


def test_the_command_reads_the_installed_package_without_importing_it(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "site" / image_refresh.PACKAGES["sagemaker-core"]
    folder.mkdir(parents=True)
    (folder / "trees.json").write_text(json.dumps(TABLES["trees.json"]))
    monkeypatch.setattr(image_refresh.importlib.metadata, "distribution", lambda name: Installed(tmp_path / "site"))
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    (tmp_path / "infra/tables").mkdir(parents=True)
    written = tmp_path / "infra/tables/images.json"
    written.write_text("{}")
    assert cli.run(["--root", str(tmp_path), "images", "refresh"]) == 0
    table = images.Registries.model_validate_json(written.read_bytes())
    assert list(table.repositories) == ["trees"]
    assert table.source == "sagemaker-core 9.9, image_uri_config"


def test_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(image_refresh, "PACKAGES", {"no-such-package-here": "x"})
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    (tmp_path / "infra/tables").mkdir(parents=True)
    (tmp_path / "infra/tables/images.json").write_text("{}")
    assert cli.run(["--root", str(tmp_path), "images", "refresh"]) == 1
    assert "pip install --no-deps sagemaker-core" in capsys.readouterr().err


@pytest.fixture
def code(tmp_path):
    (tmp_path / "serving/tasks").mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    for name in ("serving/Dockerfile", "requirements/serving.txt", "serving/server.py", "serving/tasks/text.py"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "changed", ["serving/Dockerfile", "requirements/serving.txt", "serving/server.py", "serving/tasks/text.py"]
)
def test_a_change_of_anything_in_the_image_is_another_tag(code, changed):
    before = own_image.tag(code)
    assert own_image.tag(code) == before
    (code / changed).write_text("other")
    assert own_image.tag(code) != before


def test_a_file_that_is_moved_is_another_tag_and_one_that_is_not_copied_is_not(code):
    before = own_image.tag(code)
    (code / "serving/README.md").write_text("x")
    assert own_image.tag(code) == before
    (code / "serving/tasks/text.py").rename(code / "serving/tasks/words.py")
    assert own_image.tag(code) != before


def test_our_image_lies_in_the_stacks_own_repository(code):
    uri = own_image.uri("123456789012", "eu-west-1", "dev", code)
    assert uri == f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/slipway-serving-dev:{own_image.tag(code)}"
    assert images.repository(uri) == own_image.repository("123456789012", "eu-west-1", "dev")


def test_the_image_for_arm_has_a_tag_of_its_own(code):
    uri = own_image.uri("123456789012", "eu-west-1", "dev", code, arm=True)
    assert uri.endswith(f":{own_image.tag(code)}-arm64")


def test_without_the_serving_code_the_message_names_what_is_missing(tmp_path):
    with pytest.raises(own_image.NoServingCodeError, match=r"serving/Dockerfile is not there"):
        own_image.tag(tmp_path)


def test_the_repository_forgets_untagged_images_and_keeps_the_newest():
    untagged, old = image_repository.lifecycle()["rules"]
    assert untagged["selection"]["tagStatus"] == "untagged"
    assert old["selection"]["countNumber"] == image_repository.KEPT_IMAGES


class Ecr:
    """What is used of boto3's client."""

    class exceptions:
        class ImageNotFoundException(Exception): ...

        class RepositoryNotFoundException(Exception): ...

    def __init__(self, error=None):
        self.error = error

    def describe_images(self, **request):
        self.request = request
        if self.error:
            raise self.error()
        return {"imageDetails": [{}]}

    def get_authorization_token(self):
        return {"authorizationData": [{"authorizationToken": "QVdTOmh1bnRlcjI="}]}


STACK = StackFile("dev", "eu-west-1", "123456789012", ())


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A container program that writes down how it was called, and with what on its standard input."""
    program, log = tmp_path / "bin/docker", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = login ] && cat >> {log}\nexit 0\n')
    program.chmod(0o755)
    return str(program), log


def test_a_push_builds_logs_in_without_the_password_among_the_arguments_and_pushes(docker):
    from slipway import own_image as pushing
    from slipway.console import Console

    program, log = docker
    where = pushing.destination(STACK)
    ecr = Ecr(Ecr.exceptions.ImageNotFoundException)
    assert pushing.push(program, where, ecr, Console())
    build, login, password, push = log.read_text().replace("hunter2", "hunter2\n").split("\n")[:4]
    assert build.startswith("build --platform linux/amd64 --file ") and f"--tag {where.uri} " in build
    assert login == "login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert password.startswith("hunter2")
    assert push == f"push {where.uri}"
    assert ecr.request["imageIds"] == [{"imageTag": own_image.tag()}]


def test_the_image_for_arm_is_built_for_arm_and_pushed_beside_the_other(docker):
    from slipway import own_image as pushing
    from slipway.console import Console

    program, log = docker
    where = pushing.destination(STACK, arm=True)
    assert where.uri == f"{pushing.destination(STACK).uri}-arm64"
    ecr = Ecr(Ecr.exceptions.ImageNotFoundException)
    assert pushing.push(program, where, ecr, Console())
    lines = log.read_text().splitlines()
    assert lines[0].startswith("build --platform linux/arm64 ") and f"--tag {where.uri} " in lines[0]
    assert lines[-1].endswith(f"push {where.uri}")
    assert ecr.request["imageIds"] == [{"imageTag": own_image.tag(arm=True)}]


def test_an_image_that_is_there_is_not_pushed_again(docker):
    from slipway import own_image as pushing
    from slipway.console import Console

    program, log = docker
    assert not pushing.push(program, pushing.destination(STACK), Ecr(), Console())
    assert not log.exists()


def test_a_missing_repository_and_a_missing_program_are_clear_messages(docker, monkeypatch):
    from model_build.errors import UserError
    from slipway import own_image as pushing
    from slipway.console import Console

    program, _ = docker
    with pytest.raises(UserError, match="has no repository slipway-serving-dev in eu-west-1 yet"):
        pushing.push(program, pushing.destination(STACK), Ecr(Ecr.exceptions.RepositoryNotFoundException), Console())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="neither docker nor podman"):
        pushing.container_program()


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (StackFile("local", "us-east-1", "", ()), "runs the server as processes"),
        (StackFile("dev", "us-east-1", "", ()), "names no account"),
        (StackFile("dev", "", "123456789012", ()), "names no region"),
    ],
)
def test_a_stack_that_cannot_have_the_image_says_why(stack, said):
    from model_build.errors import UserError
    from slipway import own_image as pushing

    with pytest.raises(UserError, match=said):
        pushing.destination(stack)
