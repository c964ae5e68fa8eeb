"""A copy of this checkout as a newcomer has it after cloning, and commands run in it as theirs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[1]
GIT = ("git", "-c", "user.name=Newcomer", "-c", "user.email=newcomer@example.com", "-c", "commit.gpgsign=false")


@dataclass
class Checkout:
    root: Path

    def run(self, *command: str, check: bool = True, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        # The copy is a newcomer's: nothing of this test run's own environment leads it back here.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PULUMI_", "VIRTUAL_ENV", "PYTHONPATH", "MAKE", "MFLAGS"))
        }
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}")
        return done

    def shell(self, line: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A line in a shell whose environment was set as `make up` says."""
        return self.run("bash", "-c", f'eval "$(.venv/bin/slipway env)" && {line}', check=check)

    def server(self) -> dict[str, Any]:
        server: dict[str, Any] = json.loads((self.root / ".slipway/local/server.json").read_text())
        return server

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server()["endpoint"],
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def replicas(self) -> list[int]:
        """Process ids of the serving replicas that run out of this copy."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    arguments = (entry / "cmdline").read_bytes().split(b"\0")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if b"serving" in arguments and any(str(self.root).encode() in argument for argument in arguments):
                    found.append(int(entry.name))
        return found


def clone(root: Path) -> Checkout:
    """A fresh clone of what this checkout holds, changes that are not committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "As cloned")):
        subprocess.run([*GIT, *command], cwd=root, check=True)
    return Checkout(root)
