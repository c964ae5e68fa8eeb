"""Locks the requirements: `make lock`. One resolution for all sets, pinned with hashes, naming no index or host.

torch and what only torch needs are locked apart (torch.txt), so that `make setup TORCH=cpu` can take its small build.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
HEADER = "# Made by `make lock` from the .in files: do not edit.\n"


def compile_set(inputs: list[str], *options: str) -> str:
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate", *options, *inputs]
    environment_python = Path(sys.executable).parent
    return subprocess.run(
        [str(environment_python / command[0]), *command[1:]], cwd=HERE, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def pinned(text: str) -> dict[str, str]:
    """Name → version of every pin (the first where markers give several)."""
    pins: dict[str, str] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, flags=re.M):
        pins.setdefault(name, version)
    return pins


def main() -> None:
    everything = compile_set(["dev.in"])
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "all.txt")
        # Markers stay: only the hashes go, which a constraint may not carry.
        constraints.write_text(re.sub(r" \\\n(?:\s+--hash=\S+(?: \\\n|\n))+", "\n", everything))
        base = compile_set(["base.in"], "-c", str(constraints))
        torch = compile_set(["torch.in"], "-c", str(constraints))
        only_torch = sorted(pinned(torch).keys() - pinned(base).keys())
        skip = [option for name in only_torch for option in ("--no-emit-package", name)]
        build = compile_set(["build.in"], "-c", str(constraints), *skip)
        dev = compile_set(["dev.in"], "-c", str(constraints), *skip)
        serving = compile_set(["serving.in"], "-c", str(constraints))
        # AWS's toolkit needs an old setuptools; everything else it shares with the main environment.
        constraints.write_text(re.sub(r"^setuptools==.*\n", "", constraints.read_text(), flags=re.M))
        shared = sorted(pinned(everything).keys() - {"setuptools"})
        apart = [option for name in shared for option in ("--no-emit-package", name)]
        torchserve = compile_set(["torchserve.in"], "-c", str(constraints), *apart)
        olive = compile_set(["olive.in"], "-c", str(constraints), *apart)
    sets = {"base": base, "torch": torch, "build": build, "dev": dev, "serving": serving}
    sets |= {"torchserve": torchserve, "olive": olive}
    for name, text in {**sets, "uv": compile_set(["uv.in"])}.items():
        (HERE / f"{name}.txt").write_text(HEADER + text)
        print(f"{name}.txt: {len(pinned(text))} packages")


if __name__ == "__main__":
    main()
