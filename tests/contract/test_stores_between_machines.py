"""Stores between processes: a killed one's upload is gone on with, and what was built travels through OSS."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_models
import oss_server
import pytest
import yaml
from store_services import BUCKET, KEYS, SMALLEST_PART, calls

from stores import oss, s3
from stores.bucket import BucketStore

pytestmark = pytest.mark.contract

PROJECT = Path(__file__).parents[2]
KINDS = {"s3": s3.S3Store, "oss": oss.OssStore}
DYING = """
import os, signal, sys
from pathlib import Path
from stores import {kind}

def moved(done, total):
    print(done, flush=True)
    if done >= 2 * store.part_size:
        os.kill(os.getpid(), signal.SIGKILL)

store = {kind}.{name}({bucket!r}, part_size={part}, at_once=1)
if sys.argv[1] == "put":
    store.put("large", Path(sys.argv[2]), moved=moved)
else:
    store.get("large", Path(sys.argv[2]), moved=moved)
"""


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    variables = KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    ).create_bucket(Bucket=BUCKET)
    yield variables
    server.stop()


@contextmanager
def oss_here() -> Iterator[dict[str, str]]:
    with oss_server.running(BUCKET) as server:
        yield server.variables


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_process_has_moved_is_not_moved_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = SMALLEST_PART[kind]
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * part + 5))
    with s3_server() if kind == "s3" else oss_here() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys.modules[f"stores.{kind}"], "_clients", {})
        store: BucketStore = KINDS[kind](BUCKET, part_size=part, at_once=1)
        assert die(kind, "put", source) == [part, 2 * part]
        assert store.stat("large") is None
        sent = calls(monkeypatch, store, "_send")
        assert store.put("large", source)
        assert [number for _, _, number, _ in sent] == [3, 4]

        target = tmp_path / "back"
        assert die(kind, "get", target) == [part, 2 * part]
        assert not target.exists()
        read = calls(monkeypatch, store, "_read")
        assert store.get("large", target)
    # The kernel had what was written before the second part was told of, which may not have left the process.
    assert [start for _, start, _, _ in read][-1] > 2 * part
    assert len(read) < 4
    assert target.read_bytes() == source.read_bytes()


def die(kind: str, verb: str, path: Path) -> list[int]:
    """Begins to move a file in a process of its own, which is killed after two parts; what it told until then."""
    program = DYING.format(kind=kind, name=KINDS[kind].__name__, bucket=BUCKET, part=SMALLEST_PART[kind])
    done = subprocess.run(
        [sys.executable, "-c", program, verb, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    return [int(line) for line in done.stdout.split()]


def test_a_build_travels_through_oss(tmp_path: Path) -> None:
    """Its nodes through the shared cache, its results by `publish` and `restore`: the same digests everywhere."""
    here = tmp_path / "here"
    write_model(here)
    with oss_server.running(BUCKET) as server:
        cache, kept = f"oss://{BUCKET}/cache", f"oss://{BUCKET}/kept?region={oss_server.REGION}"
        slipway(here, "build", SLIPWAY_BUILD_CACHE=cache, **server.variables)
        artifact = digest(here)

        there = checkout(here, "there")
        said = slipway(there, "build", SLIPWAY_BUILD_CACHE=cache, **server.variables)
        assert digest(there) == artifact
        assert "✓ quantize_dynamic" not in said.stderr, "a node was made that the cache has"

        slipway(here, "publish", "one", "--to", kept, **server.variables)
        empty = checkout(here, "empty")
        said = slipway(empty, "restore", "one", "--from", kept, **server.variables)
        assert said.stdout.startswith(f"one: {artifact[:12]} · ")
        assert digest(empty) == artifact
        assert not (empty / "build/.cache/nodes").exists()
        again = slipway(empty, "build", **server.variables)
        assert "up to date" in again.stderr
        assert not (empty / "build/.cache/nodes").exists(), "what was restored was built again"


def write_model(root: Path) -> None:
    for folder in ("specs", "models"):
        (root / folder).mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: p\n")
    onnx_models.write_linear(root / "models/one.onnx", seed=1)
    spec = {
        "name": "one",
        "task": "tensor",
        "source": {"onnx": {"path": "models/one.onnx"}},
        "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
        "optimize": {"candidates": [["quantize_dynamic"]], "choose": "smallest"},
        "measure": {"rounds": 1, "requests": 5},
        "gates": {"size": {"max_mb": 1}},
    }
    (root / "specs/one.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))


def checkout(root: Path, name: str) -> Path:
    other = root.with_name(name)
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("build"))
    return other


def digest(root: Path) -> str:
    sha256: str = json.loads((root / "build/one/manifest.json").read_bytes())["artifact"]["sha256"]
    return sha256


def slipway(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "SLIPWAY_BUILD_CACHE"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "slipway", *arguments],
        cwd=root,
        env=kept | {"PYTHONPATH": str(PROJECT)} | more,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done
