"""Every kind of source through a whole build: measured, gated, and packed as ONNX alone."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import yaml
from archives import extract

from model_build import build as building
from model_build.errors import UserError
from model_build.quiet import quiet

pytestmark = pytest.mark.contract

CODE = '''
"""A network over pictures, data for it, and data of numbers. Labels are the models' own answers, or simple."""

import numpy as np
import torch
from torch import nn


def network(seed=5):
    torch.manual_seed(seed)
    linear = nn.Linear(128, 3)
    with torch.no_grad():
        linear.bias.zero_()
        linear.weight -= linear.weight.mean(dim=1, keepdim=True)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), linear).eval()


def pictures(count=60):
    images = np.random.default_rng(1).integers(0, 256, (count, 8, 8), np.uint8)
    with torch.inference_mode():
        logits = network()(torch.from_numpy(images[:, None].astype(np.float32) / 255))
    return images, logits.argmax(1).numpy()


def rows(count=100, seed=2):
    values = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return [{"x": row} for row in values], (values[:, 0] + values[:, 1] > 0).astype(np.int64)
'''

PICTURES: dict[str, Any] = {
    "task": "image-classification",
    "labels": ["a", "b", "c"],
    "image": {"mode": "L", "size": [8, 8]},
    "data": {"evaluation": {"factory": "zoo.models:pictures"}},
    "gates": {"accuracy": {"max_drop": 0.0}},
}
NUMBERS: dict[str, Any] = {
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [4]}}, "outputs": ["probabilities", "label"]},
    "data": {"evaluation": {"factory": "zoo.models:rows"}},
    "optimize": {"candidates": [[]]},
    "gates": {"accuracy": {"max_drop": 0.0, "min": 0.8}},
}


def torchscript(root: Path) -> dict[str, Any]:
    import torch

    with quiet():
        torch.jit.save(torch.jit.trace(_network(root), torch.zeros(2, 1, 8, 8)), root / "m.pt")  # type: ignore[no-untyped-call]
    return PICTURES | {"source": {"torchscript": {"path": "m.pt"}}}


def hdf5(root: Path) -> dict[str, Any]:
    import h5py

    with h5py.File(root / "m.h5", "w") as stored:
        for name, array in _state(root).items():
            stored[name.replace(".", "/")] = array
    return PICTURES | {"source": {"hdf5": {"factory": "zoo.models:network", "args": {"seed": 0}, "path": "m.h5"}}}


def torch_file(root: Path) -> dict[str, Any]:
    import torch

    torch.save(_network(root).state_dict(), root / "m.pt")
    return PICTURES | {"source": {"pytorch": {"factory": "zoo.models:network", "args": {"seed": 0}, "weights": "m.pt"}}}


def pickled_state(root: Path) -> dict[str, Any]:
    (root / "m.pkl").write_bytes(pickle.dumps(_state(root)))
    module = {"factory": "zoo.models:network", "args": {"seed": 0}}
    return PICTURES | {"source": {"pickle": {"path": "m.pkl", "allow_code": True, "module": module}}}


def huggingface(root: Path) -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(0)
    with quiet():
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=8,
            patch_size=4,
            num_channels=1,
            id2label={0: "a", 1: "b", 2: "c"},
        )
        transformers.ViTForImageClassification(config).save_pretrained(root / "vit")
    without_labels = {key: value for key, value in PICTURES.items() if key != "labels"}
    return without_labels | {"source": {"huggingface": {"path": "vit"}}}


def joblib_estimator(root: Path) -> dict[str, Any]:
    joblib.dump(_forest(), root / "m.joblib", compress=3)
    return NUMBERS | {"source": {"joblib": {"path": "m.joblib", "allow_code": True}}}


def pickled_estimator(root: Path) -> dict[str, Any]:
    (root / "m.pkl").write_bytes(pickle.dumps(_forest()))
    return NUMBERS | {"source": {"pickle": {"path": "m.pkl", "allow_code": True}}}


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(3).normal(size=(500, 4)).astype(np.float32)
    return RandomForestClassifier(30, random_state=0).fit(x, x[:, 0] + x[:, 1] > 0)


def _network(root: Path) -> Any:
    scope: dict[str, Any] = {}
    exec(compile((root / "zoo" / "models.py").read_text(), "models.py", "exec"), scope)  # noqa: S102  # the code above
    return scope["network"]()


def _state(root: Path) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in _network(root).state_dict().items()}


@pytest.mark.parametrize(
    ("make", "score"),
    [
        (torch_file, 1.0),
        (torchscript, 1.0),
        (hdf5, 1.0),
        (pickled_state, 1.0),
        (huggingface, None),
        (joblib_estimator, None),
        (pickled_estimator, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_source_of_every_kind_becomes_an_artifact_that_answers_as_it_does(
    tmp_path: Path, make: Callable[[Path], dict[str, Any]], score: float | None
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "models.py").write_text(CODE)
    values = {"name": "m", **make(tmp_path), "measure": {"rounds": 2, "requests": 5}}
    (tmp_path / "specs" / "m.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    (outcome,) = building.build_all((), tmp_path)
    manifest = outcome.manifest
    assert outcome.built and manifest.source.score == manifest.chosen.score
    assert score is None or manifest.source.score == score
    assert manifest.source.size_mb > 0
    assert any(name.startswith(("m.", "vit/")) for name in manifest.inputs)
    artifact = tmp_path / "artifact"
    with tarfile.open(outcome.directory / "model.tar.gz") as archive:
        extract(archive, artifact)
    names = {path.name for path in artifact.rglob("*") if path.is_file()}
    assert "model.onnx" in names
    assert not {name for name in names if name.endswith((".pkl", ".joblib", ".pt", ".pth", ".h5", ".safetensors"))}
    config = json.loads((artifact / "slipway.json").read_text())
    assert config["labels"] == (["a", "b", "c"] if "image" in values else [])
    if "tensor" in values:
        assert _served(artifact, _forest()) > 0.99
    (again,) = building.build_all((), tmp_path)
    assert not again.built


def _served(artifact: Path, forest: Any) -> float:
    """The share of samples for which the artifact's own handler names the class that the original does."""
    x = np.random.default_rng(9).normal(size=(200, 4)).astype(np.float32)
    (artifact.parent / "x.json").write_text(json.dumps({"inputs": {"x": x.tolist()}}))
    code = (
        "import inference, sys\n"
        "model = inference.model_fn(sys.argv[1])\n"
        "data = inference.input_fn(open(sys.argv[2], 'rb').read(), 'application/json')\n"
        "answer = inference.output_fn(inference.predict_fn(data, model), 'application/json')\n"
        "print(answer.decode() if isinstance(answer, bytes) else answer)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(artifact), str(artifact.parent / "x.json")],
        cwd=artifact / "code",
        env=os.environ | {"SM_MODEL_DIR": str(artifact)},
        capture_output=True,
        text=True,
        check=True,
    )
    labels = json.loads(result.stdout)["outputs"]["label"]
    return float(np.mean(np.array(labels) == forest.predict(x).astype(int)))


def test_the_source_is_read_again_when_it_or_the_outputs_change(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "models.py").write_text(CODE)
    values = {"name": "m", **pickled_estimator(tmp_path), "measure": {"rounds": 1, "requests": 5}}
    path = tmp_path / "specs" / "m.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    (first,) = building.build_all((), tmp_path)
    fewer = {"inputs": {"x": {"shape": [4]}}, "outputs": ["probabilities"]}
    path.write_text(yaml.safe_dump(values | {"tensor": fewer}, sort_keys=False))
    (second,) = building.build_all((), tmp_path)
    assert second.built and second.manifest.artifact.sha256 != first.manifest.artifact.sha256
    (tmp_path / "m.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"m: m\.pkl: holds os\.system, which is refused"):
        building.build_all((), tmp_path)
    assert (second.directory / "manifest.json").is_file()
