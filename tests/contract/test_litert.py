"""convert_litert with its real converter: specs built, measured, gated and published, and what was built is served.

The converter is in an environment of its own, made on the first run (0.7 GB): the main one has its runtime alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from archives import extract
from overlays import PROJECT, python_with
from serving_artifacts import Client, running_server, tokenizer_json

pytestmark = pytest.mark.contract

CODE = '''
"""Models of pictures and of words. The labels are their own answers."""

import numpy as np
import torch
from torch import nn


def pictures_model():
    torch.manual_seed(5)
    last = nn.Linear(128, 3)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), last
    ).eval()
    with torch.no_grad():  # so that no class is far more frequent than the others
        last.bias -= model(torch.rand(256, 1, 8, 8)).mean(0)
    return model


def pictures(count):
    images = np.random.default_rng(1).integers(0, 256, (count, 8, 8), np.uint8)
    with torch.inference_mode():
        logits = pictures_model()(torch.from_numpy(images[:, None].astype(np.float32) / 255))
    return images, logits.argmax(1).numpy()


class Words(nn.Module):
    """The sum of its words' logits, and of what stands for padding too unless it is masked."""

    def __init__(self, masked):
        super().__init__()
        self.masked = masked
        self.table = nn.Embedding(6, 2)
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor([[3.0, 0], [0, 0], [2, -1], [1, 0], [-1, 2], [0, 1]]))

    def forward(self, input_ids, attention_mask):
        each = self.table(input_ids)
        return (each * attention_mask.unsqueeze(-1) if self.masked else each).sum(dim=1)


def words_model(masked):
    return Words(masked).eval()


def words():
    return ["goal", "match goal goal", "market", "shares market shares match market shares"], np.array([0, 0, 1, 1])
'''

PICTURES: dict[str, Any] = {
    "name": "pictures",
    "task": "image-classification",
    "labels": ["a", "b", "c"],
    "image": {"mode": "L", "size": [8, 8]},
    "source": {"pytorch": {"factory": "zoo.tiny:pictures_model"}},
    "data": {"evaluation": {"factory": "zoo.tiny:pictures", "args": {"count": 40}}},
    "optimize": {
        "candidates": [["export_onnx"], ["convert_litert"], [{"convert_litert": {"quantize": "dynamic"}}]],
        "choose": "smallest",
    },
    "measure": {"rounds": 2, "requests": 5},
    "gates": {"accuracy": {"max_drop": 0.2}, "size": {"max_ratio": 0.5}},
}
WORDS: dict[str, Any] = {
    "name": "words",
    "task": "text-classification",
    "labels": ["sport", "business"],
    "text": {"tokenizer": "zoo/tokenizer.json", "max_length": 8},
    "source": {"pytorch": {"factory": "zoo.tiny:words_model", "args": {"masked": True}}},
    "data": {"evaluation": {"factory": "zoo.tiny:words"}},
    "optimize": {"candidates": [[{"convert_litert": {"lengths": [2]}}]]},
    "measure": {"rounds": 2, "requests": 5},
    "gates": {"accuracy": {"min": 1.0}},
}
UNMASKED = WORDS | {
    "name": "unmasked",
    "source": {"pytorch": {"factory": "zoo.tiny:words_model", "args": {"masked": False}}},
}


def slipway(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python_with("litert"), "-m", "slipway", "--root", root, *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A project whose three specs were built, one of them in vain."""
    root = tmp_path_factory.mktemp("litert") / "project"
    (root / "zoo").mkdir(parents=True)
    (root / "specs").mkdir()
    (root / "Pulumi.yaml").touch()
    (root / "zoo/tiny.py").write_text(CODE)
    (root / "zoo/tokenizer.json").write_text(tokenizer_json())
    for spec in (PICTURES, WORDS, UNMASKED):
        (root / f"specs/{spec['name']}.yaml").write_text(yaml.safe_dump(spec))
    return root, slipway(root, "build", "-j", "1")


def unpacked(root: Path, name: str, target: Path) -> Path:
    with tarfile.open(root / f"build/{name}/model.tar.gz") as archive:
        extract(archive, target)
    return target


def ask(client: Client, inputs: Any) -> list[str]:
    """The best label of each input: for a picture the answer ranks all, for a text it is the best one."""
    status, _, answer = client.request(json.dumps({"inputs": inputs}))
    assert status == 200, answer
    return [(one if isinstance(one, dict) else one[0])["label"] for one in json.loads(answer)]


def test_litert_candidates_are_measured_and_gated_beside_the_others_and_the_best_one_is_published(
    built: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, result = built
    report = json.loads((root / "build/pictures/report.json").read_text(), parse_constant=pytest.fail)
    found = {one["label"]: one for one in report["candidates"]}
    assert list(found) == ["export_onnx", "convert_litert", "convert_litert(quantize=dynamic)"], result.stderr
    assert all(
        one["measurement"]["samples"] == 40 and one["measurement"]["latency_p50_ms"] > 0 for one in found.values()
    )
    # The same numbers but for rounding, in about as many bytes: both miss the size gate, and a quarter holds it.
    assert found["export_onnx"]["measurement"]["score"] == found["convert_litert"]["measurement"]["score"] == 1.0
    held = {label: all(gate["passed"] for gate in one["gates"]) for label, one in found.items()}
    assert held == {"export_onnx": False, "convert_litert": False, "convert_litert(quantize=dynamic)": True}
    assert [label for label, one in found.items() if one["chosen"]] == ["convert_litert(quantize=dynamic)"]
    assert report["environment"]["versions"]["litert-torch"] != "none"


def test_the_published_picture_model_is_served_in_batches_without_the_converter(
    built: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    directory = unpacked(built[0], "pictures", tmp_path / "model")
    names = [line.partition("==")[0] for line in (directory / "code/requirements.txt").read_text().splitlines()]
    assert names == ["ai-edge-litert", "numpy", "orjson", "pillow"]
    assert json.loads((directory / "slipway.json").read_text())["model"] == "model.tflite"
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (6, 8, 8), np.uint8)
    with running_server(directory) as (_, client):
        together = ask(client, images.tolist())
        assert len(set(together)) > 1
        assert [ask(client, image.tolist())[0] for image in images] == together


def test_a_text_model_answers_for_every_length_of_text(
    built: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    root, result = built
    assert (root / "build/words/manifest.json").is_file(), result.stderr
    with running_server(unpacked(root, "words", tmp_path / "model")) as (_, client):
        assert ask(client, "goal") == ["sport"]
        assert ask(client, "goal market market") == ["business"]
        assert ask(client, ["goal", "shares " * 20, "match match goal market"]) == ["sport", "business", "sport"]


def test_a_model_that_does_not_heed_its_mask_is_refused_and_nothing_is_published(
    built: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, result = built
    assert result.returncode == 1
    assert "unmasked: convert_litert: output 'logits' of the converted Words is off by" in result.stderr
    assert "let forward heed attention_mask" in result.stderr
    assert not (root / "build/unmasked").exists()
    assert "Traceback" not in result.stderr


def test_a_published_litert_model_is_diagnosed_beside_the_other_candidates(
    built: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    result = slipway(built[0], "diagnose", "pictures", "--no-endpoint")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pictures holds its gates" in result.stdout
