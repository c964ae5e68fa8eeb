"""What `slipway up` mends of an interrupted run, with a pulumi that only writes down how it was called."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from model_build.errors import UserError
from slipway.local import Local, Stack, export_lines


class Sagemaker:
    """Holds one endpoint; each look at it brings it a state further."""

    def __init__(self, *states: str, name: str = "fashion-local") -> None:
        self.name = name
        self.states = list(states)
        self.deleted: list[str] = []

    def list_endpoints(self, NameContains: str) -> dict[str, list[dict[str, str]]]:
        if self.name in self.deleted or not self.states:
            return {"Endpoints": []}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"Endpoints": [{"EndpointName": self.name, "EndpointStatus": state}]}

    def delete_endpoint(self, EndpointName: str) -> None:
        self.deleted.append(EndpointName)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    pulumi.chmod(0o755)
    return Stack(Local(tmp_path), pulumi, os.environ)


def calls(stack: Stack) -> list[str]:
    path = stack.local.root / "calls"
    return path.read_text().splitlines() if path.exists() else []


def lock(stack: Stack, process: int) -> None:
    folder = stack.local.directory / "state/.pulumi/locks/organization/slipway/local"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps({"pid": process}))


def state(stack: Stack, **latest: Any) -> None:
    folder = stack.local.directory / "state/.pulumi/stacks/slipway"
    folder.mkdir(parents=True)
    (folder / "local.json").write_text(json.dumps({"checkpoint": {"latest": latest}}))


def test_a_clean_stack_needs_no_mending(stack: Stack) -> None:
    state(stack, resources=[])
    assert stack.recover(Sagemaker()) == []
    assert calls(stack) == []


def test_the_lock_of_a_process_that_is_gone_is_removed(stack: Stack) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock(stack, gone.pid)
    assert len(stack.recover(Sagemaker())) == 1
    assert calls(stack) == ["cancel local --yes --non-interactive"]


def test_the_lock_of_a_running_process_is_respected(stack: Stack) -> None:
    lock(stack, os.getpid())
    with pytest.raises(UserError, match=f"process {os.getpid()}"):
        stack.recover(Sagemaker())
    assert calls(stack) == []


def test_an_endpoint_whose_creation_was_not_recorded_is_removed_before_the_next_up(stack: Stack) -> None:
    endpoint = {"type": "aws:sagemaker/endpoint:Endpoint", "inputs": {"name": "fashion-local"}}
    role = {"type": "aws:iam/role:Role", "inputs": {"name": "r"}}
    state(
        stack,
        pending_operations=[{"type": "creating", "resource": endpoint}, {"type": "creating", "resource": role}],
    )
    sagemaker = Sagemaker("Creating", "Creating", "InService")
    assert len(stack.recover(sagemaker)) == 1
    assert sagemaker.deleted == ["fashion-local"]
    assert any("--clear-pending-creates" in call for call in calls(stack))


def test_exported_lines_survive_a_shell(tmp_path: Path) -> None:
    value = "a b'c$HOME"
    script = export_lines({"X": value}) + '\nprintf %s "$X"'
    assert subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout == value


def test_a_state_of_another_port_is_told_apart(stack: Stack) -> None:
    assert stack.recorded_on("http://127.0.0.1:4566")
    inputs = {"endpoints": '[{"s3":"http://127.0.0.1:4566"}]'}
    state(stack, resources=[{"type": "pulumi:providers:aws", "inputs": inputs}])
    assert stack.recorded_on("http://127.0.0.1:4566")
    assert not stack.recorded_on("http://127.0.0.1:45661")
    assert not stack.recorded_on("http://127.0.0.1:456")
