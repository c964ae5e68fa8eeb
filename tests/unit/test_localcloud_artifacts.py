from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from localcloud.sagemaker import artifacts
from localcloud.sagemaker.artifacts import ArtifactError, unpack

URI = "s3://models/m/model.tar.gz"


def archive(path: Path, *members: tarfile.TarInfo, content: bytes = b"content") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "out" / "model"
    target.mkdir(parents=True)
    return target


def test_files_and_folders_are_unpacked(tmp_path: Path, target: Path) -> None:
    path = archive(tmp_path / "a", tarfile.TarInfo("model.onnx"), tarfile.TarInfo("code/inference.py"))
    unpack(path, target, URI)
    assert (target / "code/inference.py").read_bytes() == b"content"


@pytest.mark.parametrize(
    "member", [tarfile.TarInfo("../outside"), tarfile.TarInfo("a/../../outside"), link("link", "../../outside")]
)
def test_a_member_that_leaves_the_directory_is_refused(tmp_path: Path, target: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(ArtifactError, match=f"{URI}.*not safe to unpack"):
        unpack(archive(tmp_path / "a", member), target, URI)
    assert not (tmp_path / "out" / "outside").exists()


def test_a_device_is_refused(tmp_path: Path, target: Path) -> None:
    device = tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    with pytest.raises(ArtifactError, match="not safe to unpack"):
        unpack(archive(tmp_path / "a", device), target, URI)


@pytest.mark.parametrize("missing", [1, 8, 9, 100, 5000])
def test_a_truncated_archive_is_told_as_truncated_with_its_address(tmp_path: Path, target: Path, missing: int) -> None:
    path = archive(tmp_path / "a", tarfile.TarInfo("model.onnx"), content=os.urandom(20_000))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ArtifactError, match=f'"{URI}": it is truncated: the compressed data ends early'):
        unpack(path, target, URI)


def test_damaged_bytes_are_found_by_their_checksum(tmp_path: Path, target: Path) -> None:
    path = archive(tmp_path / "a", tarfile.TarInfo("model.onnx"))
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="compressed data is damaged"):
        unpack(path, target, URI)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a tar archive"),
        (b"PK\x03\x04", "Not a gzipped file"),
        (gzip.compress(b"not a tar archive" * 99), "not a tar archive"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path: Path, target: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactError, match=problem):
        unpack(tmp_path / "a", target, URI)


def test_an_archive_that_would_fill_the_disk_is_refused(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(ArtifactError, match="1,000 bytes"):
        unpack(archive(tmp_path / "a", tarfile.TarInfo("bomb"), content=bytes(1001)), target, URI)
    assert not (target / "bomb").exists()
