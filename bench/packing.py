"""Packing an artifact of 500 MB of fp32 weights: `python -m bench.packing`. The peer is `tarfile`'s `w:gz`.

Both times end when the archive's SHA-256 is known. Ours is packed ten times, on one core and on more, and must have the
same bytes each time; its content must unpack to what went in.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from bench.outcome import Bar, table, tell
from model_build import archive

BUILDS = 10
THREADS = (1, 2, 3, 8)
"""Numbers of threads that are tried in turn, as on machines of so many cores."""
LAYER = 2**20
"""Weights of one layer."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        weights = Path(folder) / "model.onnx"
        write_weights(weights, options.megabytes)
        ours, theirs = Path(folder) / "ours.tar.gz", Path(folder) / "theirs.tar.gz"
        started = time.monotonic()
        with tarfile.open(theirs, "w:gz") as tar:
            tar.add(weights, "model.onnx")
        hashed(theirs)
        peer = time.monotonic() - started
        seconds, digests = [], set()
        for _ in range(BUILDS):
            started = time.monotonic()
            digests.add(archive.pack({"model.onnx": weights}, ours))
            seconds.append(time.monotonic() - started)
        for threads in THREADS:
            digests.add(archive.pack({"model.onnx": weights}, ours, threads))
        correct = hashed(ours) in digests and unpacks_to(ours, weights)
        sizes = {path.stem.partition(".")[0]: path.stat().st_size for path in (ours, theirs)}
        size = weights.stat().st_size
    took = median(seconds)
    rows = [
        ("tarfile w:gz", f"{peer:.2f}", f"{sizes['theirs'] / size:.4f}"),
        (f"slipway, {archive.cores()} cores", f"{took:.2f}", f"{sizes['ours'] / size:.4f}"),
    ]
    return tell(
        "packing",
        {
            "bytes": size,
            "tarfile_seconds": peer,
            "slipway_seconds": seconds,
            "sizes": sizes,
            "digests": sorted(digests),
        },
        table(("packer, SHA-256 included", "seconds", "size / weights"), rows),
        [
            Bar("different archives of the same content", len(digests) + (not correct), 1),
            Bar("size against tarfile's", sizes["ours"] / sizes["theirs"], 1),
            Bar("times faster than tarfile", peer / took, 10, at_least=True),
        ],
    )


def write_weights(path: Path, megabytes: int) -> None:
    """Layers as training leaves them: normal, of different widths."""
    random = np.random.default_rng(4)
    with path.open("wb") as stream:
        for _ in range(megabytes * 1_000_000 // (4 * LAYER)):
            stream.write((random.standard_normal(LAYER, np.float32) * random.uniform(0.01, 0.1)).tobytes())


def hashed(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpacks_to(packed: Path, content: Path) -> bool:
    with tarfile.open(packed) as tar:
        member = tar.extractfile("model.onnx")
        found = hashlib.sha256()
        while member and (data := member.read(LAYER)):
            found.update(data)
    return found.hexdigest() == hashed(content)


if __name__ == "__main__":
    sys.exit(main())
