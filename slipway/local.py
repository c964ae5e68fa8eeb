"""The local environment as one thing: engine, local cloud, provider plugin and the `local` stack's state.

It is apart from the commands because `up`, `down`, `env`, `local` and `invoke` all stand on it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from slipway.console import Console

if TYPE_CHECKING:
    from localcloud.daemon import Server
    from toolchain.engine import Engine

STACK = "local"
PROJECT = "slipway"
# The local cloud takes any credentials; real ones must never reach it, nor be needed for it.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Local:
    """Where the local environment of one checkout lies. Everything is below `<root>/.slipway`."""

    root: Path

    @property
    def directory(self) -> Path:
        return self.root / ".slipway"

    @property
    def cloud(self) -> Path:
        return self.directory / "local"

    @property
    def rehearsal(self) -> Path:
        """The copy that `slipway rehearse` works on."""
        return self.directory / "rehearsal"

    def server(self) -> Server | None:
        """The running local cloud, if it runs."""
        from localcloud import daemon

        return daemon.status(self.cloud)

    def start(self, port: int | None, console: Console, speed: float | None = None, *, fresh: bool = False) -> Server:
        """The running local cloud, started where it did not run, its clock `speed` times as fast. Raises UserError.

        It is as it was when it ended, endpoints in service, unless it is to be `fresh`.
        """
        from localcloud import daemon

        with console.step("local AWS"), mendable():
            server = daemon.start(self.cloud, port=port, speed=speed, fresh=fresh, progress=console.note)
            pace = f", clock {server.speed:g} times as fast" if server.speed != 1 else ""
            console.note(f"process {server.pid}{pace}")
            _await_endpoints(server.endpoint, console)
        return server

    def forget(self) -> None:
        """Forgets what the local cloud, which has to be stopped, would bring back. Raises UserError."""
        from localcloud import daemon

        with mendable():
            daemon.forget(self.cloud)

    def stop(self) -> bool:
        """Stops the local cloud and its replicas; False where it did not run. Raises UserError."""
        from localcloud import daemon

        with mendable():
            if self.rehearsal.is_dir():
                # What a rehearsal that was killed left behind.
                daemon.stop(self.rehearsal)
            return daemon.stop(self.cloud)

    def endpoint(self) -> str:
        """URL of the running local cloud. Raises UserError where none runs."""
        server = self.server()
        if server is None:
            raise UserError("the local AWS is not running", next_step="run: slipway local start (or make up)")
        return server.endpoint

    def variables(self, engine: Engine, endpoint: str | None) -> dict[str, str]:
        """Environment variables with which plain `pulumi` and AWS clients work on the local stack."""
        from toolchain import environment

        settings = dict(environment.variables(self.root, engine))
        if endpoint:
            settings |= CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": CREDENTIALS["AWS_REGION"]}
        return settings

    def process_environment(self, engine: Engine, endpoint: str | None) -> dict[str, str]:
        """The same for a child process: real AWS settings of the caller are left out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | self.variables(engine, endpoint)


@contextmanager
def mendable() -> Iterator[None]:
    """Turns what `toolchain` and `localcloud` say to their users into the command line's own kind of error."""
    from localcloud.errors import LocalCloudError
    from toolchain.errors import EngineError

    try:
        yield
    except EngineError as error:
        raise UserError(error.message, next_step=error.next_step) from None
    except LocalCloudError as error:
        raise UserError(str(error)) from None


def ensure_engine(console: Console, announce: bool = True) -> Engine:
    """The Pulumi engine, made where none is at hand. Raises UserError.

    Without `announce` it says something only where something has to be made.
    """
    from toolchain.engine import ensure

    with mendable():
        if not announce:
            return ensure(console.note)
        with console.step("Pulumi engine"):
            engine = ensure(console.note)
            console.note(f"{engine.version}, {engine.pulumi}")
        return engine


def install_provider(stack: Stack, console: Console) -> None:
    """Puts the local `aws` provider into the plugin cache of this checkout. Raises UserError."""
    from localcloud.provider.install import install

    with console.step("local provider plugin"), mendable():
        install(stack.pulumi, stack.environment)


