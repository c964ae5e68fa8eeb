"""What a stack's models cost, and which of them their budgets refuse. Apart from `billing`, which needs no stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra import billing, cost
from infra.manifests import BuiltModel
from infra.prices import TableError, committed
from infra.settings import Settings


def of_models(models: Sequence[BuiltModel], settings: Settings) -> dict[str, cost.Cost]:
    """The monthly cost by model, on AWS: also of the stack `local`, where it says what the same would cost."""
    try:
        prices = committed().region(settings.region)
    except TableError as error:
        return {model.name: cost.Cost(None, None, None, (str(error),)) for model in models}
    return {
        model.name: cost.monthly(
            billing.hosting(model.deploy, model.manifest.artifact.bytes, model.target), prices, settings.region
        )
        for model in models
    }


def refusals(models: Sequence[BuiltModel], settings: Settings) -> Iterator[str]:
    """A line for each model whose `deploy.budget` it exceeds, or whose cost nobody knows; what it costs included."""
    costs = of_models(models, settings)
    for model in models:
        budget = model.deploy.budget
        if budget and (why := cost.over_budget(costs[model.name], budget.monthly_usd)):
            yield (
                f"specs/{model.name}.yaml: deploy.budget: {why}; raise it or take fewer instances, then run: "
                f"slipway build {model.name}"
            )
