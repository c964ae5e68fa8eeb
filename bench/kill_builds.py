"""Builds killed at random moments: `python -m bench.kill_builds`. Each time the next build must give the same artifact.

Every build begins from nothing, every second one beside a published artifact; SIGKILL comes at a uniformly drawn moment
of a build's usual time, to the build alone or to it and its processes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.noop_build import write_project
from bench.outcome import Bar, table, tell
from model_build.manifest import ManifestError, read_manifest, verify

COMMAND = [str(Path(sys.executable).parent / "slipway"), "build"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        root = Path(folder)
        write_project(root, "model-0")
        spec = root / "specs" / "model-0.yaml"
        spec.write_text(spec.read_text().replace("[[]]", "[[quantize_dynamic]]"))
        (root / "Pulumi.yaml").write_text("name: bench\n")
        published, cache = root / "build" / "model-0", root / "build" / ".cache"
        started = time.monotonic()
        build(root)
        took = time.monotonic() - started
        expected, moments = digest(published), random.Random(20261124)
        partial, different, number, killed = 0, 0, 0, 0
        while killed < options.kills:  # a build that ended before its moment does not count
            number += 1
            shutil.rmtree(cache)
            if number % 2:
                shutil.rmtree(published)
            process = subprocess.Popen(
                [*COMMAND, "-j", str(1 + number % 3 // 2)],
                cwd=root,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(moments.uniform(0, took))
            except subprocess.TimeoutExpired:
                killed += 1
                if number % 4 < 2:
                    process.kill()
                else:
                    with contextlib.suppress(ProcessLookupError):  # it may just have ended
                        os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            partial += published.exists() and not whole(published, root)
            build(root)
            different += digest(published) != expected
            if number % 20 == 0:
                print(f"{killed} of {options.kills} killed", file=sys.stderr, flush=True)
        shutil.rmtree(published)
        build(root)
        left = [path.name for path in (root / "build").glob(".model-0.*")] + [
            path.name for path in (cache / "nodes").glob("tmp-*")
        ]
    rows = [(str(killed), str(partial), str(different), str(len(left)))]
    return tell(
        "kill_builds",
        {"kills": killed, "partial": partial, "different": different, "left": left},
        table(("builds killed", "partial outputs", "different digests afterwards", "files left over"), rows),
        [
            Bar("partial outputs", partial, 0),
            Bar("files left over", len(left), 0),
            Bar("different digests after a kill", different, 0),
        ],
    )


def build(root: Path) -> None:
    done = subprocess.run(COMMAND, cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the build after a kill failed:\n{done.stderr}")


def digest(published: Path) -> str:
    return hashlib.sha256((published / "model.tar.gz").read_bytes()).hexdigest()


def whole(published: Path, root: Path) -> bool:
    try:
        return verify(read_manifest(published / "manifest.json"), published, root) == []
    except ManifestError:
        return False


if __name__ == "__main__":
    sys.exit(main())
