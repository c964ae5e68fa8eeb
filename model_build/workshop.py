"""Makes what one spec stands on, each thing once: encoded samples, the source, and every candidate's models.

Apart from `build`, which decides what is done with them.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import architecture, cache, datasets, graph_parts, package, wheels
from model_build.cache import Cache, Node
from model_build.candidates import Candidate, Step
from model_build.errors import DISK_FULL, UserError
from model_build.inputs import Inputs
from model_build.passes.base import Context, InstructionSet, Model
from model_build.progress import Progress
from model_build.sources import SOURCES, federated, open_module
from model_build.sources.base import Wanted
from model_build.spec import Factory, Spec

if TYPE_CHECKING:
    from model_build.measure import Ahead
    from model_build.passes.base import Array, Batch
    from serving.config import ServingConfig
    from serving.tasks import Task

CALIBRATION_BATCH = 16
COMPARED_BATCH = 256
RECORD = "model.json"


def recorded(node: Node) -> Model:
    """The model that a step left in a node."""
    record = node.read_json(RECORD)
    return Model(record["format"], node.directory, record["entry"], parts=tuple(record.get("parts", ())))


@dataclass
class Workshop:
    """The nodes of one spec. `steps` tells how long each took to make, whenever that was."""

    spec: Spec
    root: Path
    inputs: Inputs
    cache: Cache
    instruction_set: InstructionSet
    progress: Progress
    steps: list[dict[str, Any]] = field(default_factory=list)
    ahead: Ahead | None = None
    """Processes that were started for what will be measured."""

    @cached_property
    def task(self) -> Task:
        from serving.tasks import TASKS

        return TASKS[self.spec.task]

    @cached_property
    def serving(self) -> ServingConfig:
        return datasets.serving_config(self.spec, self.root)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return self.task.output_names(self.serving)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Encloses work that is done now."""
        started = time.monotonic()
        with self.progress.step(title):
            yield
        self.steps.append({"step": title, "seconds": round(time.monotonic() - started, 3), "cached": False})

    def note_cached(self, title: str, seconds: float) -> None:
        """Records work that an earlier build did; the progress says nothing of it."""
        if all(step["step"] != title for step in self.steps):
            self.steps.append({"step": title, "seconds": seconds, "cached": True})

    def obtain(self, title: str, key: str, make: Callable[[Path], None]) -> Node:
        """A node, made by `make` if it is not in the cache."""
        if node := self.cache.find(key):
            self.note_cached(title, node.seconds)
            return node
        with self.step(title):
            return self.cache.obtain(key, make, {"model": self.spec.name, "step": title})

    def samples(self, factory: Factory | None, key: str) -> Node:
        """The encoded samples of a factory; made-up ones where there is none. `key` is the factory's in the spec."""

        def make(directory: Path) -> None:
            if factory is None:
                datasets.write_example(self.spec, self.root, directory)
            else:
                datasets.write(factory, key, self.spec, self.root, directory)

        return self.obtain(f"encode {key}" if factory else "make up samples", self.inputs.samples_key(factory), make)

    def calibration_key(self) -> str | None:
        """Of what passes may look at: a search keeps half of the calibration samples back, to rank what it finds."""
        calibration = self.spec.data.calibration
        if calibration is None:
            return None
        return self.half_key(0) if self.spec.optimize.auto else self.inputs.samples_key(calibration)

    def calibration(self) -> Node:
        return self.half(0) if self.spec.optimize.auto else self._all_calibration()

    def _all_calibration(self) -> Node:
        return self.samples(self.spec.data.calibration, "data.calibration")

    def half_key(self, number: int) -> str:
        """Of every other calibration sample, from the first (0: for passes) or the second (1: for ranking)."""
        return cache.key("half", of=self.inputs.samples_key(self.spec.data.calibration), number=number)

    def half(self, number: int) -> Node:
        def make(directory: Path) -> None:
            datasets.write_half(self._all_calibration().directory, number, directory)

        return self.obtain(f"half of data.calibration ({number})", self.half_key(number), make)

    def wheels(self, lines: Sequence[str], python: str, machine: str) -> Path:
        """The folder of the wheels that the lines of a `requirements.txt` need, for `312` on `x86_64`, for instance."""
        constrained = wheels.constraints(lines)

        def make(directory: Path) -> None:
            wheels.fetch(lines, constrained, python, machine, directory)

        key = cache.key("wheels", lines=list(lines), constraints=constrained, python=python, machine=machine)
        return self.obtain(f"fetch wheels for Python {python[0]}.{python[1:]} on {machine}", key, make).directory

    @cached_property
    def trained(self) -> Node | None:
        """The node of a source that is trained by the build, found or made once; None of any other."""
        if self.spec.source.federated is None:
            return None

        def make(directory: Path) -> None:
            federated.make(self.spec, self.root, directory, self.progress)

        return self.obtain("train at the clients", self.inputs.source_key(), make)

    def source_settings(self) -> dict[str, Any]:
        """What opens a source that is a PyTorch module; one that is trained is trained before."""
        if trained := self.trained:
            return federated.settings_of(self.spec, self.root, trained)
        return SOURCES[self.spec.source.kind].settings(self.spec, self.root)

    def source_files(self) -> list[Path]:
        """The files that hold the source's weights."""
        if trained := self.trained:
            return federated.files_of(trained)
        return SOURCES[self.spec.source.kind].files(self.spec, self.root)

    def source(self) -> Model:
        """The source model; one that becomes ONNX as a checked node of one file."""
        source, evaluation = self.spec.source, self.spec.data.evaluation
        if source.format != "onnx":
            return open_module(self.spec, self.root, self.source_settings())

        def samples() -> Iterator[Batch]:
            if evaluation:
                yield from datasets.batches(self.samples(evaluation, "data.evaluation").directory, COMPARED_BATCH)

        def make(directory: Path) -> None:
            inputs = tuple(self.task.input_axes(self.serving))
            wanted = Wanted(inputs, self.output_names, samples, self.progress.note)
            SOURCES[source.kind].write(self.spec, self.root, directory / package.MODEL, wanted)

        node = self.obtain("read the source", self.inputs.source_key(), make)
        return Model("onnx", node.directory, package.MODEL)

    def model(self, steps: Sequence[Step]) -> Model:
        """The model after some passes; those before the last run only where its result is not in the cache."""
        if not steps:
            return self.source()
        *before, step = steps
        if before and self.cache.find(step.key) is None:
            self.model(before)  # now, so that its time is not counted as this step's

        def make(directory: Path) -> None:
            result = self._run(step, self.model(before), directory)
            parts = {"parts": list(result.parts)} if result.parts else {}
            record = {"format": result.format, "entry": result.entry, **parts}
            (directory / RECORD).write_text(json.dumps(record) + "\n", encoding="utf-8")

        node = self.obtain(" → ".join(one.label for one in steps), step.key, make)
        if node.built:
            shutil.rmtree(self._work(step), ignore_errors=True)
        model = recorded(node)
        if model.format != "pytorch":
            return model
        return architecture.reopened(model, self.source().load, self.root)

    def make(self, candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, UserError | None]]:
        """Makes the models of candidates, one after the other; gives each with what went wrong, if anything did."""
        for candidate in candidates:
            try:
                self.model(candidate.steps)
            except UserError as error:
                yield candidate, error
            else:
                yield candidate, None

    def _work(self, step: Step) -> Path:
        """Where the step keeps what it can go on from after a kill."""
        return self.cache.directory.parent / "work" / step.key

    def _run(self, step: Step, model: Model, directory: Path) -> Model:
        calibration, training = self.spec.data.calibration, self.spec.data.training

        def batches() -> Iterator[Batch]:
            return datasets.batches(self.calibration().directory, CALIBRATION_BATCH)

        def groups() -> Iterator[tuple[Batch, Array]]:
            return datasets.labelled(self.samples(training, "data.training").directory)

        context = Context(
            output=directory,
            example=lambda: datasets.example(self.spec, self.root),
            input_axes=self.task.input_axes(self.serving),
            output_names=self.output_names,
            serving=self.serving,
            calibration=batches if calibration else None,
            training=groups if training else None,
            source=self.source().load if self.spec.source.format == "pytorch" else None,
            root=self.root,
            work=self._work(step),
            instruction_set=self.instruction_set,
            progress=self.progress.note,
        )
        try:
            if model.parts:
                return graph_parts.run(step.the_pass, step.name, model, step.config, context)
            return step.the_pass.run(model, step.config, context)
        except UserError:
            raise
        except Exception as error:  # the libraries below have no common base, and a model may be beyond them
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise
            raise UserError(
                f"{step.label} failed: {type(error).__name__}: {str(error).strip()[:500]}",
                f"leave {step.name} out of this candidate, or change its options",
            ) from error