@dataclass(frozen=True)
class Stack:
    """The `local` stack, driven by the `pulumi` command as a user would."""

    local: Local
    pulumi: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs pulumi and keeps what it says."""
        return subprocess.run(
            [str(self.pulumi), *arguments, "--non-interactive"],
            cwd=self.local.root,
            env=dict(self.environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def require(self, *arguments: str) -> str:
        """Runs pulumi and gives its output; raises UserError with what it said where it fails."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise _failed(arguments, done.stdout)
        return done.stdout

    def show(self, *arguments: str, console: Console) -> None:
        """Runs pulumi for a person to watch: its live display on a terminal, elsewhere the lines that say something.

        Raises UserError where it fails.
        """
        if console.live:
            console.clear()
            command = [str(self.pulumi), *arguments]
            code = subprocess.run(
                command, cwd=self.local.root, env=dict(self.environment), stdout=sys.stderr
            ).returncode
        else:
            code = self._show_lines([str(self.pulumi), *arguments, "--non-interactive", "--suppress-progress"])
        if code != 0:
            raise _failed(arguments, "")

    def _show_lines(self, command: list[str]) -> int:
        with subprocess.Popen(
            command,
            cwd=self.local.root,
            env=dict(self.environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None  # noqa: S101 — it was asked for as a pipe
            for line in process.stdout:
                if not _UNEVENTFUL.match(line.rstrip()):
                    sys.stderr.write(line)
                    sys.stderr.flush()
        return process.returncode

    def select(self) -> None:
        self.require("stack", "select", STACK, "--create")

    def checkpoint(self) -> dict[str, Any]:
        """The stack's last recorded state; empty where there is none."""
        path = self.local.directory / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"
        if not path.is_file():
            return {}
        latest: dict[str, Any] = json.loads(path.read_bytes()).get("checkpoint", {}).get("latest") or {}
        return latest

    def recorded_on(self, endpoint: str) -> bool:
        """Whether the state was made on the local cloud at `endpoint`; one that started anew may have another port."""
        providers = [
            resource.get("inputs", {})
            for resource in self.checkpoint().get("resources") or []
            if resource.get("type") == "pulumi:providers:aws"
        ]
        return all(f'"{endpoint}"' in str(inputs.get("endpoints")) for inputs in providers)

    def recover(self, sagemaker: Any) -> list[str]:
        """Mends what an interrupted run left: a lock of a dead process, operations that never finished.

        Gives a line for each thing that was mended.
        """
        mended = []
        locks = self.local.directory / "state" / ".pulumi" / "locks" / "organization" / PROJECT / STACK
        for lock in sorted(locks.glob("*.json")) if locks.is_dir() else []:
            holder = json.loads(lock.read_bytes()).get("pid")
            if isinstance(holder, int) and _alive(holder):
                raise UserError(
                    f"another pulumi command (process {holder}) is working on the local stack",
                    next_step="wait until it ends, or stop it, and run this again",
                )
            mended.append(f"removed the lock of an interrupted run (process {holder})")
        if mended:
            self.require("cancel", STACK, "--yes")
        pending = self.checkpoint().get("pending_operations") or []
        if pending:
            # An endpoint keeps its name, so one that was made but not recorded would be in the way of the next `up`.
            for operation in pending:
                resource = operation.get("resource", {})
                if operation.get("type") == "creating" and resource.get("type") == "aws:sagemaker/endpoint:Endpoint":
                    _delete_endpoint(sagemaker, str(resource.get("inputs", {}).get("name")))
            self.require("refresh", "--yes", "--skip-preview", "--stack", STACK, "--clear-pending-creates")
            mended.append(f"cleared {len(pending)} operation(s) that an interrupted run left unfinished")
        return mended

    def outputs(self) -> dict[str, Any]:
        return self.outputs_of(STACK)

    def outputs_of(self, stack: str) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.require("stack", "output", "--json", "--stack", stack))
        return outputs


# Lines of `pulumi up` about a resource that is only looked at: `~  aws:iam:Role x refreshing (0s)`, `aws:iam:Role x`.
_UNEVENTFUL = re.compile(r"^@ |^\s*~?\s*[\w-]+:[\w/-]+:\w+ \S+( refresh(ing)?( \([\d.]+s\))?| running)?$|^$")


def _failed(arguments: tuple[str, ...], said: str) -> UserError:
    lines = f":\n{said.strip()}" if said.strip() else ""
    return UserError(f"`pulumi {shlex.join(arguments)}` failed{lines}", next_step=_after_failure(arguments[0]))


def _after_failure(command: str) -> str:
    if command in {"up", "refresh", "preview"}:
        return "mend what the lines above name, then run: slipway up (slipway local logs shows the local AWS)"
    return "read the lines above"


def _await_endpoints(cloud: str, console: Console, patience: float = 120) -> None:
    """Waits for endpoints that are coming back; whose model takes longer than the patience is told, and left to it."""
    end = time.monotonic() + patience
    coming: set[str] = set()
    while time.monotonic() < end:
        asked = client("sagemaker", cloud).get_paginator("list_endpoints").paginate(StatusEquals="Creating")
        left = {endpoint["EndpointName"] for page in asked for endpoint in page["Endpoints"]}
        for name in sorted(coming - left):
            console.note(f"{name} is back")
        coming = left
        if not coming:
            return
        time.sleep(0.1)
    console.note(f"still coming: {', '.join(sorted(coming))}")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie has ended too: nobody has asked for its exit code yet.
    stat = Path(f"/proc/{process}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _delete_endpoint(sagemaker: Any, name: str, patience: float = 120) -> None:
    """Deletes an endpoint, if it exists; AWS refuses that while the endpoint is still being made, so it waits first."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = sagemaker.list_endpoints(NameContains=name)["Endpoints"]
        status = next((endpoint["EndpointStatus"] for endpoint in found if endpoint["EndpointName"] == name), None)
        if status is None:
            return
        if not status.endswith("ing"):
            sagemaker.delete_endpoint(EndpointName=name)
        time.sleep(0.2)
    raise UserError(
        f"endpoint {name}, left by an interrupted run, is still {status}",
        next_step="start the local AWS anew: slipway down, then slipway up",
    )


def client(service: str, endpoint: str) -> Any:
    """A plain boto3 client of the local cloud, as a user's own program would make one."""
    import boto3

    make: Any = boto3.client  # its stubs know service names as literals only
    return make(
        service,
        endpoint_url=endpoint,
        region_name=CREDENTIALS["AWS_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def export_lines(settings: Mapping[str, str]) -> str:
    """Shell lines that set the variables, for `eval "$(slipway env)"`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items()))
