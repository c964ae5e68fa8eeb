"""Many builds: in parallel, at once, killed, on a full disk, on a cluster, and out of a shared cache."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_models
import pytest
import yaml
from processes import of_session

from model_build import stat_index
from model_build.manifest import read_manifest, verify

pytestmark = pytest.mark.contract

SLIPWAY = Path(stat_index.SLIPWAY)
SPEC: dict[str, Any] = {
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [64]}}, "outputs": ["logits"]},
    "optimize": {"candidates": [[], ["quantize_dynamic"], [{"quantize_dynamic": {"per_channel": False}}]]},
    "measure": {"rounds": 1, "requests": 5},
    "gates": {"size": {"max_mb": 1}},
}
SMALLEST = {"candidates": [["quantize_dynamic"]], "choose": "smallest"}
"""One candidate: which is chosen does not depend on measured times."""


def write_model(root: Path, name: str, **changes: Any) -> None:
    for folder in ("specs", "models"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Pulumi.yaml").write_text("name: p\n")
    onnx_models.write_linear(root / "models" / f"{name}.onnx", seed=len(name))
    source = {"onnx": {"path": f"models/{name}.onnx"}}
    values = {"name": name, "source": source} | SPEC | changes
    (root / "specs" / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("one", "three", "twelve"):
        write_model(root, name)
    return root


def environment(**more: str) -> dict[str, str]:
    without = {name: value for name, value in os.environ.items() if name != "SLIPWAY_BUILD_CACHE"}
    return without | {"PYTHONPATH": os.pathsep.join((str(SLIPWAY), str(Path(__file__).parent)))} | more


def slipway(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "slipway", *arguments],
        cwd=root,
        env=environment(**more),
        capture_output=True,
        text=True,
    )


def start(root: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "slipway", *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a script ignores it, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **more,
    )


def built(done: subprocess.CompletedProcess[str]) -> dict[str, bool]:
    assert done.returncode == 0, done.stderr
    return {model["name"]: model["built"] for model in json.loads(done.stdout)["models"]}


def digests(root: Path) -> dict[str, str]:
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (root / "build").glob("*/model.tar.gz")
    }


def assert_whole(root: Path, *names: str) -> None:
    for name in names:
        folder = root / "build" / name
        assert verify(read_manifest(folder / "manifest.json"), folder, root) == []
    assert {path.name for path in (root / "build").iterdir() if path.is_dir()} == {".cache", *names}
    assert not list((root / "build" / ".cache" / "nodes").glob("tmp-*"))


def test_specs_build_at_once_and_the_second_time_nothing_does(project: Path) -> None:
    done = slipway(project, "build", "-j", "2", "--json")
    assert built(done) == {"one": True, "three": True, "twelve": True}
    assert_whole(project, "one", "three", "twelve")
    assert "✓ build one, three, twelve, 2 at once" in done.stderr
    assert "one: ✓ quantize_dynamic " in done.stderr
    again = slipway(project, "build", "--json")
    assert built(again) == {"one": False, "three": False, "twelve": False}
    assert again.stderr == "✓ up to date: one, three, twelve\n"
    plain = slipway(project, "build")
    assert [line.partition(":")[0] for line in plain.stdout.splitlines()] == ["one", "three", "twelve"]


def test_an_edited_spec_rebuilds_only_itself(project: Path) -> None:
    slipway(project, "build", "-j", "2")
    write_model(project, "three", description="edited")
    assert built(slipway(project, "build", "--json")) == {"one": False, "three": True, "twelve": False}


def test_one_that_fails_does_not_keep_the_others_and_json_tells_both(project: Path) -> None:
    write_model(project, "three", gates={"size": {"max_mb": 0.0001}})
    (project / "models" / "twelve.onnx").write_bytes(b"no model")
    for jobs in ("1", "2"):
        done = slipway(project, "build", "-j", jobs, "--json")
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)
        assert [model["name"] for model in told["models"]] == ["one"]
        first, second = told["failures"]
        assert first.startswith("three: no candidate passes every gate")
        assert second.startswith("twelve: source.onnx: ")
        assert "Traceback" not in done.stderr


def test_parallel_builds_of_one_project_do_everything_once(project: Path) -> None:
    started = [start(project, "build", "-j", "2", "--json") for _ in range(3)]
    outcomes = []
    for process in started:
        out, err = process.communicate()
        assert process.returncode == 0, err
        outcomes.append({model["name"]: model["built"] for model in json.loads(out)["models"]})
    for name in ("one", "three", "twelve"):
        assert sorted(outcome[name] for outcome in outcomes) == [False, False, True]
    assert_whole(project, "one", "three", "twelve")


def test_a_build_killed_at_any_moment_leaves_nothing_partial_and_the_next_one_is_the_same(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write_model(root, "m", optimize=SMALLEST)
    began = time.monotonic()
    assert slipway(root, "build").returncode == 0
    took = time.monotonic() - began
    expected = digests(root)
    moments = random.Random(7)
    for number in range(15):
        shutil.rmtree(root / "build" / ".cache")
        if number % 2:
            shutil.rmtree(root / "build" / "m")
        process = start(root, "build", *(["-j", "2"] if number % 3 == 0 else []))
        with_time = moments.uniform(0, took)
        try:
            process.wait(with_time)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        artifact = root / "build" / "m" / "model.tar.gz"
        if artifact.parent.exists():  # as a whole or not at all
            assert verify(read_manifest(artifact.with_name("manifest.json")), artifact.parent, root) == []
        assert slipway(root, "build").returncode == 0
        assert digests(root) == expected
    shutil.rmtree(root / "build" / "m")
    assert slipway(root, "build").returncode == 0  # sweeps what the last kill left
    assert_whole(root, "m")


def test_an_interrupted_build_ends_its_processes_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / "project"
    for name in ("a", "bb", "ccc"):
        write_model(root, name, measure={"rounds": 1000, "requests": 2000})
    process = start(root, "build", "-j", "2", start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "start 2" in line or "start 4" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "slipway: interrupted"
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(process.pid) == []


def test_the_processes_of_a_killed_build_end_too(tmp_path: Path) -> None:
    root = tmp_path / "project"
    for name in ("a", "bb"):
        write_model(root, name, measure={"rounds": 1000, "requests": 2000})
    process = start(root, "build", "-j", "2", start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "read the source" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(process.pid) == []


def test_a_full_disk_is_a_clear_message_and_the_old_artifact_stays(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write_model(root, "m", optimize=SMALLEST)
    assert slipway(root, "build").returncode == 0
    before = digests(root)
    write_model(root, "m", optimize={"candidates": [[]]})
    shutil.rmtree(root / "build" / ".cache")
    # Files may not grow beyond 4 KB: what a full disk does to the model's, without one to fill.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "slipway", "build"],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 1, done.stderr
    assert "m: there is no space left to write " in done.stderr
    assert "next: free space" in done.stderr
    assert digests(root) == before
    assert slipway(root, "build").returncode == 0
    assert_whole(root, "m")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_small_disk_that_runs_full_at_any_step_keeps_the_old_artifact(small_disk: Path) -> None:
    root = small_disk / "project"
    write_model(root, "m", optimize=SMALLEST)
    assert slipway(root, "build").returncode == 0
    before = digests(root)
    messages = set()
    for left_kb in (0, 8, 20, 40, 60, 80, 100, 130, 160):
        shutil.rmtree(root / "build" / ".cache")
        (small_disk / "filler").unlink(missing_ok=True)
        write_model(root, "m", optimize=SMALLEST, description=f"with {left_kb} KB left")
        free = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left_kb * 1024)))
        done = slipway(root, "build")
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            break
        assert done.returncode == 1, done.stderr
        assert re.search("no space left|No space left", done.stderr), done.stderr
        messages.add(done.stderr)
        assert digests(root) == before
    assert messages
    (small_disk / "filler").unlink()
    assert slipway(root, "build").returncode == 0
    assert digests(root) == before


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """A bucket `nodes` in an S3 of this machine, as environment variables name it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    ).create_bucket(Bucket="nodes")
    yield variables
    server.stop()


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_another_checkout_restores_everything_from_the_shared_cache(
    project: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    variables = request.getfixturevalue("bucket") if kind == "s3" else {}
    url = "s3://nodes/some/prefix" if kind == "s3" else (tmp_path / "shared").as_uri()
    assert slipway(project, "build", "--cache", url, **variables).returncode == 0
    other = tmp_path / "elsewhere" / "project"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("build"))
    done = slipway(other, "build", "-j", "2", SLIPWAY_BUILD_CACHE=url, **variables)
    assert done.returncode == 0, done.stderr
    steps = re.findall("✓ (.*?)  ", done.stderr)
    assert [step for step in steps if step not in ("package", "build one, three, twelve, 2 at once")] == []
    assert digests(other) == digests(project)
    assert_whole(other, "one", "three", "twelve")


