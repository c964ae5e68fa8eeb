"""Samples of a spec's factories, encoded by `serving`'s own preprocessing, as plain arrays on disk.

Each sample is encoded alone, as an endpoint encodes a request of one, and those of equal shapes are stored together: a
batch then needs no padding, and a measuring process can map what it reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import factories
from model_build.errors import UserError
from model_build.metrics import ACCURACY, METRICS, metric_of
from model_build.project_files import resolve
from model_build.spec import Column, Factory, Spec

if TYPE_CHECKING:
    from model_build.metrics import Metric
    from model_build.passes.base import Array, Batch
    from serving.config import ServingConfig

INDEX = "index.json"
REFERENCES = "references.json"
"""Of a group: `[[reference, sample or null], …]`, where the labels are no classes."""
EXAMPLE_SEED = 20261124
FREE_LENGTHS = (7, 11, 13, 17)
"""Of example axes of any length: different ones, so that tracing does not take two for the same."""


def serving_config(spec: Spec, root: Path) -> ServingConfig:
    """What serving will read from the artifact, before there is one: its files are where the project has them."""
    from serving.config import ServingConfig

    return ServingConfig.from_dict(serving_values(spec, root), root)


def serving_values(spec: Spec, root: Path) -> dict[str, Any]:
    """The values that `serving_config` is made of, which another process can be sent."""
    sections = spec.sections()
    if spec.text:
        sections["text"]["tokenizer"] = str(resolve(spec.text.tokenizer, root))
    if spec.generation and spec.generation.tokenizer:
        sections["generation"]["tokenizer"] = str(resolve(spec.generation.tokenizer, root))
    return {"name": spec.name, "task": spec.task, "labels": list(spec.labels), **sections}


def write(factory: Factory, key: str, spec: Spec, root: Path, directory: Path) -> None:
    """Calls a factory of samples, encodes them and writes them to a folder. Raises UserError."""
    import numpy as np

    from serving.tasks import TASKS

    config = serving_config(spec, root)
    encode = TASKS[spec.task].encode
    samples, labels = called(factory, key, spec, root)
    classes = metric_of(spec) == ACCURACY
    groups: dict[tuple[Any, ...], list[tuple[Batch, Any, Any]]] = {}
    for index, (sample, label) in enumerate(zip(samples, labels, strict=True)):
        try:
            one = encode([sample], config)
        except Exception as error:  # whatever a sample of the wrong kind makes of the preprocessing
            raise UserError(
                f"{key}: sample {index} of {factory.factory} cannot be encoded for {spec.task}: "
                f"{factories.last_line(error)}",
                "return samples as an endpoint has them once decoded; docs/architecture.md has the types",
            ) from error
        shapes = tuple((name, array.shape, array.dtype.str) for name, array in one.items())
        groups.setdefault(shapes, []).append((one, int(label) if classes else label, sample))
    written = []
    for number, members in enumerate(groups.values()):
        names = list(members[0][0])
        for name in names:
            np.save(directory / f"{number}.{name}.npy", np.concatenate([one[name] for one, _, _ in members]))
        if classes:
            np.save(directory / f"{number}.labels.npy", np.array([label for _, label, _ in members], np.int64))
        else:
            _write_references(directory / f"{number}.{REFERENCES}", [(label, sample) for _, label, sample in members])
        written.append({"count": len(members), "inputs": names})
    (directory / INDEX).write_text(json.dumps(written) + "\n", encoding="utf-8")


def called(factory: Factory, key: str, spec: Spec, root: Path) -> tuple[Sequence[Any], Any]:
    """The samples of a factory, decoded as an endpoint has them, and their labels. Raises UserError."""
    with factories.opened(root):
        return _checked(factories.call(factory.factory, factory.args, root, key), key, factory, spec)


def _checked(result: Any, key: str, factory: Factory, spec: Spec) -> tuple[Sequence[Any], Any]:
    import numpy as np

    wrong = f"{key}: {factory.factory} must return (samples, labels)"
    if not isinstance(result, tuple) or len(result) != 2:
        raise UserError(f"{wrong}; it returned {type(result).__name__}")
    if (metric := metric_of(spec)) != ACCURACY:
        references = result[1].tolist() if isinstance(result[1], np.ndarray) else result[1]
        return _with_references(result[0], references, wrong, METRICS[metric], spec)
    samples, labels = result[0], np.asarray(result[1])
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{wrong}, labels as an int64 array (n,); they are {labels.dtype} of shape {labels.shape}")
    if len(samples) != len(labels) or not len(labels):
        raise UserError(f"{wrong}, as many of one as of the other; it returned {len(samples)} and {len(labels)}")
    if spec.labels and not (labels.min() >= 0 and labels.max() < len(spec.labels)):
        raise UserError(
            f"{key}: {factory.factory} returned labels from {labels.min()} to {labels.max()}, "
            f"and the spec names {len(spec.labels)} classes",
            "let labels be indices of the spec's list",
        )
    return samples, labels


def _with_references(
    samples: Sequence[Any], references: Sequence[Any], wrong: str, metric: Metric, spec: Spec
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Samples and what their answers are compared with, plain JSON values. Raises UserError."""
    if len(samples) != len(references) or not len(references):
        raise UserError(
            f"{wrong}, as many of one as of the other; it returned {len(samples)} and {len(references)} of them"
        )
    for index, reference in enumerate(references):
        if problem := metric.problem(reference, spec.labels):
            raise UserError(f"{wrong}; labels[{index}] {problem}", f"docs/measuring.md says what {spec.task} takes")
    return samples, references


