"""What was built goes to stores and comes back the same, whichever store it was."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from built_models import write_model
from store_services import BUCKET, oss_here, s3_here

from model_build.errors import UserError
from model_build.manifest import Manifest, read_manifest, verify
from slipway import cli, publication
from slipway.commands import deploy
from slipway.console import Console
from stores.opening import opened

OSS = f"oss://{BUCKET}/slipway?region=cn-hangzhou"
S3 = f"s3://{BUCKET}/slipway"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "Pulumi.yaml").write_text("name: p\n")
    built(root, b"an artifact")
    return root


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both, at the same time."""
    with ExitStack() as stack:
        stack.enter_context(s3_here(monkeypatch))
        stack.enter_context(oss_here(monkeypatch))
        yield


def built(root: Path, artifact: bytes, **deploy: Any) -> Manifest:
    manifest = write_model(root, "news", artifact=artifact, **deploy)
    (root / "build/news/report.md").write_text("# news\n")
    (root / "build/news/sample.json").write_text('{"inputs": "…"}\n')
    return manifest


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def checkout(project: Path, name: str) -> Path:
    """The same files with nothing built."""
    other = project.with_name(name)
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("build"))
    return other


def slipway(root: Path, *arguments: str) -> int:
    return cli.run(["--root", str(root), *arguments])


