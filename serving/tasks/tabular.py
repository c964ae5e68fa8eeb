"""The task tabular: rows of a table in, a class or a number for each out.

Requests: `application/json` `{"inputs": {"data": {"column": [value, …], …}}}`, as the Hugging Face clients send a
table, or `{"inputs": [{"column": value, …}, …]}`, a record for each row; `text/csv`, a row a line, of the columns that
the first line names, or without such a line in the spec's order. Numbers may be written as text. A value is missing
that is null, an empty cell or not there at all: the column's `missing` says what the model gets, else it is refused.

Answers: with labels the likeliest one of each row, `["label", …]`; with `top_k` (null: every one) the best of each row,
`[[{"label", "score"}, …], …]`. Without labels `[number, …]`.

The model's input is `features`, float32 (rows, columns), in which a category is its place in the column's list; or with
`inputs: columns` one of each column by its name, (rows, 1): float32, int64, or text. Its output is `scores` (rows,
labels), or `predictions` (rows,) or (rows, 1).
"""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import Column, ServingConfig, Tabular
from serving.errors import ModelError, RequestError
from serving.tasks.classification import probabilities
from serving.tasks.request import JSON, MAX_SAMPLES, Body, Request, any_batch, media_type, parse_json, unsupported
from serving.tasks.tensor import Rows, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.tasks.classification import Arrays, Ranking

__all__ = ["batch_key", "join"]

CSV = "text/csv"
CONTENT_TYPES = (JSON, CSV)
REQUIREMENTS = ("numpy", "onnxruntime", "orjson")
FEATURES = "features"
LARGEST = float(np.finfo(np.float32).max)
MAX_INTEGER = 2**53
"""Beyond it a float, which is what JSON's numbers are elsewhere, skips integers."""

batch_key = any_batch


def encode(samples: Sequence[Mapping[str, Any]], config: ServingConfig) -> Arrays:
    """Rows, each a mapping column → value, to the model's inputs. Raises RequestError for a value that is none."""
    if isinstance(samples, Rows):  # a request's, made when it was decoded
        return samples.arrays
    return _inputs({name: [row.get(name) for row in samples] for name in _section(config).names}, config)


def decode_request(body: Body, content_type: str | None, config: ServingConfig) -> Request:
    """The rows of a request, already as the model's inputs. Raises RequestError, naming the column and the row."""
    kind = media_type(content_type)
    columns = _section(config).names
    parameters: dict[str, Any] = {}
    if kind == CSV:
        table = _from_csv(body, columns)
    elif kind == JSON:
        inputs, parameters = parse_json(body, ("top_k",) if config.labels else ())
        table = _from_json(inputs, columns)
    else:
        raise unsupported(content_type, CONTENT_TYPES)
    return Request(Rows(_inputs(table, config)), False, parameters)


def postprocess(outputs: Arrays, config: ServingConfig, top_k: int | None = 1) -> list[Any]:
    """For each row its `top_k` best labels, best first, or its number. Raises ModelError for other outputs."""
    (name,) = output_names(config)
    values = np.asarray(outputs[name], np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"the model's {name} are not finite for this input")
    if config.labels:
        return _ranked(values, config, top_k)
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise ModelError(f"the model's predictions have shape {values.shape}, and one number a row is wanted")
    numbers: list[float] = values.reshape(-1).tolist()
    return numbers


def answers(outputs: Arrays, samples: Sequence[Any], config: ServingConfig) -> list[Any]:
    found = postprocess(outputs, config)
    return [one[0]["label"] for one in found] if config.labels else found


def answer(outputs: Arrays, request: Request, config: ServingConfig) -> Any:
    """What the client gets; see above."""
    if "top_k" not in request.parameters:
        return answers(outputs, request.samples, config)
    return postprocess(outputs, config, request.parameters["top_k"])


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    section = _section(config)
    return {name: {0: "batch"} for name in (section.names if section.inputs == "columns" else (FEATURES,))}


def output_names(config: ServingConfig) -> tuple[str, ...]:
    return ("scores",) if config.labels else ("predictions",)


def _ranked(scores: np.ndarray[Any, Any], config: ServingConfig, top_k: int | None) -> list[Ranking]:
    if scores.ndim != 2 or scores.shape[1] != len(config.labels):
        raise ModelError(f"the model's scores have shape {scores.shape}, but there are {len(config.labels)} labels")
    if _section(config).activation == "softmax":
        scores = probabilities(scores)
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
    return [
        [{"label": config.label(index), "score": float(row[index])} for index in best]
        for row, best in zip(scores, order.tolist(), strict=True)
    ]


