"""The servers that are compared: one module each, and what installs, starts and watches them."""

from __future__ import annotations

from collections.abc import Mapping

from bench.servers import bentoml, litserve, mlflow, mlserver, multi_model_server, slipway, torchserve
from bench.servers.launch import Server

OURS = "slipway"
SERVERS: Mapping[str, Server] = {
    OURS: slipway,
    "mlserver": mlserver,
    "mlflow": mlflow,
    "litserve": litserve,
    "bentoml": bentoml,
    "torchserve": torchserve,
    "multi-model-server": multi_model_server,
}
PEERS = tuple(name for name in SERVERS if name != OURS)
