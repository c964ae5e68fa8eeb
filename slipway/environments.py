"""An environment as commands see it: how `pulumi` and AWS's clients reach its stack.

`local`, and a stack whose file says `slipway:cloud: local` (a rehearsal of GitOps on this machine), are in the local
cloud; every other one is on AWS, where the caller's own environment says who it is and where the state lies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import stacks
from slipway.local import STACK, Local
from slipway.local import client as local_client

if TYPE_CHECKING:
    from toolchain.engine import Engine


def is_local(root: Path, environment: str) -> bool:
    """Raises UserError where the stack has no file."""
    return environment == STACK or stacks.read(root, environment).cloud == STACK


def variables(root: Path, environment: str, engine: Engine) -> dict[str, str]:
    """Of a process that runs `pulumi` on the stack. Raises UserError where the local cloud does not run."""
    if is_local(root, environment):
        local = Local(root)
        return local.process_environment(engine, local.endpoint())
    path = os.pathsep.join([*map(str, engine.path_entries), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path}


def client(root: Path, environment: str, service: str) -> Any:
    """A boto3 client of the cloud and region that the environment is in. Raises UserError."""
    if is_local(root, environment):
        return local_client(service, Local(root).endpoint())
    import boto3

    make: Any = boto3.client  # its stubs know service names as literals only
    return make(service, region_name=stacks.read(root, environment).region or None)
