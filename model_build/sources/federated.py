"""A `torch.nn.Module` that a Flower app trains at several clients: a node of weights and an account of the rounds.

Once the node is there it is what `pytorch` is. A simulation's node is a function of its key; of a federation's, `run`
stands in the key for what cannot be made twice.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.federated.job import Job
from model_build.progress import SILENT, Progress
from model_build.sources import federated_environment, pytorch

if TYPE_CHECKING:
    import torch

    from model_build.cache import Node
    from model_build.spec import FederatedSource, Spec

LIBRARIES = ("numpy", "safetensors", "torch")
VERSION = 1
"""Of what the app does with the same settings."""
WEIGHTS = "weights.safetensors"
ACCOUNT = "rounds.json"


def files(spec: Spec, root: Path) -> list[Path]:
    return files_of(node(spec, root))


def files_of(trained: Node) -> list[Path]:
    return [trained.directory / WEIGHTS]


def settings(spec: Spec, root: Path) -> dict[str, Any]:
    return settings_of(spec, root, node(spec, root))


def settings_of(spec: Spec, root: Path, trained: Node) -> dict[str, Any]:
    source = _of(spec)
    weights = str(trained.directory / WEIGHTS)
    return {"factory": source.factory, "args": source.args, "weights": {"": weights}, "root": str(root)}


def load_module(
    factory: str, args: Mapping[str, Any], weights: Mapping[str, Path | str], root: Path | str
) -> torch.nn.Module:
    return pytorch.load_module(factory, args, weights, root, key="federated")


def account(trained: Node) -> dict[str, Any]:
    """How the training went: `where`, `flwr`, `strategy`, and of each round the clients, their scores and failures."""
    values: dict[str, Any] = trained.read_json(ACCOUNT)
    return values


def node(spec: Spec, root: Path) -> Node:
    """The trained weights, made here if no build has made them. Raises UserError."""
    from model_build.build import FOLDER
    from model_build.cache import Cache
    from model_build.inputs import Inputs

    def train(directory: Path) -> None:
        make(spec, root, directory)

    nodes = Cache(root / FOLDER / ".cache" / "nodes")
    return nodes.obtain(Inputs(spec, root).source_key(), train, {"model": spec.name, "step": "train at the clients"})


def make(spec: Spec, root: Path, directory: Path, progress: Progress = SILENT) -> None:
    """Trains, and writes the weights and the account into a node's folder. Raises UserError."""
    from model_build.deployment import seconds
    from model_build.sources import federated_app, federated_processes

    source = _of(spec)
    limit = seconds(source.round_limit)
    # Training and scoring have the limit each, starting too; here clients may have to take turns.
    within = (2 * source.rounds + 2) * limit * (1 if source.superlink else source.clients.number)
    with tempfile.TemporaryDirectory(prefix="slipway-federated-") as folder:
        scratch = Path(folder)
        if source.superlink is None:
            job = job_of(spec, root, str(directory / WEIGHTS))
            job.write(scratch / "job.json")
            heard = federated_processes.simulate(scratch / "job.json", scratch, within, progress.note)
        else:
            from model_build.project_files import resolve

            app = scratch / "app"
            federated_app.write(spec, job_of(spec, root, None), root, app)
            certificate = resolve(source.certificate, root) if source.certificate else None
            heard, content = federated_processes.submit(
                app, source.superlink, certificate, scratch, within, progress.note
            )
            (directory / WEIGHTS).write_bytes(content)
    written = {
        "where": source.superlink or "simulation",
        "run": source.run,
        "flwr": federated_environment.flwr_version(),
        "strategy": source.strategy,
        "proximal_mu": source.proximal_mu,
        "epochs": source.epochs,
        "rounds": heard.rounds,
    }
    (directory / ACCOUNT).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def job_of(spec: Spec, root: Path, weights: str | None) -> Job:
    """What the app is told; one that travels (`weights` is None) names nothing of this machine."""
    from model_build import datasets
    from model_build.deployment import seconds
    from model_build.sources import federated_app
    from serving.tasks import TASKS

    source = _of(spec)
    serving = datasets.serving_values(spec, root)
    if spec.text and weights is None:
        serving["text"] = serving["text"] | {"tokenizer": federated_app.TOKENIZER}
    return Job(
        model={"factory": source.factory, "args": source.args},
        clients={"factory": source.clients.factory, "args": source.clients.args, "number": source.clients.number},
        serving=serving,
        outputs=TASKS[spec.task].output_names(datasets.serving_config(spec, root)),
        strategy=source.strategy,
        proximal_mu=source.proximal_mu or 0.0,
        rounds=source.rounds,
        epochs=source.epochs,
        batch_size=source.batch_size,
        learning_rate=source.learning_rate,
        schedule=source.schedule,
        momentum=source.momentum,
        held_out=source.held_out,
        fraction=source.fraction,
        min_clients=source.min_clients,
        round_seconds=seconds(source.round_limit),
        seed=source.seed,
        threads=source.threads,
        root=str(root) if weights else None,
        weights=weights,
    )


def _of(spec: Spec) -> FederatedSource:
    assert spec.source.federated is not None  # noqa: S101  # what this module is for
    return spec.source.federated
