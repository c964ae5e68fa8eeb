"""What may go to an environment: artifacts that were built from the commit, so that the commit says what runs.

`infra.manifests` refuses an artifact that was not built from the checkout's files; here those files are held against
the commit.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from model_build.errors import UserError
from model_build.manifest import ManifestError, read_manifest


def require_committed(root: Path) -> None:
    """Raises UserError where a file that a built model was made from is not as the commit has it.

    Files that git ignores are known by their digests alone, and outside of a repository there is nothing to ask.
    """
    inputs: set[str] = set()
    for path in sorted((root / "build").glob("[!.]*/manifest.json")):
        try:
            inputs.update(read_manifest(path).inputs)
        except ManifestError:
            continue  # the deployment says what is wrong with it
    changed = uncommitted(root, sorted(inputs))
    if changed:
        raise UserError(
            "what was built is not of a commit, so no commit would say what runs: " + ", ".join(changed),
            "commit, then run: slipway build",
        )


def uncommitted(root: Path, files: list[str]) -> list[str]:
    """Those of the files that differ from the commit, or that it lacks."""
    if not files:
        return []
    try:
        done = subprocess.run(
            [
                "git",
                "--literal-pathspecs",
                "status",
                "--porcelain",
                "-z",
                "--no-renames",
                "--untracked-files=all",
                "--",
                *files,
            ],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        return []
    return [entry[3:] for entry in done.stdout.decode(errors="surrogateescape").split("\0") if entry]
