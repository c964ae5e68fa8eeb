"""The ServerApp: Flower's FedAvg or FedProx over some rounds, with an account of each, and the weights in the end.

Clients that fail or are silent are left out of their round; with fewer than `min_clients` answers there is no result.
Answers are put in the order of the clients first: sums of floats depend on it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedProx

from model_build.errors import UserError
from model_build.federated import learning
from model_build.federated.client import METRICS, numpy_ndarrays_of
from model_build.federated.job import FAILED, ROUND, WEIGHTS, Job

PIECE = 48 * 1024
"""Bytes of the weights that one line of a log carries."""


class Rounds:
    """What Flower's strategies lack: an order of the answers, an account of each round, and a least number of them."""

    job: Job
    like: dict[str, np.dtype[Any]]
    asked: list[int]
    account: dict[str, Any]
    began: float

    def begin(self, job: Job, arrays: ArrayRecord) -> None:
        self.job = job
        self.like = {name: array.numpy().dtype for name, array in arrays.items()}

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: Any, grid: Grid) -> Iterable[Message]:
        random.seed(f"{self.job.seed}/{server_round}")  # Flower draws the clients of a round from this
        self.began = time.monotonic()
        self.account = {"round": server_round, "clients": [], "failed": []}
        messages = list(super().configure_train(server_round, arrays, config, grid))  # type: ignore[misc]
        self.asked = [message.metadata.dst_node_id for message in messages]
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answered = self._answers(replies, "training")
        if len(answered) < self.job.min_clients:
            failed = self.account["failed"]
            why = "".join(f"\n  client {one['client']}: {one['why']}" for one in failed)
            raise UserError(
                f"round {server_round}: {len(answered)} of {len(self.asked)} clients answered, and min_clients is "
                f"{self.job.min_clients}{why}",
                "mend what the clients say, or give them longer: source.federated.round_limit",
            )
        for values in map(_metrics, answered):
            self.account["clients"].append(
                {
                    "client": values["partition"],
                    "samples": values["num-examples"],
                    "loss": round(values["loss"], 6),
                    "seconds": round(values["seconds"], 3),
                }
            )
        averaged, metrics = super().aggregate_train(server_round, answered)  # type: ignore[misc]
        return ArrayRecord({name: Array(self._typed(name, array.numpy())) for name, array in averaged.items()}), metrics

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        answered = self._answers(replies, "scoring") if self.job.held_out else []
        scores = {values["partition"]: values for values in map(_metrics, answered)}
        for one in self.account["clients"]:
            if values := scores.get(one["client"]):
                one["held_out"] = values["num-examples"]
                one["score"] = round(values["correct"] / values["num-examples"], 6)
        samples = sum(values["num-examples"] for values in scores.values())
        if samples:
            weighted = sum(values["loss"] * values["num-examples"] for values in scores.values())
            self.account["loss"] = round(weighted / samples, 6)
            self.account["score"] = round(sum(values["correct"] for values in scores.values()) / samples, 6)
        self.account["seconds"] = round(time.monotonic() - self.began, 3)
        say(ROUND, self.account)
        return None

    def _answers(self, replies: Iterable[Message], what: str) -> list[Message]:
        """The good answers in the order of the clients; notes who failed, and who was silent."""
        replies = list(replies)
        silent = set(self.asked) - {message.metadata.src_node_id for message in replies}
        for message in sorted(replies, key=lambda message: message.metadata.src_node_id):
            if message.has_error():
                self._fail(message.metadata.src_node_id, f"{what}: {message.error.reason or message.error.code}")
        for node in sorted(silent):
            if all(one["client"] != name_of(node) for one in self.account["failed"]):
                self._fail(node, f"{what}: no answer within {self.job.round_seconds} s")
        good = [message for message in replies if not message.has_error()]
        return sorted(good, key=lambda message: (_metrics(message)["partition"], message.metadata.src_node_id))

    def _fail(self, node: int, why: str) -> None:
        self.account["failed"].append({"client": name_of(node), "why": why.strip()[-500:]})

    def _typed(self, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """In the model's own type: an average of whole numbers is rounded, not cut."""
        wanted = self.like[name]
        return np.asarray(np.rint(array) if wanted.kind in "iu" else array).astype(wanted)


class Averaging(Rounds, FedAvg):  # type: ignore[misc]  # flwr is not there when types are checked
    """Federated averaging (McMahan et al., 2017)."""


class Proximal(Rounds, FedProx):  # type: ignore[misc]
    """FedProx (Li et al., 2020): clients are held near the weights that they began with."""


def name_of(node: int) -> int | str:
    """A simulation's nodes are its clients, from 1 on; a federation's have large random numbers."""
    return node - 1 if node < 1 << 20 else f"node {node}"


def _metrics(message: Message) -> dict[str, Any]:
    return dict(message.content.metric_records[METRICS])


def say(kind: str, value: Any) -> None:
    """One line in one write: Flower's own log lines come between others otherwise."""
    text = value if isinstance(value, str) else json.dumps(value)
    sys.stdout.write(f"{kind}{text}\n")
    sys.stdout.flush()


def main(grid: Grid, context: Context) -> None:
    job = Job.located()
    try:
        _run(grid, job)
    except UserError as error:
        say(FAILED, {"message": error.message, "next_step": error.next_step})
        raise


def _run(grid: Grid, job: Job) -> None:
    module = learning.module(job)
    arrays = ArrayRecord(numpy_ndarrays_of(module))
    numbers = {
        "fraction_train": job.fraction,
        "fraction_evaluate": 1.0 if job.held_out else 0.0,
        "min_train_nodes": job.min_clients,
        "min_evaluate_nodes": job.min_clients,
        "min_available_nodes": job.min_clients,
    }
    holding = {"proximal_mu": job.proximal_mu} if job.strategy == "fedprox" else {}
    strategy = (Proximal if holding else Averaging)(**numbers, **holding)
    strategy.begin(job, arrays)
    result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=job.rounds, timeout=job.round_seconds)
    learning.load(module, {name: array.numpy() for name, array in result.arrays.items()})
    deliver(module, job)


def deliver(module: Any, job: Job) -> None:
    """Writes the weights, tied ones once, into the job's file or in pieces into the log."""
    from safetensors.torch import save_model

    if job.weights:
        save_model(module, job.weights)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_model(module, str(Path(folder, "weights")))
        content = Path(folder, "weights").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
    for number, piece in enumerate(pieces):
        say(WEIGHTS, f"{number} {len(pieces)} {digest} {base64.b64encode(piece).decode()}")


app = ServerApp()
app.main()(main)
