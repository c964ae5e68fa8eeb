"""Federated beside central training: `python -m bench.federated [--quick]`, with `make federated`.

The shipped example (examples/federated/shops.yaml): the same 8,000 images, network, step sizes and passes, once at four
clients of skewed data by FedAvg and by FedProx, once in one place. Scored on 2,000 images that none of them saw.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.outcome import Bar, table, tell

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "examples/federated/shops.yaml"
BEHIND = 0.01
"""Accuracy that federated training may be below central training."""
QUICK = 3
"""Rounds of a quick run, which shows that all of it works; the bars are of a whole one."""
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"strategy": "fedavg"},
    {"strategy": "fedprox", "proximal_mu": 0.01},
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds, and no bars")
    quick = parser.parse_args().quick

    from model_build import loading
    from model_build.sources import federated

    spec = loading.load(SPEC, ROOT)
    runs = []
    for values in STRATEGIES:
        one = _changed(spec, **values, **({"rounds": QUICK} if quick else {}))
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            federated.make(one, ROOT, Path(folder))
            seconds = time.monotonic() - began
            score = _score(one, Path(folder, federated.WEIGHTS))
        runs.append({"how": values["strategy"], "score": score, "seconds": seconds})
    began = time.monotonic()
    central = {"how": "central", "score": _central(one), "seconds": time.monotonic() - began}
    rows = [
        (str(run["how"]), f"{run['score']:.4f}", f"{run['score'] - central['score']:+.4f}", f"{run['seconds']:.1f}")
        for run in (central, *runs)
    ]
    shown = table(("training", "accuracy", "beside central", "seconds"), rows)
    bars = [Bar(f"{run['how']} behind central training", central["score"] - run["score"], BEHIND) for run in runs]
    return tell("federated", {"quick": quick, "runs": [central, *runs]}, shown, [] if quick else bars)


def _changed(spec: Any, **values: Any) -> Any:
    source = spec.source.federated.model_copy(update=values)
    return spec.model_copy(update={"source": spec.source.model_copy(update={"federated": source})})


def _score(spec: Any, weights: Path) -> float:
    from model_build.sources import federated

    source = spec.source.federated
    return _right(spec, federated.load_module(source.factory, source.args, {"": weights}, ROOT))


def _central(spec: Any) -> float:
    """The clients' own code with one client, which has all samples."""
    from model_build.federated import learning
    from model_build.sources.federated import job_of

    job = job_of(spec, ROOT, weights="unused")
    module = learning.module(job)
    samples = learning.Samples(job, 0, 1)
    for number in range(1, job.rounds + 1):
        learning.train(module, samples, job, number, 0, 0.0)
    return _right(spec, module.eval())


def _right(spec: Any, module: Any) -> float:
    """Share of the evaluation samples that a module names rightly."""
    import numpy as np
    import torch

    from model_build import datasets

    with tempfile.TemporaryDirectory() as folder:
        datasets.write(spec.data.evaluation, "data.evaluation", spec, ROOT, Path(folder))
        correct = total = 0
        for inputs, labels in datasets.labelled(Path(folder)):
            with torch.inference_mode():
                logits = module(*(torch.from_numpy(np.array(array)) for array in inputs.values()))
            correct += int((logits.argmax(1).numpy() == labels).sum())
            total += len(labels)
    return correct / total


if __name__ == "__main__":
    raise SystemExit(main())
