"""The operations of Apple's intermediate language as PyTorch computes them, each beside NumPy or PyTorch itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model_build.errors import UserError
from model_build.platforms.mil import OPERATIONS

X = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(1))
ROWS = torch.tensor([[3.0, -1, 2], [0, 5, -4]])


def whole(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def number(value: float) -> Tensor:
    return torch.tensor(value)


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        ("add", {"x": ROWS, "y": number(1.0)}, ROWS + 1),
        ("sub", {"x": ROWS, "y": number(1.0)}, ROWS - 1),
        ("mul", {"x": ROWS, "y": ROWS}, ROWS.square()),
        ("real_div", {"x": ROWS, "y": number(2.0)}, ROWS * 0.5),
        ("pow", {"x": ROWS, "y": number(2.0)}, ROWS.square()),
        ("maximum", {"x": ROWS, "y": number(0.0)}, ROWS.relu()),
        ("minimum", {"x": ROWS, "y": number(0.0)}, -(-ROWS).relu()),
        ("equal", {"x": ROWS, "y": number(3.0)}, torch.tensor([[True, False, False], [False, False, False]])),
        ("not_equal", {"x": ROWS, "y": number(0.0)}, torch.tensor([[True, True, True], [False, True, True]])),
        ("greater", {"x": ROWS, "y": number(0.0)}, torch.tensor([[True, False, True], [False, True, False]])),
        ("greater_equal", {"x": ROWS, "y": number(0.0)}, torch.tensor([[True, False, True], [True, True, False]])),
        ("less", {"x": ROWS, "y": number(0.0)}, torch.tensor([[False, True, False], [False, False, True]])),
        ("less_equal", {"x": ROWS, "y": number(0.0)}, torch.tensor([[False, True, False], [True, False, True]])),
        ("logical_and", {"x": ROWS > 0, "y": ROWS > 2}, ROWS > 2),
        ("logical_or", {"x": ROWS > 0, "y": ROWS > 2}, ROWS > 0),
        ("logical_not", {"x": ROWS > 0}, ROWS <= 0),
        ("identity", {"x": ROWS}, ROWS),
        ("relu", {"x": ROWS}, torch.tensor([[3.0, 0, 2], [0, 5, 0]])),
        ("relu6", {"x": ROWS * 2}, torch.tensor([[6.0, 0, 4], [0, 6, 0]])),
        ("leaky_relu", {"x": ROWS, "alpha": number(0.5)}, torch.tensor([[3.0, -0.5, 2], [0, 5, -2]])),
        ("elu", {"x": ROWS, "alpha": number(1.0)}, torch.tensor([[3.0, -0.6321, 2], [0, 5, -0.9817]])),
        ("silu", {"x": ROWS}, ROWS / (1 + torch.exp(-ROWS))),
        ("sigmoid", {"x": ROWS}, 1 / (1 + torch.exp(-ROWS))),
        ("tanh", {"x": ROWS}, 2 / (1 + torch.exp(-2 * ROWS)) - 1),
        ("erf", {"x": number(0.5)}, number(0.5205)),
        ("exp", {"x": number(1.0)}, number(2.71828)),
        ("sqrt", {"x": number(9.0)}, number(3.0)),
        ("abs", {"x": ROWS}, ROWS.relu() + (-ROWS).relu()),
        ("square", {"x": ROWS}, ROWS * ROWS),
        ("stack", {"values": [ROWS, ROWS], "axis": whole(0)[0]}, torch.cat([ROWS[None], ROWS[None]])),
        ("reduce_min", {"x": ROWS, "axes": whole(1)}, torch.tensor([-1.0, -4])),
        ("reshape", {"x": ROWS, "shape": whole(3, -1)}, ROWS.reshape(3, 2)),
        ("transpose", {"x": ROWS, "perm": whole(-1, 0)}, ROWS.T),
        ("expand_dims", {"x": ROWS, "axes": whole(0, 2)}, ROWS[None, :, None]),
        ("expand_dims", {"x": ROWS, "axes": whole(-1)}, ROWS[..., None]),
        ("squeeze", {"x": ROWS[None, :, None], "axes": whole(0, 2)}, ROWS),
        ("tile", {"x": ROWS, "reps": whole(1, 2)}, torch.cat([ROWS, ROWS], 1)),
        ("concat", {"values": [ROWS, ROWS], "axis": whole(0)[0]}, torch.cat([ROWS, ROWS])),
        ("reduce_mean", {"x": ROWS, "axes": whole(1), "keep_dims": torch.tensor(True)}, ROWS.mean(1, keepdim=True)),
        ("reduce_sum", {"x": ROWS}, torch.tensor(5.0)),
        ("reduce_max", {"x": ROWS, "axes": whole(0, 1), "keep_dims": torch.tensor(False)}, torch.tensor(5.0)),
        ("reduce_l2_norm", {"x": ROWS, "axes": whole(1)}, torch.tensor([14.0**0.5, 41.0**0.5])),
        (
            "softmax",
            {"x": ROWS, "axis": whole(-1)[0]},
            torch.tensor([[0.7214, 0.0132, 0.2654], [0.0067, 0.9932, 0.0001]]),
        ),
        ("gelu", {"x": ROWS, "mode": "EXACT"}, functional.gelu(ROWS)),
        ("gelu", {"x": ROWS, "mode": "TANH_APPROXIMATION"}, functional.gelu(ROWS, approximate="tanh")),
        ("gelu", {"x": ROWS, "mode": "SIGMOID_APPROXIMATION"}, ROWS / (1 + torch.exp(-1.702 * ROWS))),
        ("rsqrt", {"x": number(3.0), "epsilon": number(1.0)}, number(0.5)),
        ("clip", {"x": ROWS, "alpha": number(-1.0), "beta": number(2.0)}, ROWS.clamp(-1, 2)),
        ("select", {"cond": ROWS > 0, "a": ROWS, "b": number(0.0)}, ROWS.relu()),
        ("cast", {"x": ROWS, "dtype": "bool"}, ROWS != 0),
        ("linear", {"x": ROWS, "weight": ROWS, "bias": torch.ones(2)}, ROWS @ ROWS.T + 1),
        ("matmul", {"x": ROWS, "y": ROWS, "transpose_x": torch.tensor(True)}, ROWS.T @ ROWS),
        ("matmul", {"x": ROWS, "y": ROWS, "transpose_y": torch.tensor(True)}, ROWS @ ROWS.T),
        ("gather", {"x": ROWS, "indices": whole(2, 0, -1), "axis": whole(1)[0]}, ROWS[:, [2, 0, 2]]),
        (
            "gather",
            {"x": ROWS, "indices": whole(1, 0, 1, 1).reshape(2, 2), "axis": whole(0)[0]},
            ROWS[torch.tensor([[1, 0], [1, 1]])],
        ),
        ("gather_nd", {"x": ROWS, "indices": whole(1, 2, 0, 0).reshape(2, 2)}, torch.tensor([-4.0, 3.0])),
        (
            "slice_by_index",
            {
                "x": ROWS,
                "begin": whole(1, 0),
                "end": whole(0, 3),
                "stride": whole(1, 2),
                "squeeze_mask": torch.tensor([True, False]),
            },
            torch.tensor([0.0, -4.0]),
        ),
        (
            "slice_by_index",
            {"x": ROWS, "begin": whole(0, 1), "end": whole(0, 0), "end_mask": torch.tensor([True, True])},
            ROWS[:, 1:],
        ),
        (
            "layer_norm",
            {"x": ROWS, "axes": whole(-1), "epsilon": number(1e-5), "gamma": torch.ones(3), "beta": torch.ones(3)},
            functional.layer_norm(ROWS, (3,)) + 1,
        ),
        (
            "batch_norm",
            {"x": X, "mean": X.mean((0, 2, 3)), "variance": X.var((0, 2, 3), unbiased=False), "epsilon": number(1e-5)},
            functional.batch_norm(X, None, None, training=True),
        ),
    ],
)
def test_an_operation_gives_what_it_is_defined_to(name: str, inputs: dict[str, Any], expected: Tensor) -> None:
    torch.testing.assert_close(OPERATIONS[name](**inputs), expected, atol=1e-4, rtol=1e-4)


def test_a_convolution_has_borders_of_different_widths() -> None:
    weight = torch.randn(8, 2, 3, 3)
    given = {"strides": whole(2, 1), "dilations": whole(1, 1), "groups": whole(2)[0], "bias": torch.ones(8)}
    found = OPERATIONS["conv"](x=X, weight=weight, pad_type="custom", pad=whole(1, 0, 2, 1), **given)
    padded = functional.pad(X, (2, 1, 1, 0))
    torch.testing.assert_close(found, functional.conv2d(padded, weight, torch.ones(8), stride=(2, 1), groups=2))
    bare = OPERATIONS["conv"](x=X, weight=weight, pad_type="valid", **given)
    torch.testing.assert_close(bare, functional.conv2d(X, weight, torch.ones(8), stride=(2, 1), groups=2))


@pytest.mark.parametrize("excluded", [False, True])
def test_an_average_counts_its_border_or_does_not(excluded: bool) -> None:
    found = OPERATIONS["avg_pool"](
        x=X,
        kernel_sizes=whole(2, 2),
        strides=whole(2, 2),
        pad_type="custom",
        pad=whole(1, 1, 1, 1),
        exclude_padding_from_average=torch.tensor(excluded),
    )
    wanted = functional.avg_pool2d(X, 2, 2, padding=1, count_include_pad=not excluded)
    torch.testing.assert_close(found, wanted)


def test_a_maximum_never_is_its_border() -> None:
    given = {"kernel_sizes": whole(2, 2), "strides": whole(2, 2), "pad_type": "custom", "pad": whole(1, 1, 1, 1)}
    found = OPERATIONS["max_pool"](x=-X.abs(), **given)
    torch.testing.assert_close(found, functional.max_pool2d(-X.abs(), 2, 2, padding=1))


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("max_pool", {"x": X, "kernel_sizes": whole(2, 2), "strides": whole(2, 2), "pad_type": "same"}),
        ("layer_norm", {"x": X, "axes": whole(1), "epsilon": number(1e-5)}),
        ("gather", {"x": ROWS, "indices": whole(0), "axis": whole(1)[0], "batch_dims": whole(1)[0]}),
        ("slice_by_index", {"x": ROWS, "begin": whole(1, 0), "end": whole(0, 3), "stride": whole(-1, 1)}),
    ],
)
def test_what_is_not_defined_here_is_refused_and_not_guessed(name: str, inputs: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot be evaluated here"):
        OPERATIONS[name](**inputs)


def test_every_operation_is_tried_here() -> None:
    tried = Path(__file__).read_text("utf-8")
    assert [name for name in OPERATIONS if f'"{name}"' not in tried] == []
