"""What the server can be told, by environment variables and by flags of the same names; flags win.

`SLIPWAY_MAX_BATCH` is `--max-batch`. The one table is here, so that help, documentation and checks agree.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from serving.errors import ModelError

PREFIX = "SLIPWAY_"


def _setting(default: int | str, text: str, *, least: int = 0, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": text, "least": least, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """Limits and sizes of one server; every field is a variable and a flag."""

    workers: int = _setting(
        0, "threads that predict; 0: as many as the cores allow, at most 4; 1 for a model with its own code"
    )
    max_batch: int = _setting(32, "requests that one run of the model may answer; 1: no batching", least=1)
    objective_ms: int = _setting(
        1000, "latency objective: requests that would wait longer are refused, batches stay well below it", least=1
    )
    max_pending: int = _setting(128, "requests that are accepted and not yet answered", least=1)
    request_seconds: int = _setting(60, "deadline of a request, from its last byte to its answer", least=1)
    max_body_mb: int = _setting(6, "largest body, MiB; 6 is SageMaker's limit for real-time endpoints", least=1)
    header_seconds: int = _setting(15, "within which a client must have sent a request's headers", least=1)
    body_seconds: int = _setting(30, "within which a body must be there, and 1 s more for each 64 KiB", least=1)
    max_connections: int = _setting(4096, "open connections", least=1)
    metrics: str = _setting("local", "who may GET /metrics: clients on this machine, or any", choices=("local", "any"))

    @property
    def objective(self) -> float:
        """Seconds."""
        return self.objective_ms / 1000

    @property
    def max_body(self) -> int:
        """Bytes."""
        return self.max_body_mb * 1024 * 1024


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting."""
    for one in fields(Settings):
        text = f"{one.metadata['help']} (default {one.default}; {PREFIX}{one.name.upper()})"
        parser.add_argument(f"--{one.name.replace('_', '-')}", metavar="VALUE", help=text)


def read(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a command line (a namespace that `add_flags` filled). Raises ModelError, naming the variable."""
    values = _of_batch_transform(environment)
    for one in fields(Settings):
        variable = PREFIX + one.name.upper()
        given = getattr(options, one.name, None)
        source = variable if given is None else f"--{one.name.replace('_', '-')}"
        given = environment.get(variable, "") if given is None else given
        if given == "":
            continue
        values[one.name] = _checked(source, given, one.metadata["least"], one.metadata["choices"])
    return Settings(**values)


def _of_batch_transform(environment: Mapping[str, str]) -> dict[str, Any]:
    """What stands in for the defaults where SageMaker says that this is a batch transform, whose requests are large and
    wait for nobody (https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html).
    """
    if environment.get("SAGEMAKER_BATCH") != "true":
        return {}
    values: dict[str, Any] = {"request_seconds": 3600, "objective_ms": 3_600_000, "body_seconds": 3600}
    megabytes = environment.get("SAGEMAKER_MAX_PAYLOAD_IN_MB", "")
    if megabytes.isdecimal() and int(megabytes):
        values["max_body_mb"] = int(megabytes)
    return values


def _checked(source: str, given: str, least: int, choices: tuple[str, ...]) -> int | str:
    if choices:
        if given not in choices:
            raise ModelError(f"{source} must be one of {', '.join(choices)}, not {given!r:.40}")
        return given
    if not given.isdecimal() or int(given) < least:
        raise ModelError(f"{source} must be an integer of at least {least}, not {given!r:.40}")
    return int(given)
