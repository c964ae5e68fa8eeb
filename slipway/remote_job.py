"""What a remote build's job runs: lays the tree out, finds or installs the packages, and builds.

    python3 …/input/job/remote_job.py

The standard library alone, since it is the image's Python that begins, and nothing of ours is there yet. Where things
lie is told by where this file lies: `input/job/` below the folder of everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 1000
OLDEST = (3, 11)
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(;)?")
FAILED = 1


class JobError(Exception):
    """Why the job cannot build, in one line."""


def main() -> int:
    """The exit code of the build. Its message, or why there was none, is left where SageMaker tells it."""
    folder = Path(__file__).resolve().parents[2]
    message = folder.parent / "output" / "message"
    try:
        return run(folder, message)
    except JobError as error:
        print(f"remote build: {error}", file=sys.stderr)
        leave(message, str(error))
        return FAILED


def run(folder: Path, message: Path) -> int:
    job = json.loads((folder / "input" / "job" / "job.json").read_bytes())
    tree = folder / "tree"
    lay_out(job["files"], folder / "input" / "tree", tree)
    python = interpreter(job, tree, folder / "environment")
    variables = os.environ | {
        "PYTHONPATH": str(tree / "slipway"),
        "SLIPWAY_BUILT_ON": job["machine"],
        "SLIPWAY_JOB_FOLDER": str(folder),
    }
    # In an environment of its own the image's packages must not be seen.
    return subprocess.run(
        [str(python), "-P", "-m", "slipway.remote_build", str(folder / "input" / "job" / "job.json"), str(message)],
        cwd=tree / "project",
        env=variables,
    ).returncode


def leave(message: Path, text: str) -> None:
    """What `DescribeProcessingJob` gives as ExitMessage."""
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_text(text[:MESSAGE_LIMIT], encoding="utf-8")


def lay_out(files: Mapping[str, str], contents: Path, tree: Path) -> None:
    """Gives each content its names in the tree. Raises JobError where one is missing or damaged."""
    for name, sha256 in files.items():
        source = contents / "blobs" / sha256[:2] / sha256
        target = tree / name
        if not target.resolve().is_relative_to(tree.resolve()):
            raise JobError(f"{name} is no path inside the tree")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
            with target.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise JobError(f"{name} did not arrive") from None
        if found != sha256:
            raise JobError(f"{name} is damaged: its content has another digest")


def interpreter(job: Mapping[str, Any], tree: Path, environment: Path) -> Path:
    """A Python with all that the build needs: this one where it has it, else one that it is installed for."""
    if sys.version_info < OLDEST:
        raise JobError(f"the image's python3 is {platform.python_version()}, and 3.11 or newer is needed")
    locked = [tree / path for path in job["requirements"]]
    lacking = list(differing(path.read_text(encoding="utf-8") for path in locked))
    if not lacking:
        print("packages: the image's own", flush=True)
        return Path(sys.executable)
    if job["isolated"]:
        raise JobError(f"the image lacks {lacking[0]} (and {len(lacking) - 1} more), and has no network to get it")
    print(f"packages: installing {len(lacking)} that the image lacks, {lacking[0]} for one", flush=True)
    return install(job["python"], tree / "slipway" / "requirements" / "uv.txt", locked, environment)


def differing(sets: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """Pins that are not installed so. One for certain platforms alone is not judged."""
    for text in sets:
        for line in text.splitlines():
            found = PIN.match(line)
            if found is None or found[3]:
                continue
            try:
                installed = version(found[1]).partition("+")[0]
            except PackageNotFoundError:
                installed = ""
            if installed != found[2]:
                yield f"{found[1]}=={found[2]}"


def install(wanted: str, uv_lock: Path, locked: Sequence[Path], environment: Path) -> Path:
    """Installs the locked sets with their hashes; for the Python that asked, where it is to be had. Raises JobError."""
    tools = environment / "tools"
    check(sys.executable, "-m", "venv", str(tools))
    pip = [str(tools / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    check(*pip, "install", "--require-hashes", "-r", str(uv_lock))
    uv = str(tools / "bin" / "uv")
    made = environment / "python"
    if subprocess.run([uv, "venv", "--quiet", "--python", wanted, str(made)]).returncode:
        print(f"Python {wanted} is not to be had: going on with {platform.python_version()}", flush=True)
        check(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(made))
    python = made / "bin" / "python"
    sets = [word for path in locked for word in ("-r", str(path))]
    check(uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes", *sets)
    return python


def check(*command: str) -> None:
    if code := subprocess.run(command).returncode:
        raise JobError(f"`{' '.join(command[1:4])} …` ended with exit code {code}; the lines above say why")


if __name__ == "__main__":
    sys.exit(main())
