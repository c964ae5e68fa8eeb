"""What a spec must hold beyond the shape of its keys: rules that span several keys or look at the project's files.

Each rule yields findings; `loading` gives them their line. Nothing of the project is imported or run, so that checking
stays quick and safe.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from model_build import graph_parts
from model_build.deployment import Deploy
from model_build.errors import UserError
from model_build.explain import choices, explained, validate
from model_build.hosting_rules import is_stock, problems
from model_build.instances import is_arm
from model_build.metrics import metrics_of
from model_build.passes import PASSES
from model_build.passes.base import SERVED, needs_training
from model_build.project_files import definitions, factories, module_file, named_paths, resolve
from model_build.sources import huggingface
from model_build.spec import CONTENT_TYPES, SECTIONS, Factory, HuggingfaceSource, PickledSource, Spec, merged
from model_build.wheels import python_of
from model_build.yaml_tree import Key

MAX_SAMPLE_BYTES = 6_000_000  # what SageMaker takes in one request

# Endings of a sample input that the task's own handler can decode.
SAMPLES = {
    "text-classification": (".json", ".txt"),
    "image-classification": (".png", ".jpg", ".jpeg", ".json", ".npy"),
    "audio-classification": (".wav", ".json", ".npy"),
    "tensor": (".json", ".npy"),
    "tabular": (".json", ".csv"),
    "object-detection": (".png", ".jpg", ".jpeg", ".json", ".npy"),
    "text-embedding": (".json", ".txt"),
    "token-classification": (".json", ".txt"),
    "text-generation": (".json", ".txt"),
    "speech-recognition": (".wav", ".json", ".npy"),
}


# What the files of the source end in; joblib's and pickle's go by many names.
ENDINGS: dict[Key, tuple[str, ...]] = {
    ("source", "pytorch", "weights"): (".safetensors", ".pt", ".pth"),
    ("source", "torchscript", "path"): (".pt", ".pth", ".ts"),
    ("source", "onnx", "path"): (".onnx",),
    ("source", "hdf5", "path"): (".h5", ".hdf5"),
}
FOLDER: Key = ("source", "huggingface", "path")
LEARNED = ("text-classification", "image-classification", "audio-classification", "tensor")
"""The tasks that a federated source is trained for."""


class Finding(NamedTuple):
    key: Key
    message: str
    depends: tuple[Key, ...] = ()
    """Other keys that it was concluded from: where one of them is broken itself, the finding is not reported."""


def check(spec: Spec, root: Path) -> Iterator[Finding]:
    yield from _preprocessing(spec)
    yield from _metric(spec)
    yield from _labels(spec)
    yield from _source(spec, root)
    yield from _two_graphs(spec)
    yield from _candidates(spec)
    yield from _evidence(spec)
    yield from _files(spec, root)
    for key, factory in factories(spec):
        yield from _factory(key, factory, root)
    yield from _handler(spec, root)
    yield from _sample(spec, root)
    yield from _environments(spec)
    yield from _one_python(spec)


def _preprocessing(spec: Spec) -> Iterator[Finding]:
    own = SECTIONS[spec.task]
    if getattr(spec, own[0]) is None:
        yield Finding((own[0],), f"is required by the task {spec.task}", (("task",),))
    for section in dict.fromkeys(key for keys in SECTIONS.values() for key in keys):
        if section not in own and getattr(spec, section) is not None:
            message = f"does not belong to the task {spec.task}, whose preprocessing is under '{own[0]}'"
            yield Finding((section,), message, (("task",),))


def _metric(spec: Spec) -> Iterator[Finding]:
    known = metrics_of(spec)
    if spec.measure.metric is not None and spec.measure.metric not in known:
        message = f"{spec.task} is scored by {', '.join(known)}, not by '{spec.measure.metric}'"
        yield Finding(("measure", "metric"), message, (("task",),))


def _labels(spec: Spec) -> Iterator[Finding]:
    classification = spec.task.endswith("-classification")
    if classification and len(spec.labels) < 2:
        yield Finding(("labels",), f"{spec.task} needs the names of at least 2 classes", (("task",),))
    if spec.task == "object-detection" and not spec.labels:
        yield Finding(("labels",), "object-detection needs the names of its classes", (("task",),))
    if spec.task == "speech-recognition":
        yield from _symbols(spec)
    elif not classification and spec.task != "object-detection" and len(spec.labels) == 1:
        yield Finding(("labels",), "one class is none: give at least 2, or leave labels out", (("task",),))
    for index, label in enumerate(spec.labels):
        if (first := spec.labels.index(label)) != index:
            yield Finding(("labels", index), f"'{label}' is labels[{first}] already; every class has its own name")


def _symbols(spec: Spec) -> Iterator[Finding]:
    if len(spec.labels) < 2:
        yield Finding(
            ("labels",), "speech-recognition needs the symbols of the outputs, the blank among them", (("task",),)
        )
    elif spec.ctc and spec.ctc.blank >= len(spec.labels):
        message = f"is {spec.ctc.blank}, and there are {len(spec.labels)} labels, from 0"
        yield Finding(("ctc", "blank"), message, (("labels",),))


def _source(spec: Spec, root: Path) -> Iterator[Finding]:
    key: Key = ("source", spec.source.kind)
    config = spec.source.config
    if isinstance(config, PickledSource) and not config.allow_code:
        yield Finding(
            key,
            f"a {spec.source.kind} file can run code when it is read. If you trust whoever wrote {config.path}, "
            f"add under source.{spec.source.kind}: `allow_code: true`",
            ((*key, "allow_code"),),
        )
    if isinstance(config, PickledSource) and config.module is None and spec.task not in ("tensor", "tabular"):
        message = f"holds a scikit-learn estimator: the task must be tabular or tensor, not {spec.task}"
        yield Finding(key, message, (("task",), (*key, "module")))
    if isinstance(config, PickledSource) and config.module is None and spec.tensor:
        shapes = [one.shape for one in spec.tensor.inputs.values()]
        if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 1:
            message = "a scikit-learn estimator takes one input of the shape [FEATURES]"
            yield Finding(("tensor", "inputs"), message, (("task",), (*key, "module")))
    if spec.tabular and spec.source.format == "pytorch" and spec.tabular.has_text:
        message = "a PyTorch module takes no text: leave inputs out, so that categories are numbers, their places"
        yield Finding(("tabular", "inputs"), message, (key,))
    if spec.source.federated and spec.task not in LEARNED:
        message = f"learns classes; the task must be one of {', '.join(LEARNED)}, not {spec.task}"
        yield Finding(key, message, (("task",),))
    if isinstance(config, HuggingfaceSource):
        if spec.task not in huggingface.CLASSES:
            yield Finding(key, f"the task {spec.task} takes no model of transformers", (("task",),))
        elif config.path:
            yield from _huggingface_folder(key, config.path, spec, root)


def _huggingface_folder(key: Key, path: str, spec: Spec, root: Path) -> Iterator[Finding]:
    """What its config.json says of the classes, against `labels`; a folder that is missing is reported elsewhere."""
    try:
        folder = resolve(path, root)
    except UserError:
        return
    if not folder.is_dir():
        return
    try:
        labels = huggingface.labels_of(folder, spec.task)
    except UserError as error:
        yield Finding((*key, "path"), error.message)
        return
    if problem := huggingface.labels_problem(labels, spec.labels):
        yield Finding(("labels",), problem, (key,))


def _two_graphs(spec: Spec) -> Iterator[Finding]:
    """What only a model of one graph can be or be made into."""
    if spec.task != "text-generation":
        return
    if spec.source.huggingface is None:
        message = "text-generation takes an encoder–decoder model of transformers: give source.huggingface"
        yield Finding(("source", spec.source.kind), message, (("task",),))
    if spec.labels:
        yield Finding(("labels",), "text-generation has no classes; leave labels out", (("task",),))
    if spec.optimize.auto:
        yield Finding(("optimize",), "text-generation is not searched for: give candidates", (("task",),))
    for index, candidate in enumerate(spec.optimize.candidates):
        for position, step in enumerate(candidate):
            if step.name in PASSES and step.name not in graph_parts.PASSES:
                message = f"{step.name} takes models of one graph; text-generation has {', '.join(graph_parts.PASSES)}"
                yield Finding(("optimize", "candidates", index, position), message, (("task",),))


def _candidates(spec: Spec) -> Iterator[Finding]:
    given = spec.optimize.model_fields_set
    if spec.optimize.auto and (spec.gates.accuracy is None or spec.data.evaluation is None):
        message = "auto takes the fastest or smallest that holds the gates: give gates.accuracy and data.evaluation"
        yield Finding(("optimize",), message, (("gates",), ("data",)))
    if "budget" in given and not spec.optimize.auto:
        yield Finding(("optimize", "budget"), "belongs to auto: true; explicit candidates are all built")
    if spec.optimize.auto and "candidates" not in given:
        return
    if spec.source.format == "onnx" and "candidates" not in given:
        article = "an" if spec.source.onnx else "a"
        message = (
            f"is required with {article} {spec.source.kind} source, "
            "for instance [[], [quantize_dynamic]]: as it is, and quantized"
        )
        yield Finding(("optimize", "candidates"), message, (("source",),))
        return
    seen: dict[str, int] = {}
    for index, candidate in enumerate(spec.optimize.candidates):
        key: Key = ("optimize", "candidates", index)
        current: str | None = spec.source.format
        effective: list[Any] = []
        for position, step in enumerate(candidate):
            at = (*key, position)
            if step.name not in PASSES:
                yield Finding(at, f"unknown pass '{step.name}'{choices(step.name, PASSES)}")
                current = None  # what follows cannot be judged
                continue
            the_pass = PASSES[step.name]
            options = None
            try:
                options = validate(the_pass.Config, step.options)
            except ValidationError as error:
                for inner, message in explained(error, the_pass.Config):
                    yield Finding((*at, step.name, *inner), message)
            else:
                effective.append((step.name, options.model_dump(mode="json")))
            if current is not None and current not in the_pass.ACCEPTS:
                yield Finding(
                    at,
                    f"{step.name} takes {' or '.join(sorted(the_pass.ACCEPTS))}, not {current}"
                    + _converters(current, the_pass.ACCEPTS),
                    (("source",),),
                )
                current = None
            elif current is not None:
                current = the_pass.PRODUCES
            if the_pass.NEEDS_CALIBRATION and spec.data.calibration is None:
                yield Finding(at, f"{step.name} looks at data: give data.calibration", (("data", "calibration"),))
            if options is not None and needs_training(options) and spec.data.training is None:
                message = f"{step.name} trains: give data.training, or epochs: 0"
                yield Finding(at, message, (("data", "training"),))
        if current is not None and current not in SERVED:
            holds = " or ".join(sorted(SERVED, reverse=True))
            message = f"ends as {current}, and an artifact holds {holds}{_converters(current, SERVED)}"
            yield Finding(key, message, (("source",),))
        if len(effective) == len(candidate):
            first = seen.setdefault(json.dumps(effective, sort_keys=True), index)
            if first != index:
                yield Finding(key, f"is the same as candidates[{first}]; remove one")


def _converters(current: str, wanted: Any) -> str:
    """The passes that turn a current into a wanted one, as advice."""
    names = [name for name, one in PASSES.items() if current in one.ACCEPTS and one.PRODUCES in wanted - {current}]
    return f"; put {' or '.join(names)} there first" if names else ""


def _evidence(spec: Spec) -> Iterator[Finding]:
    evaluation = spec.data.evaluation
    if evaluation is None:
        for gate in ("accuracy", "latency_p50", "latency_p95", "memory_peak", "throughput"):
            if getattr(spec.gates, gate) is not None:
                message = "a gate without data: nothing can be measured until data.evaluation is given"
                yield Finding(("gates", gate), message, (("data", "evaluation"),))
        return
    for name in ("calibration", "training"):
        other = getattr(spec.data, name)
        if other and (evaluation.factory, evaluation.args) == (other.factory, other.args):
            message = "is the evaluation data: a model tuned on what it is measured on looks better than it is"
            yield Finding(("data", name), message)


def _files(spec: Spec, root: Path) -> Iterator[Finding]:
    for key, path in named_paths(spec):
        try:
            file = resolve(path, root)
        except UserError as error:
            yield Finding(key, f"{error.message}; {error.next_step}")
            continue
        if key == FOLDER:
            if not file.is_dir():
                yield Finding(key, f"there is no folder {path}")
            continue
        folder_allowed = key[-2] == "files" and key[0] != "handler" if len(key) > 1 else False
        if not (file.exists() if folder_allowed else file.is_file()):
            yield Finding(key, f"there is no file {path}" + (" in the project" if not path.startswith("pkg:") else ""))
    for key, path in named_paths(spec):
        source = ENDINGS.get(key[:3])
        others = {"weights": (".safetensors",), "inference": (".py",), "tokenizer": (".json",)}
        wanted = source or next((others[str(part)] for part in key[-2:] if part in others), None)
        if wanted and not path.endswith(wanted):
            *first, last = wanted
            yield Finding(key, f"must be a {', '.join(first)}{' or ' if first else ''}{last} file, not {path}")


def _factory(key: Key, factory: Factory, root: Path) -> Iterator[Finding]:
    module, _, function = factory.factory.partition(":")
    at: Key = (*key, "factory")
    for index, package in enumerate(factory.packages):
        try:
            importlib.metadata.distribution(package)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            yield Finding((*key, "packages", index), f"the distribution '{package}' is not installed; run: make setup")
    file = module_file(module, root)
    if file is None:
        looked = module.replace(".", "/")
        yield Finding(at, f"there is no module {module}: neither {looked}.py in the project nor an installed package")
        return
    shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    try:
        names = definitions(file.read_text("utf-8"))
    except (SyntaxError, ValueError) as error:
        yield Finding(at, f"{shown} is not valid Python: {_syntax(error)}")
        return
    if names is None:
        return
    if function not in names:
        yield Finding(at, f"{shown} defines no '{function}'{choices(function, names)}")
    elif isinstance(definition := names[function], ast.FunctionDef) and not definition.decorator_list:
        yield from _arguments(key, function, definition.args, factory.args)


def _syntax(error: Exception) -> str:
    return f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)


def _arguments(key: Key, function: str, parameters: ast.arguments, given: dict[str, Any]) -> Iterator[Finding]:
    positional = parameters.posonlyargs + parameters.args
    names = [parameter.arg for parameter in parameters.args + parameters.kwonlyargs]
    required = {parameter.arg for parameter in positional[: len(positional) - len(parameters.defaults)]}
    required |= {
        one.arg for one, default in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True) if not default
    }
    if parameters.kwarg is None:
        for name in given:
            if name not in names:
                yield Finding((*key, "args", name), f"{function}() has no parameter '{name}'{choices(name, names)}")
    for name in sorted(required - set(given)):
        yield Finding((*key, "args"), f"{function}() needs '{name}'")


def _handler(spec: Spec, root: Path) -> Iterator[Finding]:
    if spec.handler is None:
        return
    taken = {"inference.py": "the handler", "requirements.txt": "generated", "serving": "generated"}
    for index, path in enumerate(spec.handler.files):
        name = Path(path).name
        if name in taken:
            yield Finding(
                ("handler", "files", index), f"'{name}' is {taken[name]} in the artifact's code folder already"
            )
        taken[name] = path
    try:
        file = resolve(spec.handler.inference, root)
        names = definitions(file.read_text("utf-8")) if file.is_file() and file.suffix == ".py" else None
    except (UserError, SyntaxError, ValueError) as error:
        if not isinstance(error, UserError):  # one that is not installed is reported with the other files
            yield Finding(("handler", "inference"), f"{spec.handler.inference} is not valid Python: {_syntax(error)}")
        return
    if names is not None and "model_fn" not in names:
        yield Finding(("handler", "inference"), f"{spec.handler.inference} defines no model_fn")


def _sample(spec: Spec, root: Path) -> Iterator[Finding]:
    if spec.sample is None:
        return
    ending = Path(spec.sample).suffix.lower()
    allowed = tuple(CONTENT_TYPES) if spec.handler else SAMPLES[spec.task]
    if ending not in allowed:
        message = f"a sample for {spec.task} ends in {', '.join(allowed)}, not in '{ending}'"
        yield Finding(("sample",), message, (("task",), ("handler",)))
        return
    try:
        file = resolve(spec.sample, root)
        size = file.stat().st_size if file.is_file() else 0
    except UserError:  # reported with the other files
        return
    if size > MAX_SAMPLE_BYTES:
        yield Finding(("sample",), f"has {size:,} bytes; an endpoint takes at most {MAX_SAMPLE_BYTES:,} in one request")
    elif ending == ".json" and file.is_file():
        try:
            json.loads(file.read_bytes())
        except ValueError as error:
            yield Finding(("sample",), f"{spec.sample} is not JSON: {error}")


def _one_python(spec: Spec) -> Iterator[Finding]:
    """An artifact with wheels is for one Python on one kind of CPU, and its requirements reach nothing else."""
    try:
        deploys = [spec.deploy, *spec.deployments().values()]
    except ValidationError:  # said of the environment
        return
    images = {deploy.image: python_of(deploy.image) for deploy in deploys if is_stock(deploy.image)}
    if any(deploy.wheels for deploy in deploys) and len(set(images.values())) > 1:
        named = " and ".join(sorted(images))
        yield Finding(("deploy",), f"network.wheels: one artifact cannot bring packages for the Pythons of {named}")
    instances = {is_arm(deploy.instance): deploy.instance for deploy in deploys if deploy.endpoint != "serverless"}
    if any(deploy.wheels for deploy in deploys) and len(instances) > 1:
        named = f"{instances[True]}, which is Arm, and {instances[False]}, which is not"
        yield Finding(("deploy",), f"network.wheels: one artifact cannot bring packages for {named}")


def _environments(spec: Spec) -> Iterator[Finding]:
    """`deploy` itself, and what each environment makes of it."""
    found = dict.fromkeys(problems(spec.deploy))
    for key, message in found:
        yield Finding(("deploy", *key), message)
    for name, environment in spec.environments.items():
        overlay: Key = ("environments", name, "deploy")
        try:
            deploy = validate(Deploy, merged(spec.deploy.model_dump(mode="json"), environment.deploy))
        except ValidationError as error:
            for key, message in explained(error, Deploy):
                yield Finding((*overlay, *key), message, (("deploy", *key[:1]),))
            continue
        for problem in problems(deploy):
            if problem not in found:  # said of `deploy` already
                yield Finding((*overlay, *problem[0]), problem[1], (("deploy", *problem[0][:1]),))