def test_an_unreachable_cache_is_warned_of_and_the_build_goes_on(project: Path) -> None:
    variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = slipway(project, "build", "one", "--cache", "s3://nodes", **variables)
    assert done.returncode == 0, done.stderr
    warnings = [line.strip() for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: the shared cache cannot be read (s3://nodes: ")
    assert_whole(project, "one")


def test_an_url_that_is_no_cache_is_refused_before_anything_is_built(project: Path) -> None:
    done = slipway(project, "build", "--cache", "nodes")
    assert done.returncode == 1
    assert "'nodes' names no store" in done.stderr
    assert not (project / "build" / "one").exists()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A Dask scheduler and two workers, processes of their own."""
    pytest.importorskip("distributed")
    quiet = {"DASK_DISTRIBUTED__DASHBOARD__LINK": "", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    address = tmp_path / "scheduler.json"
    processes = []

    def run(*arguments: str) -> None:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
                env=environment(**quiet),
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    try:
        run("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(address))
        for number in range(2):
            folder = ("--local-directory", str(tmp_path / f"worker-{number}"))
            run(
                "dask_worker",
                "--scheduler-file",
                str(address),
                "--nthreads",
                "1",
                "--no-nanny",
                *folder,
                "--no-dashboard",
            )
        deadline = time.monotonic() + 60
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        url = json.loads(address.read_text())["address"]
        from distributed import Client

        with Client(url, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield url
    finally:
        # Killed: a worker that is asked to end while its scheduler ends too was seen to wait for ever.
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def test_a_dask_cluster_makes_the_nodes(project: Path, cluster: str) -> None:
    done = slipway(project, "build", "--scheduler", cluster, "-j", "2")
    assert done.returncode == 0, done.stderr
    made = re.findall(r"✓? ?(quantize_dynamic\S*)  .* process (\d+) on ", done.stderr)
    assert len(made) == 6
    assert len({process for _, process in made}) == 2
    assert_whole(project, "one", "three", "twelve")
    alone = project.with_name("alone")
    shutil.copytree(project, alone, ignore=shutil.ignore_patterns("build"))
    assert slipway(alone, "build").returncode == 0
    for path in (project / "build" / ".cache" / "nodes").glob("*/model.onnx"):
        assert (alone / path.relative_to(project)).read_bytes() == path.read_bytes()


def test_a_scheduler_that_is_not_there_is_a_clear_message(project: Path) -> None:
    done = slipway(project, "build", "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 1, done.stderr
    assert "there is no Dask scheduler at tcp://127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
