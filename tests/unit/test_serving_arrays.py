"""Raw arrays go in and out without copies, and nothing that only claims to be one is believed."""

from __future__ import annotations

import io
import json
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from serving.errors import RequestError
from serving.tasks.arrays import npy_parts, parse_npy, parse_safetensors, safetensors_parts

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    np.array([True, False]),
    np.arange(3, dtype=">f4"),
    np.zeros((0, 4), np.uint8),
    np.array(1.5),
]


def npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_what_numpy_writes_is_read_and_what_is_written_numpy_reads(array: np.ndarray[Any, Any]) -> None:
    read = parse_npy(npy(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(np.load(io.BytesIO(b"".join(npy_parts(array)))), array)


def test_an_array_is_a_view_of_the_body_and_its_data_a_view_of_the_array() -> None:
    body = npy(np.arange(1000, dtype=np.float32))
    assert np.shares_memory(parse_npy(body), np.frombuffer(body, np.uint8))
    array = np.arange(1000, dtype=np.float32)
    assert np.shares_memory(np.asarray(npy_parts(array)[1]), array)
    body = save({"x": array})
    assert np.shares_memory(parse_safetensors(body)["x"], np.frombuffer(body, np.uint8))


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        pickle.dumps([1]),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"12345678",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}") + b"1234",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}") + b"1234",
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}") + b"1234",
        header("__import__('os').abort()"),
        header("(" * 9000),
        header("[]"),
    ],
    ids=range(12),
)
def test_a_body_that_is_no_npy_of_plain_numbers_is_the_clients_mistake(body: bytes) -> None:
    with pytest.raises(RequestError, match=r"not an \.npy array of plain numbers") as caught:
        parse_npy(body)
    assert caught.value.status_code == 400


def test_safetensors_go_both_ways_with_the_library_that_defines_them() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([True]), "c": np.zeros((0, 2), np.int64)}
    read = parse_safetensors(save(arrays))
    assert read.keys() == arrays.keys()
    for name, array in load(b"".join(safetensors_parts(arrays))).items():
        np.testing.assert_array_equal(array, arrays[name])
        np.testing.assert_array_equal(read[name], arrays[name])


def test_unaligned_data_is_copied_so_that_every_library_may_read_it() -> None:
    text = json.dumps({"x": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}).encode()
    text += b" " * (3 - len(text) % 8 + 8)
    array = parse_safetensors(struct.pack("<Q", len(text)) + text + struct.pack("<d", 2.5))["x"]
    assert array.flags.aligned
    assert array.tolist() == [2.5]


def tensors(header: Any, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 8,
        tensors([]),
        tensors({"x": {}}),
        tensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        tensors({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"),
        tensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"12345678"),
        tensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"12345678"),
        tensors({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
        tensors({"x": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        tensors({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}}, b"1234"),
    ],
    ids=range(11),
)
def test_a_body_that_is_no_safetensors_is_the_clients_mistake(body: bytes) -> None:
    with pytest.raises(RequestError, match="not safetensors") as caught:
        parse_safetensors(body)
    assert caught.value.status_code == 400


def test_a_dtype_that_safetensors_lacks_is_a_406() -> None:
    with pytest.raises(RequestError, match="cannot hold complex64"):
        safetensors_parts({"x": np.zeros(1, np.complex64)})
