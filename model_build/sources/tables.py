"""Estimators that take the columns of a table: each is an input of the ONNX model, and all are one table beside it.

Apart from `estimators`, whose other inputs are one matrix. Runs in the confined process, as that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

KINDS = {"number": "float32", "integer": "int64", "category": "text"}
TEXTS = ("a", "b")
"""Categories where the spec names none."""


def import_frames() -> None:
    """pandas, where it is installed: an estimator that was fitted on its frames asks for their names of columns."""
    from importlib.util import find_spec

    if find_spec("pandas"):
        __import__("pandas")


def inputs(given: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Name, kind of element and width of each input of the ONNX model."""
    if "columns" not in given:
        yield given["name"], given["dtype"], given["features"]
    for column in given.get("columns", ()):
        yield column["name"], KINDS[column["type"]], 1


def check(estimator: Any, given: Mapping[str, Any], name: str) -> None:
    """Raises UserError where columns or labels of a table are others than those that the estimator was fitted with."""
    if "labels" not in given:  # no table
        return
    known = [str(column) for column in getattr(estimator, "feature_names_in_", ())]
    if "columns" in given and known and known != (own := [column["name"] for column in given["columns"]]):
        raise UserError(
            f"holds a {name} that was fitted on the columns {', '.join(known)}; tabular.columns are {', '.join(own)}",
            "give tabular.columns these names in this order",
        )
    classes = getattr(estimator, "classes_", None)
    if (classes is None) != (not given["labels"]):
        raise UserError(
            f"holds a {name}, which is " + ("no classifier" if classes is None else "a classifier"),
            "leave labels out of the spec" if classes is None else "give labels, the names of its classes",
        )
    if classes is None:
        return
    if len(classes) != len(given["labels"]):
        raise UserError(
            f"holds a {name} of {len(classes)} classes, and the spec names {len(given['labels'])} labels",
            f"its classes are {', '.join(map(str, classes[:20]))}",
        )
    if classes.dtype.kind in "OU" and [str(one) for one in classes] != given["labels"]:
        raise UserError(
            f"holds a {name} whose classes are, in the order of its outputs, {', '.join(map(str, classes[:20]))}",
            "give labels these names in this order",
        )


def table(estimator: Any, given: Mapping[str, Any], feeds: Mapping[str, Array]) -> Any:
    """What the estimator itself takes for the inputs of the ONNX model, (rows, 1) each: a pandas frame where it was
    fitted on one, else an array of objects. Raises UserError where pandas is missing."""
    import numpy as np

    columns = {column["name"]: feeds[column["name"]][:, 0] for column in given["columns"]}
    if hasattr(estimator, "feature_names_in_"):
        try:
            import pandas
        except ImportError:
            raise UserError(
                "was fitted on a frame of pandas, which is not installed here: nothing to compare its ONNX model with",
                "install pandas beside slipway, or fit it on an array of objects",
            ) from None
        return pandas.DataFrame({name: _plain(column) for name, column in columns.items()})
    rows = np.empty((len(next(iter(columns.values()))), len(columns)), object)
    for place, column in enumerate(columns.values()):
        rows[:, place] = _plain(column)
    return rows


def _plain(column: Array) -> Array:
    """Texts as objects, as tables of text are kept."""
    return column.astype(object) if column.dtype.kind == "U" else column


def made_up(given: Mapping[str, Any], count: int) -> dict[str, Array]:
    """Rows of several magnitudes and of all categories, some without the values that may be missing; none where the
    categories are not known, since an estimator may refuse one that it has not seen."""
    import numpy as np

    if any(column["type"] == "category" and not column["categories"] for column in given["columns"]):
        return {}
    random = np.random.default_rng(0)
    scale = 10.0 ** (np.arange(count) % 4 - 1)
    feeds: dict[str, Array] = {}
    for column in given["columns"]:
        gone = random.random(count) < (0.1 if column["missing"] is not None else 0)
        if column["type"] == "category":
            known = column["categories"]
            texts = [known[place] for place in random.integers(0, len(known), count)]
            values: Any = np.array([column["missing"] if no else text for no, text in zip(gone, texts, strict=True)])
        else:
            values = np.abs(random.normal(size=count)) * scale
            values = values.astype(KINDS[column["type"]])
            if gone.any():
                values[gone] = np.nan if column["missing"] == "nan" else column["missing"]
        feeds[column["name"]] = values[:, None]
    return feeds
