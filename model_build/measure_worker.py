"""One model in one process: loads it, times it, scores it. `measure` starts it and speaks JSON lines with it.

A process of its own, so that memory is the model's alone and threads are pinned before any library starts; it imports
only what running the model takes.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from model_build.errors import UserError
from model_build.metrics import ACCURACY, METRICS

WARM_UP = 5
"""Untimed requests after loading, and before each round: the first ones find cold caches."""
BATCH = 64
"""Samples of one forward pass while scoring."""

Batch = dict[str, Any]
Forward = Callable[[Batch], Sequence[Any]]
"""Encoded inputs → the task's outputs in order, arrays with the batch as axis 0."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group; the build ends this process itself
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the project's code prints must not be taken for an answer
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    worker = Worker()
    while True:
        request = json.loads(requests.get())
        try:
            answer = getattr(worker, "on_" + request.pop("do"))(**request)
        except UserError as error:
            answer = {"error": error.message, "next_step": error.next_step}
        _send(answers, answer)


def _listen(requests: queue.Queue[str]) -> None:
    """Passes requests on, and ends the process with the one that started it, whatever it is busy with."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _send(stream: TextIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


class Worker:
    forward: Forward
    data: Path
    requests: list[Batch]
    position: int = 0
    weight_bytes: int = 0
    outputs: list[str]

    def on_prepare(self, kind: str) -> dict[str, Any]:
        """Imports what a model of the kind runs on, which can be done before there is a model."""
        for name in ("numpy", *_RUNTIMES.get(kind, ("torch", "model_build.sources"))):
            importlib.import_module(name)
        return {}

    def on_load(
        self, kind: str, model: dict[str, Any], outputs: list[str], threads: int, data: str, requests: int
    ) -> dict[str, Any]:
        """Loads the model and runs it on a few samples; the peak of memory is taken then."""
        self.on_prepare(kind)
        self.outputs = outputs
        started = time.perf_counter()
        self.forward, self.weight_bytes = _FORMATS.get(kind, partial(_module, kind))(model, outputs, threads)
        loaded = time.perf_counter()
        self.data = Path(data)
        self.requests = _spread(self.data, requests)
        for batch in self.requests[: 2 * WARM_UP]:
            self.forward(batch)
        return {
            "load_seconds": loaded - started,
            "memory_mb": peak_memory_mb(),
            "weight_bytes": self.weight_bytes,
        }

    def on_time(self, count: int) -> dict[str, Any]:
        """Milliseconds of each of `count` requests of one sample, going on where the last call stopped."""
        for _ in range(WARM_UP):
            self.forward(self._next())
        self.position -= WARM_UP
        milliseconds = []
        for _ in range(count):
            batch = self._next()
            started = time.perf_counter_ns()
            self.forward(batch)
            milliseconds.append((time.perf_counter_ns() - started) / 1e6)
        return {"milliseconds": milliseconds}

    def on_flood(self, count: int, clients: int) -> dict[str, Any]:
        """Seconds in which `clients` threads are answered `count` requests of one sample each, all at once."""

        def client(first: int) -> None:
            for position in range(first, first + count):
                self.forward(self.requests[position % len(self.requests)])

        with ThreadPoolExecutor(clients) as threads:
            started = time.perf_counter()
            for done in [threads.submit(client, number * count // clients) for number in range(clients)]:
                done.result()
            return {"seconds": time.perf_counter() - started}

    def on_score(self, judge: dict[str, Any]) -> dict[str, Any]:
        """The score by the metric of a `measure.Judge`."""
        return self._accuracy() if judge["metric"] == ACCURACY else self._compared(judge)

    def _compared(self, judge: dict[str, Any]) -> dict[str, Any]:
        """What a client would be answered beside what the samples' factory says."""
        from serving.config import ServingConfig
        from serving.errors import ModelError, RequestError
        from serving.tasks import TASKS

        config = ServingConfig.from_dict(judge["serving"], Path(judge["root"]))
        answers: list[Any] = []
        references: list[Any] = []
        for number, group in enumerate(_index(self.data)):
            rows = json.loads((self.data / f"{number}.references.json").read_bytes())
            for part, made in self._forwarded(number, group, group["count"], BATCH):
                outputs = dict(zip(self.outputs, made, strict=True))
                try:
                    answers += TASKS[config.task].answers(outputs, [sample for _, sample in rows[part]], config)
                except (ModelError, RequestError) as error:
                    raise UserError(f"its answers cannot be scored: {error}") from error
            references += [reference for reference, _ in rows]
        result = METRICS[judge["metric"]].score(answers, references)
        return {"value": result.value, "samples": len(references), "classes": [], "details": dict(result.details)}

    def _accuracy(self) -> dict[str, Any]:
        """How many of the samples the highest output is the label's; outputs that are not finite are wrong.

        `classes` has (samples, answers, right answers) of each class.
        """
        import numpy as np

        classes = np.zeros((0, 3), np.int64)
        total = 0
        for number, group in enumerate(_index(self.data)):
            labels = np.load(self.data / f"{number}.labels.npy", allow_pickle=False)
            for part, (output, *_) in self._forwarded(number, group, group["count"], BATCH):
                wanted = labels[part]
                if output.ndim != 2 or len(output) != len(wanted):
                    raise UserError(
                        f"the model's first output has shape {output.shape} for a batch of {len(wanted)}; "
                        "accuracy needs (batch, classes)"
                    )
                if not len(classes):
                    classes = np.zeros((output.shape[1], 3), np.int64)
                answers, valid = output.argmax(axis=1), np.isfinite(output).all(axis=1)
                known = wanted[(wanted >= 0) & (wanted < len(classes))]
                for column, named in enumerate((known, answers[valid], wanted[(answers == wanted) & valid])):
                    classes[:, column] += np.bincount(named, minlength=len(classes))
                total += len(wanted)
        value = int(classes[:, 2].sum()) / total
        return {"value": value, "samples": total, "classes": classes.tolist(), "details": {}}

    def on_keep(self, folder: str, batch: int, samples: int) -> dict[str, Any]:
        """Writes the outputs of the first `samples`, in batches of at most `batch`, as `OUTPUT.GROUP.npy`."""
        import numpy as np

        left = samples
        for number, group in enumerate(_index(self.data)):
            made = [outputs for _, outputs in self._forwarded(number, group, min(left, group["count"]), batch)]
            for position, outputs in enumerate(zip(*made, strict=True)):
                np.save(Path(folder) / f"{position}.{number}.npy", np.concatenate(outputs))
            left -= min(left, group["count"])
        return {"samples": samples - left}

    def _forwarded(
        self, number: int, group: dict[str, Any], count: int, size: int
    ) -> Iterator[tuple[slice, list[Any]]]:
        """The outputs of the first `count` samples of a group, in batches of at most `size`, each with its rows."""
        import numpy as np

        arrays = _arrays(self.data, number, group)
        for start in range(0, count, size):
            rows = slice(start, min(start + size, count))
            made = self.forward({name: np.array(array[rows]) for name, array in arrays.items()})
            yield rows, [np.asarray(output) for output in made]

    def _next(self) -> Batch:
        batch = self.requests[self.position % len(self.requests)]
        self.position += 1
        return batch


