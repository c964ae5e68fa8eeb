"""A client's work with PyTorch: its samples, some epochs from the server's weights, the score on its held-out part.

Random numbers come from the seed, the round and the client, so that a simulation gives the same weights each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from model_build import calling, factories
from model_build.errors import UserError
from model_build.federated.job import Job

if TYPE_CHECKING:
    import numpy as np
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]

SCORED = 256
"""Samples of one batch where nothing is learned."""


def module(job: Job) -> torch.nn.Module:
    """The factory's module, with the weights that the seed gives it. Raises UserError."""
    import torch

    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(job.seed)
    with factories.opened(job.project):
        made = factories.call(job.model["factory"], job.model["args"], job.project, "source.federated.factory")
    if not isinstance(made, torch.nn.Module):
        raise UserError(
            f"source.federated.factory: {job.model['factory']} returned {type(made).__name__}, not a torch.nn.Module",
            "let it return the module",
        )
    return made


def arrays_of(made: torch.nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """The state dict as NumPy arrays, copied. Raises UserError where NumPy has no such type."""
    try:
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in made.state_dict().items()}
    except TypeError as error:
        raise UserError(
            f"the model has weights that do not cross as NumPy arrays: {error}", "let the factory make float32 ones"
        ) from error


def load(made: torch.nn.Module, arrays: Arrays) -> None:
    """Puts weights into the module. Raises UserError where they are another model's."""
    import torch

    own = made.state_dict()
    wrong = sorted(own.keys() ^ arrays.keys()) or sorted(
        name for name in own if tuple(own[name].shape) != arrays[name].shape
    )
    if wrong:
        raise UserError(
            f"the weights that came are another model's: {', '.join(wrong[:8])} differ",
            "let server and clients have the same code",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(torch.from_numpy(arrays[name].copy()))


class Samples:
    """What one client has: encoded as the endpoint encodes, and split by the seed."""

    def __init__(self, job: Job, partition: int, partitions: int) -> None:
        """Raises UserError for whatever the factory or the encoding makes of it."""
        import numpy as np
        import torch

        name, key = job.clients["factory"], "source.federated.clients"
        given = {**job.clients["args"], "partition": partition, "partitions": partitions}
        with factories.opened(job.project):
            result = factories.call(name, given, job.project, f"{key}.factory")
        if not isinstance(result, tuple) or len(result) != 2:
            raise UserError(f"{key}: {name} must return (samples, labels); it returned {type(result).__name__}")
        samples, labels = result[0], np.asarray(result[1])
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(samples) != len(labels) or len(labels) < 2:
            raise UserError(
                f"{key}: {name} must return at least 2 samples and as many labels, int64 (n,); client {partition} has "
                f"{len(samples)} samples and labels of {labels.dtype} and shape {labels.shape}"
            )
        self.inputs = self._encoded(job, samples, name)
        self.labels = torch.from_numpy(labels.astype(np.int64))
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(job.seed * 1_009 + partition))
        kept = min(max(1, round(job.held_out * len(labels))), len(labels) - 1) if job.held_out else 0
        self.held_out, self.training = order[:kept], order[kept:]

    def _encoded(self, job: Job, samples: Any, name: str) -> dict[str, torch.Tensor]:
        import torch

        from serving.config import ServingConfig
        from serving.tasks import TASKS

        config = ServingConfig.from_dict(dict(job.serving), job.project)
        try:
            encoded = TASKS[job.serving["task"]].encode(list(samples), config)
        except Exception as error:  # whatever a sample of the wrong kind makes of the preprocessing
            raise UserError(
                f"source.federated.clients: what {name} returned cannot be encoded for {job.serving['task']}: "
                f"{factories.last_line(error)}",
                "return samples as an endpoint has them once decoded; docs/architecture.md has the types",
            ) from error
        return {name: torch.from_numpy(array) for name, array in encoded.items()}

    def take(self, rows: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return {name: array[rows] for name, array in self.inputs.items()}, self.labels[rows]


def train(made: torch.nn.Module, samples: Samples, job: Job, number: int, partition: int, mu: float) -> float:
    """Some epochs of stochastic gradient descent from the module's weights, in round `number`; gives the mean loss.

    With `mu` the loss has FedProx's term besides: mu / 2 times the squared distance from the weights at the beginning.
    Raises UserError where it diverges.
    """
    import torch

    torch.manual_seed((job.seed * 100_003 + number) * 1_009 + partition)
    parameters = [parameter for parameter in made.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in parameters] if mu else []
    optimizer = torch.optim.SGD(parameters, lr=step_size(job, number), momentum=job.momentum, foreach=False)
    made.train()
    total, seen = 0.0, 0
    for _ in range(job.epochs):
        order = samples.training[torch.randperm(len(samples.training))]
        for rows in torch.split(order, job.batch_size):
            if len(rows) == 1 and seen:
                continue  # the odd one of the last batch: normalisation over a batch needs two
            inputs, labels = samples.take(rows)
            loss = torch.nn.functional.cross_entropy(_logits(made, inputs, job), labels)
            total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
            if mu:
                distance = sum(((now - then) ** 2).sum() for now, then in zip(parameters, before, strict=True))
                loss = loss + 0.5 * mu * distance
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
    mean = total / seen
    if not math.isfinite(mean):
        raise UserError(f"training diverged in round {number}", "lower source.federated.learning_rate")
    return mean


def step_size(job: Job, number: int) -> float:
    """Of round `number`, from 1 on. Averages of clients that differ settle only where steps become small."""
    factor = 0.5 * (1 + math.cos(math.pi * (number - 1) / job.rounds)) if job.schedule == "cosine" else 1.0
    return job.learning_rate * factor


def score(made: torch.nn.Module, samples: Samples, job: Job) -> tuple[float, int]:
    """Mean loss and right answers on the held-out part."""
    import torch

    made.eval()
    loss, correct = 0.0, 0
    with torch.inference_mode():
        for rows in torch.split(samples.held_out, SCORED):
            inputs, labels = samples.take(rows)
            logits = _logits(made, inputs, job)
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            correct += int((logits.argmax(1) == labels).sum())
    return loss / len(samples.held_out), correct


def _logits(made: torch.nn.Module, inputs: Mapping[str, torch.Tensor], job: Job) -> torch.Tensor:
    names = calling.parameter_names(made, inputs)
    result = made(**{parameter: inputs[name] for name, parameter in names.items()})
    output: torch.Tensor = calling.select_outputs(result, job.outputs)[0]
    if output.ndim != 2:
        raise UserError(
            f"a federated source learns to classify: outputs of the shape (batch, classes); {type(made).__name__} "
            f"returns {tuple(output.shape)}"
        )
    return output
