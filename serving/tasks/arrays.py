"""Raw arrays in a request or an answer: `.npy` (one) and safetensors (several, by name), both without copying the data.

Written out here, since numpy's reader copies, and so that no artifact needs one more package. Neither format can hold
code; pickled objects inside an `.npy` are refused.
"""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.errors import RequestError

Array = np.ndarray[Any, Any]
Buffers = list[Any]
"""The parts of a body, bytes and views of arrays, in order."""

_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER = 10_000  # numpy's own limit: what evaluates the header is not safe beyond
_MAX_HEADER = 1024 * 1024
_SAFETENSORS: dict[str, Any] = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?",
    "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _SAFETENSORS.items()}


def parse_npy(body: bytes | bytearray | memoryview | str) -> Array:
    """The array of an `.npy` body, a read-only view of it. Raises RequestError."""
    try:
        if isinstance(body, str) or bytes(body[:6]) != _MAGIC:
            raise ValueError("it does not begin as such a file does")
        wide = body[6] >= 2
        (length,) = struct.unpack_from("<I" if wide else "<H", body, 8)
        start = (12 if wide else 10) + length
        if length > _MAX_NPY_HEADER or start > len(body):
            raise ValueError("its header is too long")
        header = ast.literal_eval(bytes(body[start - length : start]).decode("latin-1").strip())
        shape, dtype, fortran = header["shape"], np.dtype(header["descr"]), header["fortran_order"]
        if dtype.hasobject or dtype.fields or dtype.subdtype:
            raise ValueError(f"it holds {dtype}")
        view = _view(body, start, len(body), dtype, shape)
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        SyntaxError,
        MemoryError,
        RecursionError,
        struct.error,
    ) as error:
        raise RequestError(400, f"the body is not an .npy array of plain numbers: {error!s:.200}") from None
    return view.reshape(shape, order="F" if fortran else "C")


def npy_parts(array: Array) -> Buffers:
    """An array as the parts of an `.npy` body: its header, and the data as it lies in memory."""
    array = np.ascontiguousarray(array)
    header = (
        f"{{'descr': {np.lib.format.dtype_to_descr(array.dtype)!r}, 'fortran_order': False, 'shape': {array.shape}, }}"
    )
    padding = -(len(_MAGIC) + 4 + len(header) + 1) % 64  # the data begins at a multiple of 64
    text = (header + " " * padding + "\n").encode("latin-1")
    return [_MAGIC + b"\x01\x00" + struct.pack("<H", len(text)) + text, _data(array)]


def parse_safetensors(body: bytes | bytearray | memoryview | str) -> dict[str, Array]:
    """The arrays of a safetensors body by name, read-only views of it where they are aligned. Raises RequestError."""
    try:
        if isinstance(body, str):
            raise ValueError("it is text")
        (length,) = struct.unpack_from("<Q", body, 0)
        start = 8 + length
        if start > len(body) or length > _MAX_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(bytes(body[8:start]))
        header.pop("__metadata__", None)
        arrays = {}
        expected = 0
        for name, one in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = one["data_offsets"]
            if begin != expected or one["dtype"] not in _SAFETENSORS:
                raise ValueError(f"{name}: its offsets leave a gap or its dtype {one['dtype']!r} is not read")
            shape = tuple(one["shape"])
            arrays[name] = _view(body, start + begin, start + end, np.dtype(_SAFETENSORS[one["dtype"]]), shape).reshape(
                shape
            )
            expected = end
        if start + expected != len(body):
            raise ValueError("its header does not fit its data")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise RequestError(400, f"the body is not safetensors: {error!s:.200}") from None
    return {name: arrays[name] for name in header}


def safetensors_parts(arrays: Mapping[str, Array]) -> Buffers:
    """Arrays as the parts of a safetensors body. Raises RequestError (406) for a dtype that it lacks."""
    header, data, position = {}, [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        if array.dtype not in _NAMES:
            raise RequestError(406, f"safetensors cannot hold {array.dtype}; accept application/json")
        header[name] = {
            "dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [position, position + array.nbytes],
        }  # fmt: skip
        position += array.nbytes
        data.append(_data(array))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)) + text, *data]


def _view(body: Any, begin: int, end: int, dtype: np.dtype[Any], shape: Any) -> Array:
    """The numbers between two offsets, flat; they must be exactly as many as `shape` says."""
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"its shape is {shape!r:.60}")
    count = math.prod(shape)  # Python's integers: nothing overflows, and nothing is allocated for a false claim
    if begin < 0 or end > len(body) or count * dtype.itemsize != end - begin:
        raise ValueError("its header does not fit its data")
    array: Array = np.frombuffer(body, dtype, count, begin) if count else np.empty(0, dtype)
    return array if array.flags.aligned else array.copy()


def _data(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
