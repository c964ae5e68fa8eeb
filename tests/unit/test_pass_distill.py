"""distill: students of small teachers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_models as models
from pydantic import ValidationError
from torch import nn

from model_build import architecture, training
from model_build.errors import UserError
from model_build.passes import distill, prune_channels
from model_build.passes.base import Context, Model, TrainingConfig

CODE = """
from torch import nn

def small(classes=3):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 8), nn.Linear(8, classes)
    )
"""
STUDENT = {"factory": "small_student:small"}
LEARN: dict[str, Any] = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, "threads": 1}


def teacher() -> nn.Module:
    """One that knows its task."""
    module = models.Residual()
    context = models.context(Path("unused-by-training").parent)
    config = TrainingConfig(epochs=8, batch_size=16, learning_rate=0.01, threads=1)
    training.fit(module, training.task_loss(module, context), config, context)
    return module.eval()


@pytest.fixture(scope="module")
def taught() -> dict[str, torch.Tensor]:
    return models.made(teacher).state_dict()


@pytest.fixture
def known(taught: dict[str, torch.Tensor]) -> Any:
    def make() -> nn.Module:
        module = models.made()
        module.load_state_dict(taught)
        return module

    return make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "small_student.py").write_text(CODE)
    return tmp_path


def context(root: Path, name: str, source: Any, **changes: Any) -> Context:
    return models.context(root / name, teacher=source, **({"root": root} | changes))


def run(root: Path, source: Any, name: str = "out", model: Model | None = None, **options: Any) -> Model:
    config = distill.Config(**(LEARN | options))
    return distill.run(model or models.source(source), config, context(root, name, source))


def opened(model: Model, root: Path) -> nn.Module:
    return architecture.load(model.path, None, root)


@pytest.mark.parametrize("loss", ["kl", "mse_logits"])
def test_a_student_learns_the_answers_of_its_teacher_without_labels(project: Path, known: Any, loss: str) -> None:
    student = opened(run(project, known, loss=loss, alpha=1, student=STUDENT), project)
    agreement = (models.answers(student).argmax(1) == models.answers(known()).argmax(1)).mean()
    assert agreement > 0.9
    assert models.size(student) < 0.2 * models.size(known())


def test_wrong_labels_are_believed_by_as_much_as_the_teacher_is_not(project: Path, known: Any) -> None:
    inputs, labels = models.images()
    wrong = ((inputs, (labels + 1) % models.CLASSES),)

    def agreement(alpha: float) -> float:
        config = distill.Config(**LEARN, student=STUDENT, alpha=alpha)
        given = models.context(project / str(alpha), wrong, known, root=project)
        student = opened(distill.run(models.source(known), config, given), project)
        return float((models.answers(student).argmax(1) == labels).mean())

    assert agreement(1) > 0.9
    assert agreement(0) < 0.2


def test_embeddings_of_other_sizes_are_matched_through_a_map_that_is_not_kept(project: Path, known: Any) -> None:
    options = {"loss": "mse_embeddings", "teacher_layer": "classifier.0", "student_layer": "4", "student": STUDENT}
    model = run(project, known, **options)
    student = opened(model, project)
    assert set(student.state_dict()) == set(
        opened(run(project, known, "raw", student=STUDENT, epochs=0), project).state_dict()
    )
    assert models.accuracy(student) > 0.8
    assert models.weights(run(project, known, "again", **options)) == models.weights(model)


def test_distilling_twice_gives_the_same_student_and_another_seed_another(project: Path, known: Any) -> None:
    first = models.weights(run(project, known, student=STUDENT))
    torch.manual_seed(999)
    assert models.weights(run(project, known, "again", student=STUDENT)) == first
    assert models.weights(run(project, known, "seed", student=STUDENT, seed=5)) != first


def test_killed_while_distilling_it_ends_with_the_same_student(project: Path, known: Any) -> None:
    whole = models.weights(run(project, known, student=STUDENT))
    config = distill.Config(**LEARN, student=STUDENT)
    given = context(project, "killed", known, work=project / "work")
    with pytest.raises(models.Killed):
        distill.run(models.source(known), config, replace(given, progress=models.killed_after(3)))
    assert models.weights(distill.run(models.source(known), config, given)) == whole


def test_a_pruned_model_that_comes_in_is_the_student(project: Path, known: Any) -> None:
    config = prune_channels.Config(ratio=0.5, round_to=4, epochs=0)
    pruned = prune_channels.run(models.source(known), config, context(project, "pruned", known))
    before = models.accuracy(architecture.load(pruned.path, known, project))
    model = run(project, known, model=architecture.reopened(pruned, known, project), alpha=1)
    student = architecture.load(model.path, known, project)
    assert student.stem[0].out_channels == 8
    assert models.accuracy(student) > max(0.9, before)


def test_without_epochs_the_student_is_its_weights_and_needs_neither_data_nor_teacher(
    project: Path, known: Any
) -> None:
    learnt = opened(run(project, known, student=STUDENT), project)
    from safetensors.torch import save_file

    save_file(learnt.state_dict(), project / "student.safetensors")
    config = distill.Config(epochs=0, student=STUDENT | {"weights": "student.safetensors"})
    given = replace(context(project, "taken", known), training=None, source=None)
    model = distill.run(models.source(), config, given)
    assert (models.answers(opened(model, project)) == models.answers(learnt)).all()


def test_without_student_and_epochs_nothing_changes(project: Path, known: Any) -> None:
    model = run(project, known, epochs=0)
    assert (models.answers(architecture.load(model.path, known, project)) == models.answers(known())).all()


def test_mistakes_are_named(project: Path, known: Any) -> None:
    with pytest.raises(UserError, match="the student has 4 outputs, the teacher 3"):
        run(project, known, student=STUDENT | {"args": {"classes": 4}})
    layers = {"loss": "mse_embeddings", "student": STUDENT}
    with pytest.raises(UserError, match="the teacher has no layer 'middle'; it has: stem"):
        run(project, known, teacher_layer="middle", **layers)
    with pytest.raises(UserError, match=r"the student's embedding is \(2, 6, 3, 3\), the teacher's \(2, 32\)"):
        run(project, known, teacher_layer="classifier.0", student_layer="0", **layers)


@pytest.mark.parametrize("options", [{"loss": "mse_embeddings"}, {"teacher_layer": "stem"}])
def test_a_layer_of_the_teacher_belongs_to_embeddings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="teacher_layer belongs to loss: mse_embeddings"):
        distill.Config(**options)
