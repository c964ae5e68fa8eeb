"""Evaluates the program of a Core ML package, which is written in Apple's model intermediate language (MIL).

Each operation is computed by PyTorch as coremltools documents it (its `iOS15` and `iOS16` definitions), so that a
conversion can be compared where Core ML does not run. Those that models of 32 bits are commonly made of are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from model_build.errors import UserError
from model_build.quiet import quiet

if TYPE_CHECKING:
    from model_build.passes.base import Array

WEIGHTS = "Data/com.apple.CoreML/weights"
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "int32": torch.int32, "bool": torch.bool}


class Session:
    """A package's program. Raises UserError where it has operations that are not known here."""

    def __init__(self, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        with quiet():
            from coremltools.converters.mil.frontend.milproto.load import load
            from coremltools.models.utils import load_spec

            description = load_spec(str(path))
            program = load(description, description.specificationVersion, str(path / WEIGHTS))
        function = program.functions["main"]
        self.shapes = {name: tuple(value.shape) for name, value in function.inputs.items()}
        self.whole = {name for name, value in function.inputs.items() if "int" in value.dtype.__name__}
        self.values: dict[str, Any] = {}
        self.steps: list[Any] = []
        for operation in function.operations:
            if operation.op_type == "const":
                self.values[operation.outputs[0].name] = _constant(operation.outputs[0].val)
            else:
                self.steps.append(operation)
        unknown = sorted({step.op_type for step in self.steps} - set(OPERATIONS))
        if unknown:
            raise UserError(
                f"{path.name} has operations that cannot be evaluated here: {', '.join(unknown)}",
                "compare it on a Mac, by coremltools.models.MLModel(…).predict; nothing is known of it here",
            )

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The named outputs of a batch; its samples run one after the other, padded by zeros to the fixed shapes."""
        import numpy as np

        rows = range(len(next(iter(feeds.values()))))
        answers = [self._run_one({name: feeds[name][row : row + 1] for name in self.shapes}) for row in rows]
        return [np.concatenate([answer[name].numpy(force=True) for answer in answers]) for name in names]

    def _run_one(self, feeds: Mapping[str, Array]) -> Mapping[str, Tensor]:
        values = dict(self.values)
        for name, shape in self.shapes.items():
            given = torch.from_numpy(feeds[name]).to(torch.int32 if name in self.whole else torch.float32)
            margins = [
                length
                for n, most in zip(reversed(given.shape), reversed(shape), strict=True)
                for length in (0, most - n)
            ]
            values[name] = functional.pad(given, margins)
        with torch.inference_mode():
            for step in self.steps:
                inputs = {key: _looked_up(one, values) for key, one in step.inputs.items() if one is not None}
                results = OPERATIONS[step.op_type](**inputs)
                results = results if isinstance(results, (list, tuple)) else [results]
                values |= {output.name: result for output, result in zip(step.outputs, results, strict=True)}
        return values


def _looked_up(given: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(given, (list, tuple)):
        return [_looked_up(one, values) for one in given]
    return values[given.name]


def _constant(value: Any) -> Any:
    """A number, a text or a list of whole numbers as Python has them where it is an option; else a tensor."""
    import numpy as np

    if isinstance(value, (str, np.str_)):
        return str(value)
    return torch.from_numpy(np.array(value))


def _numbers(value: Any) -> list[int]:
    return [int(one) for one in value.reshape(-1)]


def _bordered(x: Tensor, pad_type: str, pad: Any, value: float) -> Tensor:
    """The input with its borders, so that what follows needs none."""
    if pad_type == "valid":
        return x
    if pad_type != "custom" or pad is None:
        raise UserError(f"a border of the kind '{pad_type}' cannot be evaluated here", "compare it on a Mac")
    pairs = _numbers(pad)  # before and after, of each axis from the first one
    margins = [length for at in range(len(pairs) - 2, -1, -2) for length in pairs[at : at + 2]]
    return functional.pad(x, margins, value=value)


def _conv(
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    dilations: Tensor,
    groups: Tensor,
    pad_type: str = "valid",
    pad: Any = None,
    bias: Tensor | None = None,
) -> Tensor:
    kind = (functional.conv1d, functional.conv2d, functional.conv3d)[weight.dim() - 3]
    padded = _bordered(x, pad_type, pad, 0.0)
    return kind(padded, weight, bias, stride=_numbers(strides), dilation=_numbers(dilations), groups=int(groups))


def _max_pool(
    x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Any = None, ceil_mode: Any = False
) -> Tensor:
    kind = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[x.dim() - 3]
    padded = _bordered(x, pad_type, pad, float("-inf"))
    pooled: Tensor = kind(padded, _numbers(kernel_sizes), _numbers(strides), ceil_mode=bool(ceil_mode))
    return pooled


def _avg_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Any = None,
    ceil_mode: Any = False,
    exclude_padding_from_average: Any = False,
) -> Tensor:
    kind: Callable[..., Tensor] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[x.dim() - 3]

    def pooled(one: Tensor) -> Tensor:
        padded = _bordered(one, pad_type, pad, 0.0)
        return kind(padded, _numbers(kernel_sizes), _numbers(strides), ceil_mode=bool(ceil_mode))

    return pooled(x) / pooled(torch.ones_like(x)) if bool(exclude_padding_from_average) else pooled(x)


def _layer_norm(
    x: Tensor, axes: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    along = sorted(axis % x.dim() for axis in _numbers(axes))
    if along != list(range(x.dim() - len(along), x.dim())):
        raise UserError("layer_norm over other axes than the last ones cannot be evaluated here", "compare it on a Mac")
    return functional.layer_norm(x, x.shape[along[0] :], gamma, beta, float(epsilon))


def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def _gelu(x: Tensor, mode: str) -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return functional.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    return torch.matmul(x.mT if bool(transpose_x) else x, y.mT if bool(transpose_y) else y)


def _gather(x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:
    if int(batch_dims):
        raise UserError("gather in batches cannot be evaluated here", "compare it on a Mac")
    at = int(axis) % x.dim()
    wanted = indices.long() % x.shape[at]
    found = x.index_select(at, wanted.reshape(-1))
    return found.reshape(*x.shape[:at], *wanted.shape, *x.shape[at + 1 :])


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:
    if int(batch_dims):
        raise UserError("gather_nd in batches cannot be evaluated here", "compare it on a Mac")
    return x[tuple(indices.long().unbind(-1))]


def _slice(x: Tensor, begin: Tensor, end: Tensor, **options: Any) -> Tensor:
    stride = _numbers(options["stride"]) if "stride" in options else [1] * x.dim()
    masks = {
        name: _numbers(options[name]) if name in options else [0] * x.dim()
        for name in ("begin_mask", "end_mask", "squeeze_mask")
    }
    if min(stride) < 1:
        raise UserError("a slice from the end cannot be evaluated here", "compare it on a Mac")
    parts: list[Any] = []
    for axis, (first, last) in enumerate(zip(_numbers(begin), _numbers(end), strict=True)):
        if masks["squeeze_mask"][axis]:
            parts.append(first)
        else:
            start = None if masks["begin_mask"][axis] else first
            stop = None if masks["end_mask"][axis] else last
            parts.append(slice(start, stop, stride[axis]))
    return x[tuple(parts)]


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_numbers(axes)))


def _expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.dim() + axes.numel()
    for axis in sorted(one % rank for one in _numbers(axes)):
        x = x.unsqueeze(axis)
    return x


def _reduced(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Tensor | None = None, keep_dims: Any = False) -> Tensor:
        along = list(range(x.dim())) if axes is None else _numbers(axes)
        return of(x, dim=along, keepdim=bool(keep_dims))

    return reduce


def _clamped(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.clamp(float(alpha), float(beta))


OPERATIONS: dict[str, Callable[..., Any]] = {
    # of two values
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "logical_and": lambda x, y: torch.logical_and(x, y),
    "logical_or": lambda x, y: torch.logical_or(x, y),
    # of one
    "logical_not": lambda x: torch.logical_not(x),
    "select": lambda cond, a, b: torch.where(cond, a, b),
    "identity": lambda x: x,
    "cast": lambda x, dtype: x.to(TYPES[dtype]),
    "relu": lambda x: x.relu(),
    "relu6": lambda x: functional.relu6(x),
    "leaky_relu": lambda x, alpha: functional.leaky_relu(x, float(alpha)),
    "elu": lambda x, alpha: functional.elu(x, float(alpha)),
    "silu": lambda x: functional.silu(x),
    "gelu": _gelu,
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "erf": lambda x: x.erf(),
    "exp": lambda x: x.exp(),
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x, epsilon: (x + epsilon).rsqrt(),
    "abs": lambda x: x.abs(),
    "square": lambda x: x.square(),
    "clip": _clamped,
    "softmax": lambda x, axis: x.softmax(int(axis)),
    # of axes
    "reduce_mean": _reduced(torch.mean),
    "reduce_sum": _reduced(torch.sum),
    "reduce_max": _reduced(torch.amax),
    "reduce_min": _reduced(torch.amin),
    "reduce_l2_norm": _reduced(torch.linalg.vector_norm),
    # of shapes
    "reshape": lambda x, shape: x.reshape(_numbers(shape)),
    "transpose": lambda x, perm: x.permute(_numbers(perm)),
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "concat": lambda values, axis, interleave=False: torch.cat(values, int(axis)),
    "stack": lambda values, axis: torch.stack(values, int(axis)),
    "tile": lambda x, reps: x.repeat(_numbers(reps)),
    "slice_by_index": _slice,
    "gather": _gather,
    "gather_nd": _gather_nd,
    # layers
    "linear": lambda x, weight, bias=None: functional.linear(x, weight, bias),
    "matmul": _matmul,
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
}
