"""A pull request's own stack: how a model is hosted there, as small as it can be. Pure.

It is computed at the deployment and written nowhere, so that specs say nothing of pull requests.
"""

from __future__ import annotations

import re

from infra.prices import RegionPrices
from model_build.deployment import Autoscaling, Deploy, InstanceRange

# Of a family's `large`; a size `Nxlarge` has 2 N times as much, `medium` half. General-purpose families alone: of
# those with accelerators a smaller size may have less of what the model needs.
GIB_OF_LARGE = {"c": 4, "m": 8, "r": 16, "t": 8}
HEADROOM = 2
"""Memory of the instance by the model's peak, beside which the server and the system have to live."""


def smallest(deploy: Deploy, memory_peak_mb: float, prices: RegionPrices) -> Deploy:
    """One instance of the cheapest size of the same family (so the same arithmetic) that holds the model.

    No autoscaling, rollout, copies of traffic or further variants; a serverless endpoint gets one worker.
    """
    asleep = deploy.endpoint == "async" and deploy.instances.min == 0
    changes: dict[str, object] = {
        "instances": InstanceRange(min=0 if asleep else 1, max=1),
        "autoscaling": Autoscaling(),
        "variants": {},
        "shadow": None,
        "rollout": None,
        "capture": None,
    }
    if deploy.serverless:
        changes["serverless"] = deploy.serverless.model_copy(
            update={"max_concurrency": 1, "provisioned_concurrency": None}
        )
    else:
        changes["instance"] = cheapest(deploy.instance, memory_peak_mb, prices)
    return deploy.model_copy(update=changes)


def cheapest(instance: str, memory_peak_mb: float, prices: RegionPrices) -> str:
    """The instance type itself where prices or sizes of its family are not known."""
    own = prices.of("instances", instance)
    if own is None or prices.instances is None:
        return instance
    family = instance.rpartition(".")[0]
    fitting = [
        (price, size)
        for size, price in prices.instances.prices.items()
        if size.rpartition(".")[0] == family
        and price <= own
        and (memory := memory_gib(size)) is not None
        and memory * 1024 >= HEADROOM * memory_peak_mb
    ]
    return min(fitting, default=(own, instance))[1]


def memory_gib(instance: str) -> float | None:
    """Of `ml.c7i.xlarge`: 8. None where the family is no general-purpose one."""
    _, family, size = instance.split(".")
    large = GIB_OF_LARGE.get(family[0]) if re.fullmatch(r"[cmrt]\d\w*", family) else None
    times = re.fullmatch(r"(\d*)xlarge", size)
    factor = 2.0 * int(times[1] or 1) if times else {"medium": 0.5, "large": 1.0}.get(size)
    return large * factor if large is not None and factor is not None else None