def _write_references(path: Path, members: Sequence[tuple[Any, Any]]) -> None:
    """What answers are compared with; the samples too where they are text, which some answers quote."""
    rows = [[label, sample if isinstance(sample, str) else None] for label, sample in members]
    path.write_text(json.dumps(rows) + "\n", encoding="utf-8")


def write_half(source: Path, number: int, directory: Path) -> None:
    """Every other one of a folder's samples, from the first (0) or the second (1), as a folder of samples.

    Raises UserError where nothing would be left.
    """
    import numpy as np

    written: list[dict[str, Any]] = []
    first = 0
    for group_number, group in enumerate(json.loads((source / INDEX).read_bytes())):
        rows = slice((first + number) % 2, None, 2)
        first += group["count"]
        references = source / f"{group_number}.{REFERENCES}"
        names = group["inputs"] if references.is_file() else (*group["inputs"], "labels")
        arrays = {
            name: np.load(source / f"{group_number}.{name}.npy", mmap_mode="r", allow_pickle=False)[rows]
            for name in names
        }
        count = len(arrays[group["inputs"][0]])
        if not count:
            continue
        for name, array in arrays.items():
            np.save(directory / f"{len(written)}.{name}.npy", array)
        if references.is_file():
            _write_references(directory / f"{len(written)}.{REFERENCES}", json.loads(references.read_bytes())[rows])
        written.append({"count": count, "inputs": group["inputs"]})
    if not written:
        raise UserError("data.calibration has one sample, and a search needs half of them to rank by", "return more")
    (directory / INDEX).write_text(json.dumps(written) + "\n", encoding="utf-8")


def batches(directory: Path, size: int) -> Iterator[Batch]:
    """The encoded samples of a folder in batches of at most `size`; the arrays are mapped, not read."""
    import numpy as np

    for number, group in enumerate(json.loads((directory / INDEX).read_bytes())):
        arrays = {
            name: np.load(directory / f"{number}.{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in group["inputs"]
        }
        for start in range(0, group["count"], size):
            yield {name: np.ascontiguousarray(array[start : start + size]) for name, array in arrays.items()}


def labelled(directory: Path) -> Iterator[tuple[Batch, Array]]:
    """The encoded samples of a folder and their labels, all of equal shapes at once; arrays are mapped, not read.

    Raises UserError where the labels are no classes.
    """
    import numpy as np

    for number, group in enumerate(json.loads((directory / INDEX).read_bytes())):
        if (directory / f"{number}.{REFERENCES}").is_file():
            raise UserError(
                "passes that train need a class for each sample, which this task's samples do not have",
                "train the model before it is built, and leave such passes out",
            )
        inputs, labels = (
            {name: np.load(directory / f"{number}.{name}.npy", mmap_mode="r") for name in names}
            for names in (group["inputs"], ("labels",))
        )
        yield inputs, labels["labels"]


def example(spec: Spec, root: Path) -> Batch:
    """Two made-up samples, encoded: enough to trace a model, and independent of the project's data."""
    import numpy as np

    from serving.tasks import TASKS

    random = np.random.default_rng(EXAMPLE_SEED)
    samples: list[Any]
    if spec.text:
        samples = ["A short text to trace the model with.", "Another one."]
    elif spec.image:
        channels = () if spec.image.mode == "L" else (3,)
        samples = [random.integers(0, 256, (*spec.image.size, *channels), np.uint8) for _ in range(2)]
    elif spec.audio:
        length = round(spec.audio.seconds * spec.audio.sample_rate)
        samples = [random.normal(0, 0.1, length).clip(-1, 1).astype(np.float32) for _ in range(2)]
    elif spec.tabular:
        samples = [{column.name: _made_up(column, row) for column in spec.tabular.columns} for row in range(2)]
    else:
        assert spec.tensor is not None  # noqa: S101  # rules hold that a task has its section
        lengths = iter(FREE_LENGTHS * 8)
        shapes = {
            name: tuple(next(lengths) if size == -1 else size for size in one.shape)
            for name, one in spec.tensor.inputs.items()
        }
        samples = [
            {
                # Integers may index a table of any size, so they are the smallest ones.
                name: (
                    random.normal(size=shapes[name])
                    if one.dtype.startswith("float")
                    else random.integers(0, 2, shapes[name])
                ).astype(one.dtype)
                for name, one in spec.tensor.inputs.items()
            }
            for _ in range(2)
        ]
    return TASKS[spec.task].encode(samples, serving_config(spec, root))


def _made_up(column: Column, row: int) -> Any:
    """A value of a table's column, another one in each row where there are several."""
    if column.type == "category":
        return column.categories[row % len(column.categories)] if column.categories else "ab"[row]
    return row


def write_example(spec: Spec, root: Path, directory: Path) -> None:
    """The example batch as a folder of samples without labels, to measure latency on where the spec has no data."""
    import numpy as np

    batch = example(spec, root)
    for name, array in batch.items():
        np.save(directory / f"0.{name}.npy", array)
    (directory / INDEX).write_text(json.dumps([{"count": 2, "inputs": list(batch)}]) + "\n", encoding="utf-8")
