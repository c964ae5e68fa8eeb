"""A TorchServe handler around `lean.Model`: all requests of a batch in one forward pass."""

from __future__ import annotations

from typing import Any

import lean

_loaded: list[lean.Model] = []


def handle(data: Any, context: Any) -> Any:
    if not _loaded:
        _loaded.append(lean.load())
    if not data:
        return None
    return _loaded[0].predict([(one.get("body") or one.get("data"))["inputs"] for one in data])
