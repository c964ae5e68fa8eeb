"""Messages to the user through the engine, which shows them among its own; they fail nothing."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class EngineMessages:
    def __init__(self, address: str) -> None:
        """`address` is where the engine listens; empty for none, and then nothing is said."""
        self._address = address

    @cached_property
    def _engine(self) -> Any:
        return engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address))

    def warn(self, message: str) -> None:
        if self._address:
            self._engine.Log(engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=message), timeout=10)
