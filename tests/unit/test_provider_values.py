"""Wire values and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import struct_pb2

from localcloud.provider.errors import ProviderError
from localcloud.provider.values import ASSET, SIGNATURE, UNKNOWN, asset_file, contains_unknown, from_struct, to_struct

VALUES = {"text": "a", "yes": True, "whole": 3, "part": 0.5, "list": [1, {"a": []}], "object": {"b": {"c": "d"}}}


def test_values_survive_the_wire():
    read = from_struct(to_struct(VALUES))
    assert read == VALUES
    assert isinstance(read["whole"], int)
    assert isinstance(read["yes"], bool)


def test_a_null_is_the_same_as_nothing():
    struct = struct_pb2.Struct()
    struct.update({"a": None, "b": {"c": None}})
    assert from_struct(struct) == {"b": {}}
    assert from_struct(to_struct({"a": None})) == {}


@pytest.mark.parametrize("value", [UNKNOWN, [UNKNOWN], {"a": [{"b": UNKNOWN}]}])
def test_an_unknown_is_found_at_any_depth(value: object):
    assert contains_unknown(value)
    assert not contains_unknown(VALUES)


def test_an_asset_is_a_file_or_a_text(tmp_path: Path):
    file = tmp_path / "model.tar.gz"
    file.write_bytes(b"x")
    assert asset_file({SIGNATURE: ASSET, "path": str(file)}) == file
    assert asset_file({SIGNATURE: ASSET, "text": "ä"}) == "ä".encode()
    with pytest.raises(ProviderError, match="no such file"):
        asset_file({SIGNATURE: ASSET, "path": str(tmp_path / "gone")})
    with pytest.raises(ProviderError, match="a remote asset is not fetched"):
        asset_file({SIGNATURE: ASSET, "uri": "https://example.com"})
