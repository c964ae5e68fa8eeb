"""Locks the requirements: `make lock`. One resolution for all sets, pinned with hashes, naming no index or host.

What is pinned stays as it is where it still fits; `make lock UPGRADE=1` takes the newest of everything.
torch and what only torch needs are locked apart (torch.txt), so that `make setup TORCH=cpu` can take its small build.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
UPGRADE = bool(os.environ.get("UPGRADE"))
HEADER = "# Made by `make lock` from the .in files: do not edit.\n"


def compile_set(inputs: list[str], *options: str, previous: str = "") -> str:
    """The pins of a set. Those of `previous`, an earlier one's text, are preferred."""
    uv = Path(sys.executable).parent / "uv"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output.txt")
        output.write_text("" if UPGRADE else previous)
        command = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-header", "--no-annotate", "--output-file", str(output)]
        subprocess.run([str(uv), *command, *options, *inputs], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
        return output.read_text()


def before(*sets: str) -> str:
    """What these sets are now."""
    return "".join(path.read_text() for name in sets if (path := HERE / f"{name}.txt").is_file())


def pinned(text: str) -> dict[str, str]:
    """Name → version of every pin (the first where markers give several)."""
    pins: dict[str, str] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, flags=re.M):
        pins.setdefault(name, version)
    return pins


def main() -> None:
    everything = compile_set(["dev.in"], previous=before("dev", "torch"))
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
        torchserve = compile_set(["torchserve.in"], "-c", str(constraints), *apart, previous=before("torchserve"))
        olive = compile_set(["olive.in"], "-c", str(constraints), *apart, previous=before("olive"))
        # Flower asks for older versions of these; everything else it shares with the main environment, which it sees.
        older = ("packaging", "pycryptodome", "rich", "typer", "uv", "uvicorn")
        flower = Path(folder, "flower.txt")
        flower.write_text(re.sub(rf"^(?:{'|'.join(older)})==.*\n", "", constraints.read_text(), flags=re.M))
        apart = [option for name in shared if name not in older for option in ("--no-emit-package", name)]
        federated = compile_set(["federated.in"], "-c", str(flower), *apart, previous=before("federated"))
        # What LiteRT's converter adds to the build's environment, installed by --no-deps: it asks for another torch.
        built = sorted(pinned(build).keys() | pinned(torch).keys())
        overrides = Path(folder, "overrides.txt")
        overrides.write_text(
            "".join(f"{name}=={pinned(everything)[name]}\n" for name in ("torch", "typing-extensions"))
        )
        kept = [option for name in built for option in ("--no-emit-package", name)]
        litert = compile_set(
            ["litert.in"], "-c", str(constraints), "--override", str(overrides), *kept, previous=before("litert")
        )
        alicloud = compile_set(["alicloud.in"], "-c", str(constraints), *kept, previous=before("alicloud"))
        silent = [*kept, "--no-emit-package", "openvino-telemetry"]
        platforms = compile_set(["platforms.in"], "-c", str(constraints), *silent, previous=before("platforms"))
        # The peers of bench/serving.py run the same models with the same libraries; the rest is as each wants it.
        models_run_by = ("numpy", "onnxruntime", "orjson", "tokenizers")
        pins = re.findall(r"^(?:" + "|".join(models_run_by) + r")==[^\\\n]+", everything, flags=re.M)
        constraints.write_text("\n".join(pins) + "\n")
        peers = {
            path.stem: compile_set([path.name], "-c", str(constraints), previous=before(path.stem))
            for path in sorted(HERE.glob("peers-*.in"))
        }
    # Run as programs in environments of their own: they share nothing with the rest.
    programs = {name: compile_set([f"{name}.in"], previous=before(name)) for name in ("checkov", "docs")}
    sets = {"base": base, "torch": torch, "build": build, "dev": dev, "serving": serving}
    sets |= {"torchserve": torchserve, "olive": olive, "litert": litert, "alicloud": alicloud, "platforms": platforms}
    sets |= {"federated": federated, **programs, **peers}
    for name, text in {**sets, "uv": compile_set(["uv.in"], previous=before("uv"))}.items():
        (HERE / f"{name}.txt").write_text(HEADER + text)
        print(f"{name}.txt: {len(pinned(text))} packages")


if __name__ == "__main__":
    main()
