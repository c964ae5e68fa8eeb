"""`python -m localcloud --data DIR [--port N]`: the local AWS in the foreground."""

from __future__ import annotations

import argparse
import logging
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from localcloud.errors import LocalCloudError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud", description="AWS on this machine, on one loopback port."
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where artifacts, logs and state lie")
    parser.add_argument("--port", type=int, metavar="N", help="default: 4566, or any free port where that is taken")
    parser.add_argument(
        "--serving-command",
        metavar="COMMAND",
        help="runs a replica instead of `python -m serving`; gets --model-dir, --host, --port and --exit-with-parent",
    )
    parser.add_argument(
        "--metrics-interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often processor and memory of replicas are measured, on the clock of --speed; default: 5",
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="N",
        help="metrics, alarms, rollouts and scaling run on a clock N times as fast; requests do not; default: 1",
    )
    parser.add_argument(
        "--health-interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often replicas are asked whether they are well; one that fails three times is replaced; default: 5",
    )
    parser.add_argument(
        "--start-limit",
        type=float,
        default=math.inf,
        metavar="SECONDS",
        help="how long a replica may take to start, where its endpoint configuration allows more; default: no limit",
    )
    parser.add_argument(
        "--request-weight",
        type=float,
        default=1.0,
        metavar="W",
        help="how many requests each one counts for in CloudWatch; W = N of --speed makes loads and metrics agree",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what an earlier server of DIR kept; else it is as before"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    from localcloud.sagemaker.replica import Program
    from localcloud.server import Settings, run

    program = Program.serving()
    if options.serving_command:
        program = replace(program, command=tuple(shlex.split(options.serving_command)))
    settings = Settings(
        options.data.resolve(),
        options.port,
        program,
        options.metrics_interval,
        options.speed,
        options.health_interval,
        options.request_weight,
        options.start_limit,
        options.fresh,
    )
    try:
        run(settings)
    except LocalCloudError as error:
        print(f"localcloud: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
