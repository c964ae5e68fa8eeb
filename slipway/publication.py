"""What was built, kept in stores and brought back: `build/NAME/` as a whole, every file by its digest.

    blobs/AB/SHA256           a file
    models/NAME/SHA256.json   a publication: what the files of one `build/NAME/` are; named by its own digest

Nothing is ever changed there, so publishing twice is publishing once, and whoever reads meanwhile reads all of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from model_build import locks, publish, report_html
from model_build.build import FOLDER
from model_build.errors import UserError
from model_build.manifest import Frozen, Manifest, Name, Sha256, file_sha256, read_manifest
from slipway import stores as opening
from slipway.console import Console
from stores import blobs
from stores.store import NoBucket, Stat, Store, StoreError

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][\w.-]{0,99}$")]
MANIFEST = "manifest.json"
TELLING = 5
"""Seconds between two lines about a file on its way."""
GO_ON = (
    "look at the address, the credentials and the network (docs/stores.md) and run this again: it goes on from there"
)


class File(Frozen):
    sha256: Sha256
    bytes: int = Field(ge=0)


class Publication(Frozen):
    """What one `build/NAME/` holds. The same build published again is the same publication."""

    format: Literal[1] = 1
    name: Name
    manifest: Sha256 = Field(description="Digest of the manifest.")
    artifact: Sha256
    inputs: dict[str, Sha256] = Field(description="The manifest's: files of the project that it was built from.")
    files: dict[FileName, File]

    def as_bytes(self) -> bytes:
        return (self.model_dump_json(indent=2) + "\n").encode()


@dataclass(frozen=True)
class Published:
    """What became of one model in one store."""

    publication: Publication
    url: str
    sent: int
    """Files that were not there yet, of the publication's."""


class Meter:
    """Tells a person of a file that takes its time."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.told >= TELLING and done < total:
            self.told = now
            self.console.note(f"{self.title}: {done / total:.0%} of {total / 1e6:,.0f} MB")


def built(root: Path) -> list[str]:
    """The models that have something to publish."""
    return sorted(path.parent.name for path in (root / FOLDER).glob(f"[!.]*/{MANIFEST}"))


def mirrors(root: Path, name: str, environment: str | None) -> tuple[str, ...]:
    """Where a built model is mirrored to, from an environment or without one. Raises ManifestError."""
    manifest = read_manifest(root / FOLDER / name / MANIFEST)
    return (manifest.deployment(environment) if environment else manifest.deploy).mirrors


def to_stores(root: Path, name: str, urls: Sequence[str], console: Console) -> list[Published]:
    """Publishes a built model to each of the stores. Raises UserError, and NoBucket for a bucket that is not there."""
    found = [opening.opened(url) for url in urls]
    with _locked(root, name, console):
        publication = _described(root, name)
        return [_to_store(root, publication, store, console) for store in found]


def mirrored(root: Path, environment: str, names: Sequence[str], console: Console) -> list[tuple[str, str]]:
    """Publishes models to the mirrors of an environment; gives the (model, URL) whose bucket is not there yet."""
    absent = []
    for name in names:
        for url in mirrors(root, name, environment):
            try:
                to_stores(root, name, [url], console)
            except NoBucket:
                absent.append((name, url))
    return absent


def restore(root: Path, name: str, url: str, digest: str | None, console: Console) -> Manifest:
    """Makes `build/NAME/` what was published: the newest of this checkout's files, or the one whose artifact's or
    manifest's digest begins so. Raises UserError."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise UserError(f"'{name}' is no name of a model", "name a model as its spec does") from None
    store = opening.opened(url)
    with _locked(root, name, console), console.step(f"restore {name} from {store.url}"):
        publish.recover(root / FOLDER, name)
        try:
            publication = _chosen(root, name, store, digest)
            return _restored(root, publication, store, console)
        except StoreError as error:
            raise UserError(f"{name} cannot be restored: {error}", GO_ON) from None


@contextmanager
def _locked(root: Path, name: str, console: Console) -> Iterator[None]:
    """Keeps builds of the model away."""
    path = root / FOLDER / ".cache" / "locks" / f"{name}.lock"
    with locks.held(path, lambda owner: console.note(f"{owner} builds {name}; waiting for it")):
        yield


