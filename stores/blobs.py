"""Files by the SHA-256 of their content: what comes back is what was stored, or an error."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stores.store import Moved, Store, StoreError, untold


def name(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def put(store: Store, source: Path, sha256: str, *, moved: Moved = untold) -> bool:
    """Stores a file; False where it is there already. One that is there in part only is replaced. Raises StoreError."""
    if store.put(name(sha256), source, moved=moved):
        return True
    found = store.stat(name(sha256))
    if found is not None and found.size == source.stat().st_size:
        return False
    return store.put(name(sha256), source, replace=True, moved=moved)


def get(store: Store, sha256: str, target: Path, *, moved: Moved = untold) -> None:
    """Writes a file to `target`, which is not there afterwards unless its digest is right. Raises StoreError."""
    if not store.get(name(sha256), target, moved=moved):
        raise StoreError(f"{store.url}: {name(sha256)} is not there")
    if digest(target) != sha256:
        target.unlink()
        raise StoreError(f"{store.url}: {name(sha256)} is damaged: its content has another digest")
