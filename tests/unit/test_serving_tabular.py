"""The task tabular: tables in every form, values that are missing or none, and answers with labels and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from serving_artifacts import LABELS, write_artifact

from serving.config import ServingConfig
from serving.errors import ModelError, RequestError
from serving.handler import Model, predict_all, predict_fn
from serving.tasks import tabular as task
from serving.tasks.request import MAX_SAMPLES

ROWS: list[dict[str, Any]] = [
    {"kind": "small", "length": 1.5, "count": 3},  # 3 and 1.5
    {"kind": "large", "length": None, "count": 4},  # 4 and 10
    {"length": 7, "count": 5},  # 5 and 7: a missing kind is small
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    directory = write_artifact(tmp_path_factory.mktemp("tabular") / "artifact", "tabular", code=False)
    session = onnxruntime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    return Model(ServingConfig.read(directory), task, session)  # type: ignore[arg-type]


def config_of(*columns: dict[str, Any], labels: Any = (), **section: Any) -> ServingConfig:
    values = {"name": "n", "task": "tabular", "labels": list(labels)}
    return ServingConfig.from_dict(values | {"tabular": {"columns": list(columns), **section}}, Path())


def asked(model: Model, body: Any, content_type: str = "application/json") -> Any:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return predict_fn(task.decode_request(text, content_type, model.config), model)


def refused(config: ServingConfig, body: Any, content_type: str = "application/json") -> str:
    with pytest.raises(RequestError) as caught:
        task.decode_request(body if isinstance(body, str) else json.dumps(body), content_type, config)
    assert caught.value.status_code == 400
    return caught.value.message


COLUMNS: dict[str, list[Any]] = {"kind": ["small", "large", None], "length": [1.5, None, 7], "count": [3, 4, 5]}
EXPECTED = [LABELS[0], LABELS[1], LABELS[1]]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"inputs": ROWS}, "application/json"),
        ({"inputs": {"data": COLUMNS}}, "application/json"),
        ({"inputs": {"data": {name: [one and str(one) for one in of] for name, of in COLUMNS.items()}}}, ""),
        ("kind,length,count\nsmall,1.5,3\nlarge,,4\n,7,5\n", "text/csv"),
        ("count, length, kind\r\n3,1.5,small\r\n4,,large\r\n5,7,\r\n", "text/csv; charset=utf-8"),
        ("small,1.5,3\nlarge,,4\n,7,5", "text/csv"),
        ('\ufeffkind,length,count\n"small",1.5,3\n\n"large",,4\n,7,5\n'.encode(), "text/csv"),
    ],
)
def test_a_table_has_the_same_answers_in_every_form(model: Model, body: Any, content_type: str) -> None:
    assert asked(model, body, content_type) == EXPECTED


def test_one_row_has_a_list_of_one_answer(model: Model) -> None:
    assert asked(model, {"inputs": ROWS[:1]}) == EXPECTED[:1]


def test_scores_come_with_top_k(model: Model) -> None:
    (first, *_) = asked(model, {"inputs": ROWS, "parameters": {"top_k": None}})
    assert first == [{"label": LABELS[0], "score": 3.0}, {"label": LABELS[1], "score": 1.5}]
    assert [len(one) for one in asked(model, {"inputs": ROWS, "parameters": {"top_k": 1}})] == [1, 1, 1]


def test_softmax_makes_scores_of_logits() -> None:
    config = config_of({"name": "x"}, labels=["a", "b"], activation="softmax")
    (ranking,) = task.postprocess({"scores": np.log(np.array([[0.25, 0.75]], np.float32))}, config, None)
    assert [(one["label"], round(one["score"], 5)) for one in ranking] == [("b", 0.75), ("a", 0.25)]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_without_labels_the_answers_are_numbers(shape: tuple[int, ...]) -> None:
    config = config_of({"name": "x"})
    outputs = {"predictions": np.array([1, 2.5, -3], np.float32).reshape(shape)}
    assert task.answers(outputs, [None] * 3, config) == [1, 2.5, -3]
    assert task.output_names(config) == ("predictions",)


def test_requests_that_share_a_pass_keep_their_own_parameters(model: Model) -> None:
    bodies = [{"inputs": ROWS[:1]}, {"inputs": ROWS[1:], "parameters": {"top_k": 1}}]
    requests = [task.decode_request(json.dumps(one), None, model.config) for one in bodies]
    assert len({task.batch_key(request) for request in requests}) == 1
    assert predict_all(requests, model) == [predict_fn(request, model) for request in requests]


def test_features_are_one_matrix_with_the_places_of_categories() -> None:
    config = config_of(
        {"name": "size", "type": "category", "categories": ["s", "m", "l"], "missing": ""},
        {"name": "weight", "missing": -1},
        {"name": "count", "type": "integer", "missing": 0},
    )
    rows = [{"size": "l", "weight": "2.5", "count": 7}, {}, {"size": "s", "weight": 1, "count": None}]
    (name, features), *others = task.encode(rows, config).items()
    assert (name, features.dtype, others) == ("features", np.float32, [])
    np.testing.assert_array_equal(features, [[2, 2.5, 7], [np.nan, -1, 0], [0, 1, 0]])
    assert task.input_axes(config) == {"features": {0: "batch"}}


def test_columns_are_inputs_of_their_own_types(model: Model) -> None:
    inputs = task.encode(ROWS, model.config)
    assert {name: (array.dtype.str, array.shape) for name, array in inputs.items()} == {
        "kind": ("<U5", (3, 1)),
        "length": ("<f4", (3, 1)),
        "count": ("<i8", (3, 1)),
    }


def test_the_values_of_a_factory_may_be_numpys(model: Model) -> None:
    row = {"kind": np.str_("large"), "length": np.float32(np.nan), "count": np.int64(2)}
    np.testing.assert_array_equal(task.encode([row], model.config)["count"], [[2]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "huge"}, "kind: row 0: 'huge' is none of small, large"),
        ({"kind": 3}, "kind: row 0: 3 is no text"),
        ({"length": "long"}, "length: row 0: 'long' is no number"),
        ({"length": True}, "length: row 0: True is no number"),
        ({"length": [1]}, r"length: row 0: [1] is no number"),
        ({"length": 1e39}, "length: row 0: 1e+39 is no number"),
        ({"length": "inf"}, "length: row 0: 'inf' is no number"),
        ({"length": "1" + "0" * 400}, "is no number"),
        ({"count": 1.5}, "count: row 0: 1.5 is no integer"),
        ({"count": 2**60}, "is no integer"),
        ({"count": None}, "count: row 0 has no value, and the column must have one"),
        ({"colour": "red"}, "unknown column 'colour'; known: kind, length, count"),
    ],
)
def test_a_value_that_is_none_names_its_column_and_row(model: Model, row: Any, message: str) -> None:
    assert message in refused(model.config, {"inputs": [ROWS[0] | row]})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("x", "inputs must be"),
        ([], "the table has no rows"),
        ([1], "inputs must be"),
        ({"kind": "small"}, "inputs must be"),
        ({"data": COLUMNS, "more": 1}, "inputs must be"),
        ({"data": {}}, "the table has no rows"),
        ({"data": COLUMNS | {"length": [1]}}, "the columns differ in length: kind 3, length 1, count 3"),
        ({"data": COLUMNS | {"length": 1}}, "length: must be a list"),
        ({"data": COLUMNS | {"colour": [1, 2, 3]}}, "unknown column 'colour'"),
        ([{"count": 1}] * (MAX_SAMPLES + 1), "rows are too many"),
    ],
)
def test_a_table_that_is_none_says_what_is_wanted(model: Model, inputs: Any, message: str) -> None:
    assert message in refused(model.config, {"inputs": inputs})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table has no rows"),
        ("kind,length,count\n", "the table has no rows"),
        ("kind,length,colour\nsmall,1,2", "the first line: unknown column 'colour'"),
        ("kind,length,length\nsmall,1,2", "names a column twice"),
        ("small,1\n", "row 0: has 2 cells; the columns are kind, length, count"),
        ('small,"1,2', "the body is not CSV"),
    ],
)
def test_csv_that_is_none_says_why(model: Model, text: str, message: str) -> None:
    assert message in refused(model.config, text, "text/csv")


def test_csv_that_is_not_utf8_is_a_400(model: Model) -> None:
    with pytest.raises(RequestError, match=r"not UTF-8 \(byte 1\)"):
        task.decode_request(b"a\xff,1,2", "text/csv", model.config)


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (["a", "b"], {"scores": np.zeros((1, 3))}, "there are 2 labels"),
        (["a", "b"], {"scores": np.full((1, 2), np.nan)}, "not finite"),
        ((), {"predictions": np.zeros((1, 2))}, "one number a row"),
    ],
)
def test_other_outputs_are_the_models_fault(labels: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        task.postprocess(outputs, config_of({"name": "x"}, labels=labels))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, r"tabular\.columns: is missing"),
        ({"columns": []}, "needs at least one column"),
        ({"columns": [3]}, r"columns\[0\]: must be an object"),
        ({"columns": [{"name": "x"}, {"name": "x"}]}, "a name of its own"),
        ({"columns": [{"name": "x", "type": "date"}]}, r"columns\[0\]\.type: 'date' is not one of"),
        ({"columns": [{"name": "x", "missing": "none"}]}, r"columns\[0\]\.missing: must be a number"),
        ({"columns": [{"name": "x", "type": "category"}]}, "x needs categories"),
        ({"columns": [{"name": "x"}], "inputs": "rows"}, r"tabular\.inputs: 'rows' is not one of"),
    ],
)
def test_a_section_that_is_wrong_names_its_key(section: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ServingConfig.from_dict({"name": "n", "task": "tabular", "tabular": section}, Path())
