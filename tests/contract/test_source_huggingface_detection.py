"""Detectors of `transformers`, made here with random weights: their boxes become corners, and they are exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_build.passes import export_onnx
from model_build.passes.base import Context
from model_build.quiet import quiet
from model_build.sources import huggingface, open_module
from model_build.spec import Spec
from serving.config import ServingConfig
from serving.tasks import object_detection

pytestmark = pytest.mark.contract

SIZES: dict[str, Any] = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import transformers

    root = tmp_path_factory.mktemp("detectors")
    torch.manual_seed(0)
    with quiet():
        yolos = transformers.YolosConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
            patch_size=8, num_detection_tokens=5, id2label={0: "N/A", 1: "cat", 2: "N/A"},
        )  # fmt: skip
        transformers.YolosForObjectDetection(yolos).save_pretrained(root / "yolos")
        backbone: Any = transformers.ResNetConfig(  # type: ignore[call-arg]  # a backbone's own keys
            embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=["stage4"]
        )
        detr = transformers.DetrConfig(
            backbone_config=backbone, d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5,
            id2label={0: "cat", 1: "dog"}, **SIZES,
        )  # fmt: skip
        transformers.DetrForObjectDetection(detr).save_pretrained(root / "detr")
    return root


def spec(folder: str, labels: tuple[str, ...]) -> Spec:
    return Spec.model_validate(
        {
            "name": "m",
            "task": "object-detection",
            "labels": labels,
            "image": {"size": [32, 32]},
            "detection": {"activation": "softmax", "nms": False, "score_threshold": 0},
            "source": {"huggingface": {"path": folder}},
        }
    )


@pytest.mark.parametrize("folder", ["yolos", "detr"])
def test_a_detector_is_exported_and_answers_as_the_libraries_own_postprocessing(
    project: Path, tmp_path: Path, folder: str
) -> None:
    import onnxruntime
    import torch
    import transformers

    labels = huggingface.labels_of(project / folder, "object-detection")
    one = spec(folder, labels)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    context = Context(
        output=tmp_path,
        example=lambda: {"pixels": pixels},
        input_axes={"pixels": {0: "batch"}},
        output_names=object_detection.OUTPUTS,
    )
    made = export_onnx.run(open_module(one, project), export_onnx.Config(), context)
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    outputs = dict(zip(object_detection.OUTPUTS, session.run(None, {"pixels": pixels}), strict=True))
    values: dict[str, Any] = {"name": "m", "task": one.task, "labels": list(labels), **one.sections()}
    found = object_detection.postprocess(outputs, ServingConfig.from_dict(values, tmp_path))

    with quiet():
        own = transformers.AutoModelForObjectDetection.from_pretrained(project / folder).eval()
    with torch.inference_mode():
        result = own(torch.from_numpy(pixels))
    # as DetrImageProcessor.post_process_object_detection has it: the best class but the last, boxes as corners
    scores, classes = result.logits.softmax(-1)[..., :-1].max(-1)
    middles, sizes = result.pred_boxes[..., :2], result.pred_boxes[..., 2:]
    corners = torch.cat([middles - sizes / 2, middles + sizes / 2], -1).clamp(0, 1)
    for picture in range(2):
        order = scores[picture].argsort(descending=True, stable=True)
        got = found[picture]
        np.testing.assert_allclose([one["score"] for one in got], scores[picture][order], atol=1e-4)
        assert [one["label"] for one in got] == [labels[index] for index in classes[picture][order].tolist()]
        np.testing.assert_allclose([[*one["box"].values()] for one in got], corners[picture][order], atol=1e-4)


def test_a_name_that_several_classes_have_is_followed_by_their_number(project: Path) -> None:
    assert huggingface.labels_of(project / "yolos", "object-detection") == ("N/A", "cat", "N/A 2")
