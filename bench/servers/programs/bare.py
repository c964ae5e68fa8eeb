"""The ideal: requests answered in a loop within one process, JSON to JSON, without a server. Told what to do by stdin.

`loop SECONDS [BATCH]` gives requests per second and the percentiles of one round; `run SECONDS` those of `session.run`
alone; `answers` the answers, for comparison.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import lean
import numpy as np
import orjson


def measured(seconds: float, each: Callable[[], int]) -> dict[str, float]:
    """`each` over and over; it returns how many requests it answered. Latencies in µs."""
    took: list[int] = []
    done = 0
    begun = now = time.perf_counter_ns()
    while now - begun < seconds * 1e9:
        done += each()
        after = time.perf_counter_ns()
        took.append(after - now)
        now = after
    p50, p99 = np.percentile(took, [50, 99]) / 1000
    return {"rps": done / (now - begun) * 1e9, "p50_us": float(p50), "p99_us": float(p99)}


def main() -> None:
    model = lean.load()
    bodies = [body.encode() for body in json.loads(os.environ["SLIPWAY_BENCH_BODIES"])]
    ring = cycle(bodies)
    print("ready", flush=True)
    for line in sys.stdin:
        what, *arguments = line.split()
        result: Any
        if what == "answers":
            result = [model.predict([orjson.loads(body)["inputs"]])[0] for body in bodies]
        elif what == "run":
            feeds = cycle(_feeds(model, bodies))

            def run(feeds: Any = feeds) -> int:
                model.session.run(None, next(feeds))
                return 1

            result = measured(float(arguments[0]), run)
        else:
            size = int(arguments[1]) if len(arguments) > 1 else 1

            def answer(size: int = size) -> int:
                for one in model.predict([orjson.loads(next(ring))["inputs"] for _ in range(size)]):
                    orjson.dumps(one)
                return size

            result = measured(float(arguments[0]), answer)
        print(json.dumps(result), flush=True)


def _feeds(model: lean.Model, bodies: list[bytes]) -> list[dict[str, Any]]:
    """What `session.run` gets of each body, made before the clock runs."""
    seen: list[dict[str, Any]] = []
    session = model.session

    class Recorder:
        def run(self, names: Any, feeds: dict[str, Any]) -> Any:
            seen.append(feeds)
            return session.run(names, feeds)

    model.session = Recorder()
    for body in bodies:
        model.predict([orjson.loads(body)["inputs"]])
    model.session = session
    return seen


if __name__ == "__main__":
    main()