def _onnx(model: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    """As `serving.handler` opens a session."""
    if judge := model.get("serving"):
        return _generating(Path(model["path"]), judge, outputs, threads)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model["path"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's exceptions share no other base
        raise UserError(f"ONNX Runtime cannot load the model: {str(error).splitlines()[0]}") from error
    return lambda batch: session.run(outputs, batch), Path(model["path"]).stat().st_size


def _generating(path: Path, judge: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    """A model of two graphs, which is run for every token."""
    from serving.config import ENCODER, ServingConfig
    from serving.errors import ModelError
    from serving.handler import open_model

    try:
        session = open_model(ServingConfig.from_dict(judge["serving"], Path(judge["root"])), path, threads)
    except ModelError as error:
        raise UserError(str(error)) from error
    size = sum(file.stat().st_size for file in (path, path.with_name(ENCODER)))
    return lambda batch: session.run(outputs, batch), size


def _litert(model: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    from serving.errors import ModelError
    from serving.litert import Session

    try:
        session = Session(Path(model["path"]), threads)
    except ModelError as error:
        raise UserError(str(error), "run: make litert") from None
    return lambda batch: session.run(outputs, batch), Path(model["path"]).stat().st_size


def _openvino(model: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    from model_build.platforms.openvino import Session

    session = Session(Path(model["path"]), threads)
    return lambda batch: session.run(outputs, batch), Path(model["path"]).with_suffix(".bin").stat().st_size


def _coreml(model: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    from model_build.platforms.mil import WEIGHTS, Session

    session = Session(Path(model["path"]), threads)
    weights = Path(model["path"], WEIGHTS).glob("*")
    return lambda batch: session.run(outputs, batch), sum(path.stat().st_size for path in weights)


_FORMATS = {"onnx": _onnx, "litert": _litert, "openvino": _openvino, "coreml": _coreml}
"""Format of a model file → what runs it; other kinds are sources that PyTorch opens."""
_RUNTIMES = {"onnx": ("onnxruntime",), "litert": (), "openvino": ("openvino",), "coreml": ("torch", "coremltools")}


def _module(kind: str, model: dict[str, Any], outputs: list[str], threads: int) -> tuple[Forward, int]:
    import torch

    from model_build.calling import parameter_names, select_outputs
    from model_build.sources import SOURCES

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    module = SOURCES[kind].load_module(**model)
    names: dict[str, str] = {}

    def forward(batch: Batch) -> Any:
        if not names:
            names.update(parameter_names(module, batch))
        with torch.inference_mode():
            tensors = {parameter: torch.from_numpy(batch[name]) for name, parameter in names.items()}
            return [one.numpy(force=True) for one in select_outputs(module(**tensors), outputs)]

    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in module.state_dict().values()}  # tied ones count once
    return forward, sum(tensors.values())


def _index(data: Path) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = json.loads((data / "index.json").read_bytes())
    return groups


def _arrays(data: Path, number: int, group: dict[str, Any]) -> Batch:
    import numpy as np

    return {name: np.load(data / f"{number}.{name}.npy", mmap_mode="r", allow_pickle=False) for name in group["inputs"]}


def _spread(data: Path, count: int) -> list[Batch]:
    """At most `count` samples, evenly from all, each a batch of one, read into memory."""
    import numpy as np

    groups = _index(data)
    total = sum(group["count"] for group in groups)
    wanted = [position * total // min(count, total) for position in range(min(count, total))]
    batches = []
    first = 0
    for number, group in enumerate(groups):
        arrays = _arrays(data, number, group)
        rows = [position - first for position in wanted if first <= position < first + group["count"]]
        batches += [{name: np.array(array[row : row + 1]) for name, array in arrays.items()} for row in rows]
        first += group["count"]
    return batches


def peak_memory_mb() -> float:
    """Peak resident set of this process, MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the process was before it became this program
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main()
