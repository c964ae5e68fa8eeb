"""The base branch's models: built in a work tree of their own, from the node cache of this one.

What the base branch built before is in the cache, so that mostly nothing is computed; what is not there is built and
measured here, on the same machine as the change.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from model_build.errors import UserError
from model_build.manifest import Manifest, ManifestError, read_manifest

FOLDER = Path(".slipway") / "base"


@dataclass(frozen=True)
class Base:
    commit: str
    models: dict[str, Manifest]
    unbuilt: dict[str, str]
    """Models of the base branch that do not build there, and what their builds said."""


def commit_of(root: Path, reference: str) -> str:
    """Where the change left the base branch. Raises UserError."""
    deepen = "fetch the base branch with its history: git fetch --unshallow origin (actions/checkout: fetch-depth: 0)"
    head = _git(root, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    if head is None:
        raise UserError(f"git knows no '{reference}' here", deepen)
    common = _git(root, "merge-base", "HEAD", head)
    if common is None:
        raise UserError(f"HEAD and '{reference}' have no common commit here", deepen)
    return common


def models(root: Path, commit: str) -> Base:
    """Builds every spec of a commit. Raises UserError where git does not give its files."""
    tree = root / FOLDER / commit[:12]
    if not tree.is_dir():
        _forget(root)
        if _git(root, "worktree", "add", "--detach", "--force", str(tree), commit) is None:
            raise UserError(f"git cannot check {commit[:12]} out below {FOLDER}", "see: git worktree list")
    specs = sorted(path.stem for path in (tree / "specs").glob("*.yaml"))
    if not specs:
        return Base(commit, {}, {})
    _share_cache(root, tree)
    done = subprocess.run(
        # The base branch's own Slipway, where the project holds one: its results are what was merged.
        [sys.executable, "-m", "slipway", "build", "--json"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    failures = _failures(done.stdout) or [(done.stderr.strip() or "it said nothing").splitlines()[-1]]
    built: dict[str, Manifest] = {}
    unbuilt: dict[str, str] = {}
    for name in specs:
        own = [said for said in failures if said.startswith(f"{name}:") or f"{name}.yaml" in said]
        try:
            # A failed build leaves an older artifact where it was; there is none in a fresh work tree.
            built[name] = read_manifest(tree / "build" / name / "manifest.json")
        except ManifestError:
            unbuilt[name] = "\n".join(own or failures)
    return Base(commit, built, unbuilt)


def _failures(text: str) -> list[str]:
    try:
        found: list[str] = json.loads(text)["failures"]
    except (ValueError, KeyError):
        return []
    return found


def _share_cache(root: Path, tree: Path) -> None:
    cache = tree / "build" / ".cache"
    for part in ("nodes", "locks"):
        target = root / "build" / ".cache" / part
        target.mkdir(parents=True, exist_ok=True)
        if not (cache / part).exists():
            cache.mkdir(parents=True, exist_ok=True)
            (cache / part).symlink_to(target)


def _forget(root: Path) -> None:
    """Removes the work trees of earlier bases."""
    folder = root / FOLDER
    for old in sorted(folder.glob("*")) if folder.is_dir() else []:
        if _git(root, "worktree", "remove", "--force", str(old)) is None:
            shutil.rmtree(old, ignore_errors=True)
    _git(root, "worktree", "prune")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError:
        raise UserError("there is no `git` on PATH", "install git") from None
    return done.stdout.strip() if done.returncode == 0 else None