def test_the_same_artifact_is_restored_from_either_cloud_into_an_empty_checkout(
    project: Path, clouds: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(project / "build/news")
    assert slipway(project, "publish", "news", "--to", OSS, "--to", S3) == 0
    sha256 = read_manifest(project / "build/news/manifest.json").artifact.sha256
    said = capsys.readouterr().out.splitlines()
    assert said == [f"news: {sha256[:12]} is in oss://models/slipway", f"news: {sha256[:12]} is in s3://models/slipway"]
    for url in (OSS, S3):
        other = checkout(project, url[:3].strip(":"))
        assert slipway(other, "restore", "news", "--from", url) == 0
        assert contents(other / "build/news") == before
        manifest = read_manifest(other / "build/news/manifest.json")
        assert manifest.artifact.sha256 == sha256
        assert verify(manifest, other / "build/news", other) == []


def test_what_is_there_is_not_sent_again(project: Path, tmp_path: Path) -> None:
    url = (tmp_path / "kept").as_uri()
    (first,) = publication.to_stores(project, "news", [url], Console())
    (again,) = publication.to_stores(project, "news", [url], Console())
    built(project, b"another artifact")
    (changed,) = publication.to_stores(project, "news", [url], Console())
    # The report and the sample stay as they are.
    assert (first.sent, again.sent, changed.sent) == (4, 0, 2)
    assert len(list((tmp_path / "kept/models/news").iterdir())) == 2


def test_the_newest_of_this_checkouts_files_comes_back(project: Path, tmp_path: Path) -> None:
    url = (tmp_path / "kept").as_uri()
    old = published_at(project, url, 1000, b"old")
    new = published_at(project, url, 2000, b"new")
    (project / "specs/news.yaml").write_text("name: news\nchanged: true\n")
    manifest = read_manifest(project / "build/news/manifest.json")
    inputs = {"specs/news.yaml": hashlib.sha256((project / "specs/news.yaml").read_bytes()).hexdigest()}
    later = manifest.model_copy(update={"inputs": inputs}).sealed()
    (project / "build/news/manifest.json").write_text(later.to_json())
    publication.to_stores(project, "news", [url], Console())

    assert publication.restore(project, "news", url, None, Console()).digest == later.digest
    (project / "specs/news.yaml").write_text("name: news\n")
    assert publication.restore(project, "news", url, None, Console()).digest == new.digest
    assert publication.restore(project, "news", url, old.artifact.sha256[:8], Console()).digest == old.digest
    assert publication.restore(project, "news", url, later.digest, Console()).digest == later.digest


def published_at(project: Path, url: str, seconds: int, artifact: bytes) -> Manifest:
    manifest = built(project, artifact)
    (done,) = publication.to_stores(project, "news", [url], Console())
    name = hashlib.sha256(done.publication.as_bytes()).hexdigest()
    os.utime(Path(url.removeprefix("file://")) / f"models/news/{name}.json", (seconds, seconds))
    return manifest


def test_a_checkout_that_nothing_was_built_from_is_told_what_there_is(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = (tmp_path / "kept").as_uri()
    publication.to_stores(project, "news", [url], Console())
    (project / "specs/news.yaml").write_text("name: news\nchanged: true\n")
    assert slipway(project, "restore", "news", "--from", url) == 1
    sha256 = hashlib.sha256(b"an artifact").hexdigest()
    said = capsys.readouterr().err
    assert f"holds news {sha256[:12]}, none of which was built from the files of this checkout" in said
    assert f"slipway restore news --digest {sha256[:12]}" in said
    assert slipway(project, "restore", "other", "--from", url) == 1
    assert "holds nothing of other" in capsys.readouterr().err
    assert slipway(project, "restore", "../news", "--from", url) == 1
    assert "'../news' is no name of a model" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["blob", "publication", "swapped", "gone"])
def test_what_is_damaged_is_not_restored_and_what_was_there_stays(project: Path, tmp_path: Path, damage: str) -> None:
    url, kept = (tmp_path / "kept").as_uri(), tmp_path / "kept"
    publication.to_stores(project, "news", [url], Console())
    sha256 = hashlib.sha256(b"an artifact").hexdigest()
    blob = kept / "blobs" / sha256[:2] / sha256
    (record,) = (kept / "models/news").iterdir()
    if damage == "blob":
        blob.write_bytes(b"other bytes")
    elif damage == "gone":
        blob.unlink()
    elif damage == "publication":
        record.write_bytes(record.read_bytes().replace(b'"news"', b'"news "'))
    else:  # a whole publication, but of an artifact that the manifest does not name
        other = hashlib.sha256(b"another").hexdigest()
        (kept / "blobs" / other[:2]).mkdir(exist_ok=True)
        (kept / "blobs" / other[:2] / other).write_bytes(b"another")
        values = json.loads(record.read_bytes())
        values["files"]["model.tar.gz"] = {"sha256": other, "bytes": 7}
        content = publication.Publication.model_validate(values).as_bytes()
        record.unlink()
        (kept / "models/news" / f"{hashlib.sha256(content).hexdigest()}.json").write_bytes(content)
    built(project, b"what is here")
    before = contents(project / "build/news")
    with pytest.raises(UserError, match=r"news cannot be restored: .*(damaged|not of its artifact|is not there)"):
        publication.restore(project, "news", url, sha256[:12], Console())
    assert contents(project / "build/news") == before
    assert [path.name for path in (project / "build").iterdir() if path.name.startswith(".news")] == []


def test_a_publication_names_files_of_one_folder_alone() -> None:
    values = {"name": "news", "manifest": "0" * 64, "artifact": "0" * 64, "inputs": {}}
    for name in ("../escaped", "/etc/passwd", ".hidden", "a/b"):
        with pytest.raises(ValueError, match="files"):
            publication.Publication.model_validate(values | {"files": {name: {"sha256": "0" * 64, "bytes": 1}}})


def test_what_is_not_as_it_was_built_is_not_published(project: Path, tmp_path: Path) -> None:
    (project / "build/news/model.tar.gz").write_bytes(b"changed")
    with pytest.raises(UserError, match="is not what was built"):
        publication.to_stores(project, "news", [(tmp_path / "kept").as_uri()], Console())
    assert not (tmp_path / "kept").exists()


def test_a_spec_says_where_its_models_are_mirrored_to_in_each_environment(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev, prod = (tmp_path / "dev").as_uri(), (tmp_path / "prod").as_uri()
    built(project, b"x", deploy={"mirrors": [dev]}, environments={"prod": {"mirrors": [prod, dev]}})
    assert slipway(project, "publish") == 0
    assert (tmp_path / "dev").is_dir() and not (tmp_path / "prod").exists()
    assert slipway(project, "publish", "--env", "prod") == 0
    assert (tmp_path / "prod/models/news").is_dir()
    built(project, b"x")
    assert slipway(project, "publish") == 1
    assert slipway(project, "publish", "news") == 1
    said = capsys.readouterr().err
    assert "nothing that was built has mirrors" in said
    assert "news has no mirrors" in said


def test_a_bucket_that_is_not_there_is_the_users_to_make(
    project: Path, clouds: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slipway(project, "publish", "news", "--to", "oss://nowhere?region=cn-hangzhou") == 1
    assert "make the bucket, or deploy the stack that makes it" in capsys.readouterr().err


class TestDeploying:
    """`slipway deploy`, with a `pulumi` that only says that it ran."""

    @pytest.fixture
    def deploying(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        (project / "Pulumi.dev.yaml").write_text("config:\n  slipway:region: eu-west-1\n")
        (project / "Pulumi.local.yaml").write_text("config: {}\n")
        done: list[str] = []

        def run(environment: str, up: Any = lambda: None) -> list[str]:
            console = Console()
            waiting = deploy._mirrored(project, environment, console)
            done.append("up")
            up()
            deploy._publish_to(project, waiting, console)
            return done

        return run

    def test_it_publishes_before_anything_is_deployed(self, project: Path, tmp_path: Path, deploying: Any) -> None:
        url = (tmp_path / "kept").as_uri()
        built(project, b"x", environments={"dev": {"mirrors": [url]}})

        def up() -> None:
            assert (tmp_path / "kept/models/news").is_dir()

        assert deploying("dev", up) == ["up"]

    def test_a_mirror_that_the_stack_makes_is_published_to_when_it_is_there(
        self, project: Path, deploying: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = "oss://made-by-the-stack/a?region=cn-hangzhou"
        built(project, b"x", deploy={"mirrors": [url]})
        with oss_here(monkeypatch) as server:
            from oss_server import Bucket

            deploying("dev", lambda: server.buckets.update({"made-by-the-stack": Bucket()}))
            assert re.fullmatch(r"models/news/\w{64}\.json", next(found.name for found in opened(url).list("models")))
            del server.buckets["made-by-the-stack"]
            with pytest.raises(UserError, match=r"news is deployed, but not published: .*NoSuchBucket"):
                deploying("dev")

    def test_a_mirror_that_cannot_be_reached_stops_the_deployment(
        self, project: Path, tmp_path: Path, deploying: Any
    ) -> None:
        (tmp_path / "kept").write_text("no folder")
        built(project, b"x", deploy={"mirrors": [(tmp_path / "kept").as_uri()]})
        with pytest.raises(UserError, match="news was not published"):
            deploying("dev")

    def test_on_this_machine_nothing_is_mirrored(self, project: Path, tmp_path: Path, deploying: Any) -> None:
        built(project, b"x", deploy={"mirrors": [(tmp_path / "kept").as_uri()]})
        assert deploying("local") == ["up"]
        assert not (tmp_path / "kept").exists()
