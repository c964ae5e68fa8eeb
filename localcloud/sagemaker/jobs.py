"""What the jobs of SageMaker have in common here: a folder for the instance, files of S3 in and out, a process for the
container, and its lines in CloudWatch Logs.

There are no containers on this machine: wherever a job names a path of its container, in its command or its variables,
it gets the path of its own folder that stands for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localcloud import emulation
from localcloud.sagemaker.catalog import split_s3_folder, split_s3_uri

GUARD = Path(__file__).with_name("job_guard.py")
CONTAINER = "/opt/ml"
"""What of a container's file system a job has of its own."""
STOP_GRACE_SECONDS = 30.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_CONTAINER_PATH = re.compile(re.escape(CONTAINER) + r"(?=/|$)")


class JobError(Exception):
    """A job that cannot go on; the message is what AWS calls the FailureReason."""


class RanOutError(Exception):
    """A job that took longer than its StoppingCondition allows."""


@dataclass(frozen=True)
class Machine:
    """What every job of a server runs on. `endpoint` is where its programs find the local AWS."""

    directory: Path
    endpoint: str


@dataclass(frozen=True)
class Folder:
    """The file system of one job. `root` stands for `/`, of which it has `/opt/ml`."""

    root: Path

    def place(self, path: str) -> Path:
        """Where a path of the container lies. Raises JobError where the job has none of its own."""
        inside = Path(os.path.normpath(path))
        if not inside.is_relative_to(CONTAINER):
            raise JobError(f"ClientError: {path} is not below {CONTAINER}")
        return self.root / inside.relative_to("/")

    def translated(self, text: str) -> str:
        """A word of a command or the value of a variable, with its paths of the container."""
        return _CONTAINER_PATH.sub(str(self.root / CONTAINER.lstrip("/")), text)


def download_prefix(uri: str, target: Path) -> None:
    """Every object whose key begins so, by the name that it has below the prefix's folder. Raises JobError."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    keys = [key for key in _listed(bucket, prefix) if not key.endswith("/")]
    if not keys:
        raise JobError(f"ClientError: Data download failed:NoSuchKey: there is no object below {uri}")
    for key in keys:
        _download(bucket, key, _inside(target, key[len(_folder_of(key, prefix)) :]))


def download_object(uri: str, target: Path) -> None:
    """Raises JobError."""
    _download(*split_s3_uri(uri), target)


def download_listed(prefix: str, names: Sequence[str], target: Path) -> None:
    """The objects that a manifest lists, by their names below its prefix, an address of S3. Raises JobError."""
    bucket, _, folder = prefix.removeprefix("s3://").partition("/")
    for name in names:
        _download(bucket, folder + name, _inside(target, name))


def _folder_of(key: str, prefix: str) -> str:
    if prefix.endswith("/") or key.startswith(f"{prefix}/"):
        return f"{prefix.rstrip('/')}/"
    return prefix[: prefix.rfind("/") + 1]


def _listed(bucket: str, prefix: str) -> list[str]:
    try:
        return emulation.list_objects(bucket, prefix)
    except emulation.ObjectMissingError:
        raise JobError(f"ClientError: Data download failed:NoSuchBucket: there is no bucket {bucket}") from None


def _inside(folder: Path, name: str) -> Path:
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(folder) or path == folder:
        raise JobError(f"ClientError: Data download failed: {name} is no path of a file below {folder}")
    return path


def _download(bucket: str, key: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        try:
            emulation.read_object(bucket, key, stream)
        except emulation.ObjectMissingError:
            raise JobError(f"ClientError: Data download failed:NoSuchKey: there is no s3://{bucket}/{key}") from None


def upload_folder(source: Path, uri: str, known: dict[Path, tuple[int, int]]) -> None:
    """Every file below a folder; `known` tells what was uploaded before and has not changed. Raises JobError."""
    bucket, prefix = split_s3_folder(uri)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        try:
            found = path.stat()
            content = path.read_bytes()
        except FileNotFoundError:  # a job may take back what it wrote
            continue
        state = (found.st_mtime_ns, found.st_size)
        if known.get(path) == state:
            continue
        key = prefix + path.relative_to(source).as_posix()
        if not emulation.write_object(bucket, key, content, "application/octet-stream"):
            raise JobError(f"ClientError: Failed to upload output to s3://{bucket}/{key}: there is no such bucket")
        known[path] = state


@dataclass
class JobLog:
    """A stream of CloudWatch Logs, made with its group when the first line comes."""

    region: str
    group: str
    stream: str
    _rest: bytes = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._put(lines)

    def close(self) -> None:
        """Puts what ended without a line feed."""
        lines, self._rest = [self._rest], b""
        self._put(lines)

    def _put(self, lines: Sequence[bytes]) -> None:
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines if line.strip()]
        emulation.write_log(self.region, self.group, self.stream, texts)


@dataclass
class Process:
    """One command: its start, its lines, and its end with all that it started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    told: Callable[[bytes], None]
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)
    _reading: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> int:
        """Returns its exit code once it and its output have ended."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(GUARD),
            *self.command,
            cwd=self.directory,
            env=dict(self.environment),
            # The guard reads from it that this server is gone.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read(process))
        code = await process.wait()
        await self._finish(process)
        return code

    async def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """SIGTERM to all that it started, SIGKILL to what is left after a while. To be called however `run` ended."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
        await self._finish(process)

    async def _finish(self, process: asyncio.subprocess.Process) -> None:
        # What the command left behind goes with it, as in a container; it may hold the pipe open until then.
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=5)
            self._reading.cancel()
        if process.stdin is not None:
            process.stdin.close()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # asked for as a pipe
        while chunk := await process.stdout.read(65536):
            self.told(chunk)


def _signal_group(pid: int, number: int) -> None:
    # Its own session, so the group is the job and its children, and nothing else.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def variables(machine: Machine, region: str, given: Mapping[str, str]) -> dict[str, str]:
    """What a job's process sees: little of this machine, the local AWS for AWS, `python3` for this one, its own."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    inherited["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    cloud = {
        "AWS_ENDPOINT_URL": machine.endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    return {**inherited, **cloud, "PYTHONUNBUFFERED": "1", **given}
