"""Environment variables with which plain `pulumi` commands work on the local stack of one checkout.

Only the local stack: its state and plugins lie in `.slipway/`, and it holds no secret.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from toolchain import launchers
from toolchain.engine import Engine


def variables(root: Path, engine: Engine) -> dict[str, str]:
    """What to set so that `pulumi` runs this engine on the state below `root`; makes the folders that it names."""
    directory = root.absolute() / ".slipway"
    state, home = directory / "state", directory / "pulumi"
    for path in (state, home):
        path.mkdir(parents=True, exist_ok=True)
    entries = [str(entry) for entry in engine.path_entries]
    others = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry not in entries]
    programs = {launchers.VARIABLE: str(engine.programs)} if engine.programs else {}
    return programs | {
        "PATH": os.pathsep.join([*entries, *others]),
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": state.as_uri(),
        # The local stack holds no secret, and an empty passphrase keeps pulumi from asking for one.
        "PULUMI_CONFIG_PASSPHRASE": "",
        # The program's Python where Pulumi.yaml names no virtualenv.
        "PULUMI_PYTHON_CMD": sys.executable,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Our provider is installed by hand; nothing may be fetched in its place.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
