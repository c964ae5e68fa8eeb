"""Trains a smaller model to answer as the source does: the student learns from the teacher's answers, not labels alone.

It pays where a smaller architecture is known to be fast enough, or to mend what pruning lost: a student from a factory,
or the pruned model that comes in. By default the loss is the divergence of the softened answers and the task's own loss
(Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"); or the distance of the logits (Ba & Caruana 2014),
or of two layers' outputs (Romero et al. 2015, "FitNets"). With `epochs: 0` the student is taken as its weights are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from model_build import architecture, training
from model_build.calling import select_outputs
from model_build.errors import UserError
from model_build.passes.base import Context, Format, Model, TrainingConfig
from model_build.spec import WeightedFactory

if TYPE_CHECKING:
    import torch

    from model_build.training import Objective, Tensors

VERSION = 1
ACCEPTS: frozenset[Format] = frozenset({"pytorch"})
PRODUCES: Format = "pytorch"
NEEDS_CALIBRATION = False


class Config(TrainingConfig):
    student: WeightedFactory | None = Field(
        None, description="What makes the student. Left out: the model that comes in, for instance a pruned one."
    )
    loss: Literal["kl", "mse_logits", "mse_embeddings"] = Field(
        "kl", description="Divergence of the softened answers, or squared distance of logits, or of embeddings."
    )
    temperature: float = Field(2.0, gt=0, le=100, description="How much the answers are softened, for kl.")
    alpha: float = Field(0.7, ge=0, le=1, description="Weight of the teacher; the labels have the rest.")
    teacher_layer: str | None = Field(None, description="Path of the layer whose output is the teacher's embedding.")
    student_layer: str | None = Field(None, description="The same of the student; left out, the same path.")
    epochs: int = Field(10, ge=0, le=1000, description="Times that training sees `data.training`; 0 trains nothing.")

    @model_validator(mode="after")
    def _layers_for_embeddings(self) -> Config:
        if (self.loss == "mse_embeddings") != (self.teacher_layer is not None):
            raise ValueError("teacher_layer belongs to loss: mse_embeddings, which needs it")
        return self


def run(model: Model, config: Config, context: Context) -> Model:
    assert model.load is not None  # noqa: S101  # what ACCEPTS means
    plan = architecture.read(model)
    with training.deterministic(config):  # a student without weights gets the seed's
        student = model.load()
        if config.student:
            assert context.root is not None  # noqa: S101  # the build gives it
            student = architecture.made(config.student, context.root, "distill.student")
            plan = architecture.Architecture(factory=config.student.factory, args=config.student.args)
    if config.epochs:
        assert context.source is not None  # noqa: S101  # what is PyTorch here came from a PyTorch source
        teacher = context.source().eval().requires_grad_(False)
        if config.loss == "mse_embeddings":
            module, objective = _embeddings(student, teacher, config, context)
        else:
            module, objective = student, _answers(student, teacher, config, context)
        training.fit(module, objective, config, context)
    return architecture.write(student.eval(), plan, context.output)


def _answers(student: torch.nn.Module, teacher: torch.nn.Module, config: Config, context: Context) -> Objective:
    """The loss on logits."""
    import torch
    from torch.nn import functional

    soft = config.temperature

    def objective(inputs: Tensors, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = training.logits(teacher, inputs, context)
        given = training.logits(student, inputs, context)
        if given.shape != wanted.shape:
            raise UserError(
                f"distill: the student has {given.shape[1]} outputs, the teacher {wanted.shape[1]}",
                "give the student as many classes",
            )
        if config.loss == "kl":
            student_says, teacher_says = (functional.log_softmax(logits / soft, 1) for logits in (given, wanted))
            # Softened answers have gradients smaller by the square of the temperature.
            distance = soft**2 * functional.kl_div(student_says, teacher_says, reduction="batchmean", log_target=True)
        else:
            distance = functional.mse_loss(given, wanted)
        return _weighted(distance, functional.cross_entropy(given, labels), config.alpha)

    return objective


def _weighted(distance: torch.Tensor, task: torch.Tensor, alpha: float) -> torch.Tensor:
    return alpha * distance + (1 - alpha) * task


def _embeddings(
    student: torch.nn.Module, teacher: torch.nn.Module, config: Config, context: Context
) -> tuple[torch.nn.Module, Objective]:
    """The loss on two layers' outputs, and what is trained: the student, and a map between them if sizes differ."""
    import torch
    from torch import nn

    assert config.teacher_layer is not None  # noqa: S101  # the config holds it
    wanted_of = _Watched(teacher, config.teacher_layer, "teacher")
    given_of = _Watched(student, config.student_layer or config.teacher_layer, "student")
    example = {name: torch.from_numpy(array) for name, array in context.example().items()}
    with torch.no_grad():
        shapes = []
        for watched in (given_of, wanted_of):
            with watched.output() as output:
                training.logits(watched.module, example, context)
                shapes.append(tuple(output().shape))
    if shapes[0][:-1] != shapes[1][:-1]:
        raise UserError(
            f"distill: the student's embedding is {shapes[0]}, the teacher's {shapes[1]}",
            "name layers whose outputs differ in their last axis at most",
        )
    mapped: nn.Module = nn.Identity()
    if shapes[0][-1] != shapes[1][-1]:
        with training.deterministic(config):
            mapped = nn.Linear(shapes[0][-1], shapes[1][-1])

    def objective(inputs: Tensors, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), wanted_of.output() as wanted:
            training.logits(teacher, inputs, context)
        with given_of.output() as given:
            logits = training.logits(student, inputs, context)
        distance = nn.functional.mse_loss(mapped(given()), wanted())
        return _weighted(distance, nn.functional.cross_entropy(logits, labels), config.alpha)

    return nn.ModuleList([student, mapped]), objective


class _Watched:
    """A module one of whose layers' outputs is wanted."""

    def __init__(self, module: torch.nn.Module, path: str, role: str) -> None:
        self.module = module
        try:
            self.layer = module.get_submodule(path)
        except AttributeError:
            known = ", ".join(name for name, _ in module.named_children())
            raise UserError(f"distill: the {role} has no layer '{path}'; it has: {known or 'none'}") from None
        self.path = path

    @contextmanager
    def output(self) -> Iterator[Callable[[], torch.Tensor]]:
        """Gives what the layer made last, of the calls meanwhile."""
        made: list[torch.Tensor] = []

        def note(_: torch.nn.Module, __: object, output: object) -> None:
            made.append(select_outputs(output, ("output",))[0])

        hook = self.layer.register_forward_hook(note)
        try:
            yield lambda: made[-1]
        finally:
            hook.remove()
