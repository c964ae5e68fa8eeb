"""A fitted scikit-learn estimator to ONNX by `skl2onnx`, compared with the original before it counts.

Runs in the confined process alone (`sandbox_worker`): nothing here may be called on an object that came from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.quiet import quiet
from model_build.sources import tables

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

OPSET = {"": 18, "ai.onnx.ml": 3}
LABEL = "label"
"""The output that is a classifier's answer; any other name stands for the probabilities, or the decision's scores."""
MADE_UP = 256
TOLERANCE = 1e-3
"""How far an output may be from the estimator's, as a share of the largest value."""


def convert(
    estimator: Any, given: Mapping[str, Any], outputs: Sequence[str], samples: Path | None, target: Path
) -> list[str]:
    """Writes the estimator as ONNX with the wanted outputs; returns notes for people. Raises UserError."""
    import sklearn.base
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(estimator).__name__
    if not isinstance(estimator, sklearn.base.BaseEstimator):
        raise UserError(
            f"holds {name}, not an estimator of scikit-learn",
            "a state dict needs source's `module`, the factory that makes its torch.nn.Module",
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise UserError(f"holds a {name} that was never fitted", "fit it, then save it") from None
    features = getattr(estimator, "n_features_in_", given["features"])
    if features != given["features"]:
        raise UserError(
            f"holds a {name} that takes {features} features; {given['where']} has {given['features']}",
            f"write shape: [{features}]" if "labels" not in given else "name the columns that it was fitted on",
        )
    tables.check(estimator, given, name)
    answers = _answers(estimator, outputs, name)
    proto = _convert(estimator, given, answers, name)
    rows = _compare(estimator, proto, given, answers, samples, name)
    target.write_bytes(proto)
    where = "evaluation samples and made-up ones" if samples else "made-up samples"
    return [f"{name} as ONNX answers as the original does on {rows} {where}"]


def _answers(estimator: Any, outputs: Sequence[str], name: str) -> dict[str, Callable[[Array], Any]]:
    """Each wanted output with what the estimator itself says there. Raises UserError."""
    from sklearn.base import is_classifier, is_clusterer, is_regressor

    if is_regressor(estimator):
        known: tuple[Callable[[Array], Any], ...] = (estimator.predict,)
    elif is_classifier(estimator):
        if LABEL in outputs and getattr(getattr(estimator, "classes_", None), "dtype", None) is not None:
            kind = estimator.classes_.dtype.kind
            if kind not in "iub":
                raise UserError(
                    f"the classes of this {name} are text, which an endpoint's tensors cannot hold",
                    f"leave '{LABEL}' out of tensor.outputs; the probabilities are in the order "
                    + ", ".join(map(str, estimator.classes_[:8])),
                )
        if len(set(outputs)) != len(outputs) or len([one for one in outputs if one != LABEL]) > 1:
            raise UserError(
                f"a {name} has two outputs; tensor.outputs has {', '.join(outputs)}",
                f"name {LABEL} for the class, probabilities for the rest, or one of them",
            )
        scores = estimator.predict_proba if hasattr(estimator, "predict_proba") else estimator.decision_function
        return {one: estimator.predict if one == LABEL else scores for one in outputs}
    elif is_clusterer(estimator) and hasattr(estimator, "predict"):
        known = (estimator.predict, estimator.transform)[: 1 + hasattr(estimator, "transform")]
    elif hasattr(estimator, "transform"):
        known = (estimator.transform,)
    else:
        raise UserError(f"holds a {name}: only classifiers, regressors, clusterers and transformers are converted")
    if len(outputs) > len(known):
        raise UserError(
            f"a {name} has {len(known)} output{'s' if len(known) > 1 else ''}; tensor.outputs has {', '.join(outputs)}",
            "name as many in tensor.outputs",
        )
    return dict(zip(outputs, known, strict=False))


def _convert(estimator: Any, given: Mapping[str, Any], answers: Mapping[str, Any], name: str) -> bytes:
    import skl2onnx
    from skl2onnx.common import data_types
    from sklearn.base import is_classifier

    kinds = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "int32": data_types.Int32TensorType,
        "uint8": data_types.UInt8TensorType,
        "bool": data_types.BooleanTensorType,
        "text": data_types.StringTensorType,
    }
    classifier = is_classifier(estimator)
    wanted = list(answers)
    if classifier:  # the converter gives the class first, then the scores
        scores = next((one for one in wanted if one != LABEL), "_scores")
        names = [LABEL if LABEL in wanted else "_label", scores]
    else:
        names = wanted

    def make(options: dict[Any, Any] | None) -> Any:
        return skl2onnx.convert_sklearn(
            estimator,
            name="model",
            initial_types=[(name, kinds[kind]([None, width])) for name, kind, width in tables.inputs(given)],
            options=options,
            target_opset=OPSET,
        )

    try:
        with quiet():
            try:
                made = make({id(estimator): {"zipmap": False}} if classifier else None)
            except NameError:  # a classifier without probabilities has no such option
                made = make(None)
    except Exception as error:  # the library has a dozen kinds, and an estimator may be beyond all of them
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise UserError(
            f"the {name} cannot be converted to ONNX: {type(error).__name__}: {reason[:300]}",
            "docs of skl2onnx list the estimators that it converts; or give float32 inputs",
        ) from error
    _name_outputs(made, names, wanted)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _name_outputs(proto: Any, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Gives the outputs their names in order, keeps the wanted ones, and drops the nodes that only the others need."""
    graph = proto.graph
    renamed = dict(zip([value.name for value in graph.output], names, strict=False))
    taken = {*renamed.values()} - {*renamed}
    for value in [*graph.input, *graph.initializer]:
        taken.discard(value.name)
    inner = {name: f"{name}_inner" for node in graph.node for name in node.output if name in taken}
    renamed = inner | renamed
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in graph.output:
        value.name = renamed.get(value.name, value.name)
    kept = {value.name: value for value in graph.output}
    ordered = [type(kept[name]).FromString(kept[name].SerializeToString()) for name in wanted]
    del graph.output[:]
    graph.output.extend(ordered)
    needed = set(wanted)
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in reversed(nodes)]
    del graph.node[:]
    graph.node.extend(copies)
    unused = [tensor for tensor in graph.initializer if tensor.name not in needed]
    for tensor in unused:
        graph.initializer.remove(tensor)


def _compare(
    estimator: Any,
    proto: bytes,
    given: Mapping[str, Any],
    answers: Mapping[str, Callable[[Array], Any]],
    samples: Path | None,
    name: str,
) -> int:
    """Runs both on the samples and on made-up ones; returns how many rows. Raises UserError where they differ."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no exception base of its own
        raise UserError(f"ONNX Runtime refuses the converted {name}: {str(error).splitlines()[0]}") from error
    rows = 0
    for feeds in (_stored(samples), _made_up(given)):
        if not feeds:
            continue
        try:
            with quiet():
                x = tables.table(estimator, given, feeds) if "columns" in given else feeds[given["name"]]
                wanted = {output: np.asarray(answer(x)) for output, answer in answers.items()}
                got = dict(zip(answers, session.run(list(answers), feeds), strict=True))
        except Exception as error:  # either may refuse the samples in a way of its own
            raise UserError(
                f"the {name} cannot be compared with its ONNX model: {type(error).__name__}: "
                f"{str(error).strip()[:300]}",
                "give float32 inputs, or export it to ONNX yourself",
            ) from error
        for output, expected in wanted.items():
            _check(name, output, expected, got[output], got)
        rows += len(x)
    return rows


def _stored(samples: Path | None) -> dict[str, Array]:
    import numpy as np

    if samples is None:
        return {}
    with np.load(samples, allow_pickle=False) as arrays:
        return dict(arrays)


def _made_up(given: Mapping[str, Any]) -> dict[str, Array]:
    """Rows of several magnitudes, so that the branches of trees are taken."""
    import numpy as np

    if "columns" in given:
        return tables.made_up(given, MADE_UP)
    random = np.random.default_rng(0)
    shape = (MADE_UP, given["features"])
    if given["dtype"].startswith("float"):
        scale = 10.0 ** (np.arange(MADE_UP) % 4 - 1)
        rows: Array = np.abs(random.normal(size=shape)) * scale[:, None]
    else:
        rows = random.integers(0, 2 if given["dtype"] == "bool" else 100, shape)
    return {given["name"]: rows.astype(given["dtype"])}


def _check(name: str, output: str, expected: Array, actual: Array, got: Mapping[str, Array]) -> None:
    import numpy as np

    if expected.ndim == 1 and actual.ndim == 2 and actual.shape[1] == 1:
        actual = actual[:, 0]
    if expected.ndim == 1 and actual.ndim == 2 and actual.shape[1] == 2 and output != LABEL:
        expected = np.stack([-expected, expected], axis=1)  # the decision of two classes
    if output == LABEL:
        differ = expected != actual
        scores = next((got[one] for one in got if one != LABEL), None)
        if scores is not None and scores.ndim == 2 and scores.shape[1] > 1:
            # Where two classes are equally likely, either is right.
            best = np.sort(scores, axis=1)
            differ &= best[:, -1] - best[:, -2] > TOLERANCE * np.abs(best).max()
        if differ.any():
            raise UserError(
                f"the converted {name} names another class than the original for {int(differ.sum())} of "
                f"{len(expected)} samples",
                "export it to ONNX yourself",
            )
        return
    scale = max(1e-6, float(np.abs(expected).max(initial=0.0)))
    off = np.abs(expected.astype(np.float64) - actual) if expected.shape == actual.shape else np.array([np.inf])
    share = float(off.max(initial=0.0)) / scale
    if not share <= TOLERANCE:  # NaN is a miss too
        raise UserError(
            f"output '{output}' of the converted {name} is off by {share:.2g} of its largest value; "
            f"tolerated are {TOLERANCE:g}",
            "give float64 inputs, or export it to ONNX yourself",
        )
