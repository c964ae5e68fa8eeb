"""`python -m slipway.remote_build JOB MESSAGE`: the build inside a remote job, once its packages are there.

It builds as `slipway build` does, keeps what it made in the store, and says what that was.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_build.build import FOLDER
from model_build.errors import UserError
from model_build.inputs import LIBRARIES, versions
from slipway import publication
from slipway import stores as opening
from slipway.commands.build import attempt
from slipway.console import Console
from slipway.remote_job import FAILED, leave
from stores.store import StoreError

RESULT = "result.json"


def main(job: Path, message: Path) -> int:
    told = json.loads(job.read_bytes())
    root = Path.cwd()
    console = Console()
    url = store_url(told)
    try:
        built, failures = attempt(root, told["names"], console, cache=url)
    except UserError as error:
        built, failures = [], [error]
    names = [outcome.manifest.name for outcome in built]
    try:
        for name in names:
            publication.to_stores(root, name, [url], console)
        keep(told, url, root, result(root, {one.manifest.name: one.manifest.digest for one in built}, failures))
    except (UserError, StoreError) as error:
        failures.append(error if isinstance(error, UserError) else UserError(str(error)))
    said = "\n\n".join(map(str, failures))
    leave(message, said or f"built {', '.join(names)}")
    if failures:
        print(said, file=sys.stderr)
    return FAILED if failures else 0


def store_url(job: Mapping[str, Any]) -> str:
    """The store; without a network a folder, which SageMaker copies there at the end."""
    if not job["isolated"]:
        return str(job["store"])
    return (Path(os.environ["SLIPWAY_JOB_FOLDER"]) / "output" / "store").as_uri()


def result(root: Path, manifests: Mapping[str, str], failures: list[UserError]) -> dict[str, Any]:
    """What whoever started the job brings back."""
    nodes = root / FOLDER / ".cache" / "nodes"
    return {
        "format": 1,
        "manifests": dict(manifests),
        "failures": [{"message": error.message, "next_step": error.next_step} for error in failures],
        # The job began with none.
        "nodes": sorted(path.name for path in nodes.glob("*") if not path.name.startswith("tmp-")),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions(LIBRARIES),
    }


def keep(job: Mapping[str, Any], url: str, root: Path, content: Mapping[str, Any]) -> None:
    """Raises StoreError."""
    path = root / FOLDER / RESULT
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    opening.opened(url).put(f"{job['folder']}/{RESULT}", path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
