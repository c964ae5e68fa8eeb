"""A bad version of a model: its own artifact with a fault in its code, as a mistake in `inference.py` would be.

Apart from the rehearsal because it writes an artifact. Nothing of it is in the program that serves in earnest.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Literal, get_args

Fault = Literal["errors", "slow", "crash"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
SLOW_SECONDS = 2.0

_INFERENCE = "code/inference.py"
_GOOD = "code/good_version.py"
_ABOUT = "slipway.json"
_DOES = {
    "errors": 'raise RuntimeError("the fault that slipway rehearse --bad put in")',
    "slow": f"time.sleep({SLOW_SECONDS})",
    "crash": "os._exit(1)",
}
_FAULTY = '''\
"""The version that `slipway rehearse --bad` rolls out: the good one, and a fault in every prediction."""

import functools
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

{imports}


def _faulty(function):
    @functools.wraps(function)
    def predict(*arguments):
        {does}
        return function(*arguments)

    return predict


for _name in ("predict_fn", "transform_fn"):
    if _name in globals():
        globals()[_name] = _faulty(globals()[_name])
'''
# The good version may leave out what the serving program has of its own.
_BESIDE = """\
from serving.handler import input_fn, model_fn, output_fn, predict_fn

for _name in ("input_fn", "model_fn", "output_fn", "predict_fn", "transform_fn"):
    if hasattr(good_version, _name):
        globals()[_name] = getattr(good_version, _name)"""


def bad_version(artifact: bytes, fault: Fault) -> bytes:
    """A `model.tar.gz` with the fault in its code, whole and with the right digests: it starts, and then fails."""
    with tarfile.open(fileobj=io.BytesIO(artifact), mode="r:gz") as good:
        files = {
            member.name.removeprefix("./"): content.read()
            for member in good
            if (content := good.extractfile(member)) is not None
        }
    imports = _BESIDE.partition("\n")[0]
    if _INFERENCE in files:
        files[_GOOD] = files.pop(_INFERENCE)
        imports = f"import good_version\n{_BESIDE}"
    files[_INFERENCE] = _FAULTY.format(imports=imports, does=_DOES[fault]).encode()
    if _ABOUT in files:
        about = json.loads(files[_ABOUT])
        if "files" in about:
            about["files"] |= {
                name: hashlib.sha256(files[name]).hexdigest() for name in (_INFERENCE, _GOOD) if name in files
            }
            files[_ABOUT] = json.dumps(about, indent=2).encode()
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as bad:
        for name, packed in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(packed)
            bad.addfile(member, io.BytesIO(packed))
    return target.getvalue()