def _from_json(inputs: Any, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """A table as lists by column, or as records."""
    if isinstance(inputs, list) and all(isinstance(row, dict) for row in inputs):
        for index, row in enumerate(inputs):
            _check_names(row, columns, f"inputs[{index}]: ")
        _check_rows(len(inputs))
        return {name: [row.get(name) for row in inputs] for name in columns}
    table = inputs.get("data") if isinstance(inputs, dict) else None
    if not isinstance(table, dict) or len(inputs) != 1:
        raise RequestError(
            400, 'inputs must be {"data": {"column": [value, …]}} or a list of objects, one for each row'
        )
    _check_names(table, columns, "")
    for name, values in table.items():
        if not isinstance(values, list):
            raise RequestError(400, f"{name}: must be a list, with a value for each row")
    lengths = {name: len(values) for name, values in table.items()}
    if len(set(lengths.values())) > 1:
        raise RequestError(400, f"the columns differ in length: {', '.join(f'{n} {c}' for n, c in lengths.items())}")
    rows = max(lengths.values(), default=0)
    _check_rows(rows)
    return {name: table.get(name, [None] * rows) for name in columns}


def _from_csv(body: Body, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    try:
        text = body if isinstance(body, str) else bytes(body).decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the CSV is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise RequestError(400, f"the body is not CSV: {error}") from None
    header = [cell.strip() for cell in lines[0]] if lines else []
    names: Sequence[str] = columns
    if set(header) & set(columns):
        _check_names(dict.fromkeys(header), columns, "the first line: ")
        if len(set(header)) != len(header):
            raise RequestError(400, "the first line names a column twice")
        names, lines = header, lines[1:]
    _check_rows(len(lines))
    for index, line in enumerate(lines):
        if len(line) != len(names):
            raise RequestError(400, f"row {index}: has {len(line)} cells; the columns are {', '.join(names)}")
    cells = {name: [line[place].strip() or None for line in lines] for place, name in enumerate(names)}
    return {name: cells.get(name, [None] * len(lines)) for name in columns}


def _check_names(given: Mapping[str, Any], columns: tuple[str, ...], where: str) -> None:
    if unknown := [name for name in given if name not in columns]:
        raise RequestError(400, f"{where}unknown column {unknown[0]!r:.60}; known: {', '.join(columns)}")


def _check_rows(count: int) -> None:
    if not count:
        raise RequestError(400, "the table has no rows")
    if count > MAX_SAMPLES:
        raise RequestError(400, f"{count} rows are too many for one request; at most {MAX_SAMPLES}")


def _inputs(table: Mapping[str, Sequence[Any]], config: ServingConfig) -> Arrays:
    """Values by column as the model's inputs. Raises RequestError, naming the column and the row."""
    section = _section(config)
    arrays = [_array(table[column.name], column) for column in section.columns]
    if section.inputs == "columns":
        return {name: array[:, None] for name, array in zip(section.names, arrays, strict=True)}
    places = [_places(array, column) for array, column in zip(arrays, section.columns, strict=True)]
    return {FEATURES: np.stack(places, axis=1).astype(np.float32)}


def _places(array: np.ndarray[Any, Any], column: Column) -> np.ndarray[Any, Any]:
    """A column as numbers: a category is its place in the list, NaN one that stands for a missing value."""
    if column.type != "category":
        return array
    known = {category: float(place) for place, category in enumerate(column.categories)}
    return np.array([known.get(value, math.nan) for value in array.tolist()])


def _array(values: Sequence[Any], column: Column) -> np.ndarray[Any, Any]:
    read = _READERS[column.type]
    found: list[Any] = []
    for row, one in enumerate(values):
        value = one.item() if isinstance(one, np.generic) else one  # of a factory of samples
        if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
            if column.missing is None:
                raise RequestError(400, f"{column.name}: row {row} has no value, and the column must have one")
            found.append(math.nan if column.missing == "nan" and column.type == "number" else column.missing)
            continue
        try:
            found.append(read(value, column))
        except ValueError as error:
            raise RequestError(400, f"{column.name}: row {row}: {value!r:.60} {error}") from None
    if column.type == "category":
        # as wide as the widest category there may be, so that batches of few rows are alike
        width = max((len(one) for one in (*column.categories, str(column.missing or ""))), default=0)
        return np.array(found, f"U{max(width, *map(len, found), 1)}")
    return np.array(found, np.int64 if column.type == "integer" else np.float32)


def _number(value: Any, column: Column) -> float:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LARGEST:
        raise ValueError("is no number")
    return number


def _integer(value: Any, column: Column) -> int:
    number = _number(value, column)
    if not number.is_integer() or abs(number) > MAX_INTEGER:
        raise ValueError("is no integer")
    return int(number)


def _category(value: Any, column: Column) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("is no text")
    if column.categories and value not in column.categories:
        raise ValueError(f"is none of {', '.join(column.categories[:20])}")
    return value


_READERS: dict[str, Any] = {"number": _number, "integer": _integer, "category": _category}


def _section(config: ServingConfig) -> Tabular:
    if config.tabular is None:
        raise ModelError("slipway.json: tabular: is missing")
    return config.tabular
