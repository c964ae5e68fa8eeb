"""What jobs of the local AWS have in common: paths of a container, names of S3 as files, lines as events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localcloud import emulation
from localcloud.sagemaker import job_guard, jobs
from localcloud.sagemaker.jobs import Folder, JobError, JobLog


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Objects of the one bucket there is, `b`."""
    held: dict[str, bytes] = {}

    def listed(name: str, prefix: str) -> list[str]:
        if name != "b":
            raise emulation.ObjectMissingError(name)
        return sorted(key for key in held if key.startswith(prefix))

    def read(name: str, key: str, target: Any) -> None:
        if name != "b" or key not in held:
            raise emulation.ObjectMissingError(key)
        target.write(held[key])

    def write(name: str, key: str, content: bytes, _kind: str) -> bool:
        held[key] = content
        return name == "b"

    monkeypatch.setattr(emulation, "list_objects", listed)
    monkeypatch.setattr(emulation, "read_object", read)
    monkeypatch.setattr(emulation, "write_object", write)
    return held


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("s3://b/data/", ["a", "deep/b"]),
        ("s3://b/data", ["a", "data2/c", "deep/b"]),
        ("s3://b/data/a", ["a"]),
        ("s3://b/data/deep/b", ["b"]),
        ("s3://b", ["data/a", "data/deep/b", "data2/c"]),
    ],
)
def test_a_prefix_gives_files_by_their_names_below_its_folder(
    bucket: dict[str, bytes], tmp_path: Path, prefix: str, names: list[str]
) -> None:
    bucket |= {"data/": b"", "data/a": b"1", "data/deep/b": b"2", "data2/c": b"3"}
    jobs.download_prefix(prefix, tmp_path)
    assert files(tmp_path) == names


@pytest.mark.parametrize("uri", ["s3://b/nothing/", "s3://other/data/"])
def test_what_is_not_in_s3_fails_the_job_as_aws_says_it(bucket: dict[str, bytes], tmp_path: Path, uri: str) -> None:
    with pytest.raises(JobError, match="ClientError: Data download failed"):
        jobs.download_prefix(uri, tmp_path)


def test_files_of_s3_stay_inside_the_folder_that_they_are_for(bucket: dict[str, bytes], tmp_path: Path) -> None:
    bucket["data/../../above"] = b""
    with pytest.raises(JobError, match="is no path of a file"):
        jobs.download_listed("s3://b/data/", ["../../above"], tmp_path / "in")
    with pytest.raises(JobError, match="is not below /opt/ml"):
        Folder(tmp_path).place("/opt/ml/../../etc/passwd")


def test_paths_of_the_container_become_the_jobs_own(tmp_path: Path) -> None:
    assert Folder(tmp_path).translated("--at=/opt/ml/x:/opt/mlx") == f"--at={tmp_path}/opt/ml/x:/opt/mlx"


def test_only_what_changed_is_uploaded_again(bucket: dict[str, bytes], tmp_path: Path) -> None:
    known: dict[Path, tuple[int, int]] = {}
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    jobs.upload_folder(tmp_path, "s3://b/out", known)
    assert bucket == {"out/a": b"1", "out/b": b"2"}
    bucket.clear()
    (tmp_path / "b").write_text("longer")
    jobs.upload_folder(tmp_path, "s3://b/out", known)
    assert bucket == {"out/b": b"longer"}
    with pytest.raises(JobError, match="no such bucket"):
        jobs.upload_folder(tmp_path, "s3://c/out", {})


def test_lines_are_whole_however_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(emulation, "write_log", lambda _region, _group, _stream, lines: told.extend(lines))
    log = JobLog("us-east-1", "group", "stream")
    for chunk in (b"one\ntw", b"o\r\n\n", b"last"):
        log.feed(chunk)
    assert told == ["one", "two"]
    log.close()
    assert told == ["one", "two", "last"]


def test_the_guard_gives_the_exit_code_of_its_command() -> None:
    guard = [sys.executable, job_guard.__file__]
    for command, code in (
        ([sys.executable, "-c", "raise SystemExit(7)"], 7),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 137),
        (["no-such-program"], 127),
    ):
        with subprocess.Popen(
            [*guard, *command], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            assert process.wait(30) == code