def _described(root: Path, name: str) -> Publication:
    directory = root / FOLDER / name
    manifest = read_manifest(directory / MANIFEST)
    files = {
        path.name: File(sha256=file_sha256(path), bytes=path.stat().st_size)
        for path in sorted(directory.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }
    artifact = files.get(manifest.artifact.file)
    if artifact is None or artifact.sha256 != manifest.artifact.sha256:
        raise UserError(f"{directory / manifest.artifact.file} is not what was built", f"run: slipway build {name}")
    if missed := [gate.gate for gate in manifest.gates if not gate.passed]:
        raise UserError(f"{name} missed gates ({', '.join(missed)}), past which nothing is promoted", "mend the model")
    return Publication(
        name=name,
        manifest=manifest.digest,
        artifact=manifest.artifact.sha256,
        inputs=manifest.inputs,
        files=files,
    )


def _to_store(root: Path, publication: Publication, store: Store, console: Console) -> Published:
    name = publication.name
    directory = root / FOLDER / name
    try:
        with console.step(f"publish {name} to {store.url}"):
            sent = 0
            for file, one in publication.files.items():
                sent += blobs.put(store, directory / file, one.sha256, moved=Meter(console, file))
            content = publication.as_bytes()
            record = root / FOLDER / ".cache" / f"publication-{name}-{os.getpid()}.json"
            try:
                record.write_bytes(content)
                store.put(_record(name, content), record)
            finally:
                record.unlink(missing_ok=True)
            console.note(f"{sent} of {len(publication.files)} files were not there yet")
    except NoBucket:
        raise
    except StoreError as error:
        raise UserError(f"{name} was not published: {error}", GO_ON) from None
    return Published(publication, store.url, sent)


def _record(name: str, content: bytes) -> str:
    return f"models/{name}/{hashlib.sha256(content).hexdigest()}.json"


def _chosen(root: Path, name: str, store: Store, digest: str | None) -> Publication:
    found = sorted(store.list(f"models/{name}/"), key=lambda one: (one.modified, one.name), reverse=True)
    if not found:
        raise UserError(f"{store.url} holds nothing of {name}", f"publish it there: slipway publish {name} --to URL")
    here: dict[str, str | None] = {}

    def is_here(path: str, sha256: str) -> bool:
        if path not in here:
            here[path] = file_sha256(root / path) if (root / path).is_file() else None
        return here[path] == sha256

    seen = []
    for one in found:
        publication = _read(root, store, one)
        if publication.name != name:
            raise StoreError(f"{store.url}: {one.name} is of '{publication.name}'")
        seen.append(publication.artifact[:12])
        if digest:
            if publication.artifact.startswith(digest) or publication.manifest.startswith(digest):
                return publication
        elif all(is_here(path, sha256) for path, sha256 in publication.inputs.items()):
            return publication
    wanted = f"is {digest}" if digest else "was built from the files of this checkout"
    raise UserError(
        f"{store.url} holds {name} {', '.join(seen[:5])}{' and older ones' if len(seen) > 5 else ''}, none of which "
        f"{wanted}",
        f"check out the commit that it was built from, or name one: slipway restore {name} --digest {seen[0]} …",
    )


def _read(root: Path, store: Store, found: Stat) -> Publication:
    """A publication, which its name vouches for."""
    scratch = root / FOLDER / ".cache" / f"publication-{os.getpid()}.json"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not store.get(found.name, scratch):
            raise StoreError(f"{store.url}: {found.name} is gone")
        content = scratch.read_bytes()
    finally:
        scratch.unlink(missing_ok=True)
    if not found.name.endswith(f"/{hashlib.sha256(content).hexdigest()}.json"):
        raise StoreError(f"{store.url}: {found.name} is damaged: its content has another digest")
    try:
        return Publication.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(f"{store.url}: {found.name} is no publication of this version ({first['msg']})") from None


def _restored(root: Path, publication: Publication, store: Store, console: Console) -> Manifest:
    """What arrived of a restore that was cut off lies in `build/.cache/restored/`, where the next one goes on."""
    folder, name = root / FOLDER, publication.name
    arrived = folder / ".cache" / "restored"
    arrived.mkdir(parents=True, exist_ok=True)
    for file, one in publication.files.items():
        path = arrived / one.sha256
        if not path.is_file() or file_sha256(path) != one.sha256:
            blobs.get(store, one.sha256, path, moved=Meter(console, file))
    scratch = publish.scratch(folder, name)
    try:
        for file, one in publication.files.items():
            shutil.copyfile(arrived / one.sha256, scratch / file)
        manifest = _checked(scratch, publication, store)
        publish.publish(scratch, folder / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for one in publication.files.values():
        (arrived / one.sha256).unlink(missing_ok=True)
    report_html.write_index(folder)
    return manifest


def _checked(directory: Path, publication: Publication, store: Store) -> Manifest:
    """The manifest, which must be what the publication says. Raises StoreError."""
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST).read_bytes())
        artifact = file_sha256(directory / manifest.artifact.file)
    except (OSError, ValidationError) as error:
        raise StoreError(f"{store.url}: {publication.name} is not whole ({error})") from None
    said = (manifest.name, manifest.digest, manifest.artifact.sha256, manifest.sealed().digest)
    if said != (publication.name, publication.manifest, artifact, publication.manifest):
        raise StoreError(f"{store.url}: the manifest of {publication.name} is not of its artifact")
    return manifest
