"""Cold builds of all shipped specs: `python -m bench.cold_build`. How much longer than the longest one alone?

Each spec is built alone from nothing, then all of them at once, twice. The longest chain is the longest of the builds
alone, of which each is a chain: source, passes, measurements, packing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from bench.outcome import Bar, table, tell
from model_build import archive

ROOT = Path(__file__).parents[1]
TAKEN = ("specs", "examples", "Pulumi.yaml")
MODELS = ("announcers", "fashion", "news-topics")
"""Those that the bar was set for: more of them would only fill the two cores."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="of all specs at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        root = Path(folder)
        for name in TAKEN:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / name)
        alone = {name: cold(root, name) for name in MODELS}
        together = [cold(root, *MODELS) for _ in range(options.runs)]
    longest = max(alone.values())
    rows = [(f"{name} alone", f"{seconds:.1f}") for name, seconds in alone.items()]
    rows += [(f"all {len(MODELS)} at once", f"{seconds:.1f}") for seconds in together]
    return tell(
        "cold_build",
        {"alone_seconds": alone, "together_seconds": together, "cores": archive.cores()},
        table((f"cold build, {archive.cores()} cores", "seconds"), rows),
        [Bar("all at once against the longest alone", mean(together) / longest, 1.3)],
    )


def cold(root: Path, *names: str) -> float:
    """Seconds of a build from nothing."""
    shutil.rmtree(root / "build", ignore_errors=True)
    command = [str(Path(sys.executable).parent / "slipway"), "build", *names]
    started = time.monotonic()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
