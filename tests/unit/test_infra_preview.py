"""A pull request's own stack: the cheapest instance that holds the model, and nothing else that costs."""

from __future__ import annotations

from datetime import date

import pytest

from infra.preview import cheapest, memory_gib, smallest
from infra.prices import Part, RegionPrices
from model_build.deployment import Deploy

PRICES = RegionPrices(
    instances=Part(
        date=date(2026, 11, 1),
        source="a test",
        prices={
            "ml.c7i.large": 0.1,
            "ml.c7i.xlarge": 0.2,
            "ml.c7i.2xlarge": 0.4,
            "ml.t2.medium": 0.05,
            "ml.g5.xlarge": 1.4,
            "ml.g5.2xlarge": 1.5,
        },
    ),
    serverless_seconds=None,
    storage_months=None,
)


@pytest.mark.parametrize(
    ("instance", "peak_mb", "chosen"),
    [
        ("ml.c7i.2xlarge", 100, "ml.c7i.large"),
        ("ml.c7i.large", 100, "ml.c7i.large"),
        ("ml.c7i.2xlarge", 3000, "ml.c7i.xlarge"),  # of a large's 4 GiB too little would be left
        ("ml.c7i.2xlarge", 30000, "ml.c7i.2xlarge"),  # what the spec says, if nothing holds it
        ("ml.g5.2xlarge", 100, "ml.g5.2xlarge"),  # a smaller one may have less of what the model needs
        ("ml.m7i.4xlarge", 100, "ml.m7i.4xlarge"),  # its price is unknown
    ],
)
def test_the_cheapest_size_of_the_same_family_that_holds_the_model_is_taken(
    instance: str, peak_mb: float, chosen: str
) -> None:
    assert cheapest(instance, peak_mb, PRICES) == chosen


@pytest.mark.parametrize(
    ("instance", "gib"),
    [("ml.c7i.large", 4), ("ml.m5d.4xlarge", 64), ("ml.r6i.xlarge", 32), ("ml.t2.medium", 4), ("ml.g5.xlarge", None)],
)
def test_memory_follows_family_and_size(instance: str, gib: float | None) -> None:
    assert memory_gib(instance) == gib


def test_everything_that_costs_beside_one_instance_is_left_out() -> None:
    deploy = Deploy.model_validate(
        {
            "instance": "ml.c7i.2xlarge",
            "instances": {"min": 2, "max": 8},
            "variants": {"Other": {"weight": 1}},
            "capture": {"percent": 100},
            "shadow": {"share": 1},
            "rollout": "canary",
            "environment": {"MODE": "fast"},
        }
    )
    small = smallest(deploy, 100, PRICES)
    assert (small.instances.max, small.variants, small.shadow, small.rollout, small.capture) == (
        1,
        {},
        None,
        None,
        None,
    )
    assert small.environment == deploy.environment
    assert small.endpoint == deploy.endpoint


def test_a_serverless_endpoint_gets_one_worker_and_none_is_kept_warm() -> None:
    given = {"memory_mb": 3072, "max_concurrency": 50, "provisioned_concurrency": 5}
    small = smallest(Deploy.model_validate({"endpoint": "serverless", "serverless": given}), 100, PRICES)
    assert small.serverless is not None
    assert (small.serverless.memory_mb, small.serverless.max_concurrency) == (3072, 1)
    assert small.serverless.provisioned_concurrency is None


def test_an_asynchronous_endpoint_that_may_sleep_still_may() -> None:
    small = smallest(Deploy.model_validate({"endpoint": "async", "instances": {"min": 0, "max": 5}}), 100, PRICES)
    assert (small.instances.min, small.instances.max) == (0, 1)
