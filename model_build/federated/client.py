"""The ClientApp: trains the server's weights on the samples of one client, and scores them on its held-out part.

Samples never leave it; weights cross as NumPy arrays, which Flower reads without pickle.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from model_build.federated import learning
from model_build.federated.job import Job

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"


@functools.cache
def _prepared(partition: int, partitions: int) -> tuple[Job, Any, learning.Samples]:
    """Once in a process: a simulation's client answers every round, a node's process one message."""
    job = Job.located()
    return job, learning.module(job), learning.Samples(job, partition, partitions)


def _work(message: Message, context: Context) -> tuple[Job, Any, learning.Samples, int]:
    partition = int(context.node_config["partition-id"])
    job, module, samples = _prepared(partition, int(context.node_config["num-partitions"]))
    arrays = message.content.array_records[ARRAYS]
    learning.load(module, {name: array.numpy() for name, array in arrays.items()})
    return job, module, samples, partition


def _answer(message: Message, values: dict[str, Any], arrays: ArrayRecord | None = None) -> Message:
    records: dict[str, Any] = {METRICS: MetricRecord(values)}
    if arrays is not None:
        records[ARRAYS] = arrays
    return Message(content=RecordDict(records), reply_to=message)


def train(message: Message, context: Context) -> Message:
    began = time.monotonic()
    job, module, samples, partition = _work(message, context)
    config = message.content.config_records[CONFIG]
    mu = float(config.get("proximal-mu", 0.0))
    loss = learning.train(module, samples, job, int(config["server-round"]), partition, mu)
    values = {
        "partition": partition,
        "num-examples": len(samples.training),
        "loss": loss,
        "seconds": time.monotonic() - began,
    }
    return _answer(message, values, ArrayRecord(numpy_ndarrays_of(module)))


def numpy_ndarrays_of(module: Any) -> dict[str, Any]:
    """The module's weights as what an ArrayRecord is made of."""
    from flwr.app import Array

    return {name: Array(array) for name, array in learning.arrays_of(module).items()}


def evaluate(message: Message, context: Context) -> Message:
    job, module, samples, partition = _work(message, context)
    loss, correct = learning.score(module, samples, job)
    values = {"partition": partition, "num-examples": len(samples.held_out), "loss": loss, "correct": correct}
    return _answer(message, values)


app = ClientApp()
app.train()(train)
app.evaluate()(evaluate)
