"""What a change of hosting may do that its author did not think of: one warning for each trap that it touches. Pure.

The traps are those of docs/aws.md; what is refused outright (`rules`, `hosting_rules`) is not repeated here.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_build.manifest import Deploy
from slipway.review.changes import ModelChange


def warnings(change: ModelChange, environment: str) -> list[str]:
    """Sentences about one model, the worst first."""
    if change.kind == "failed":
        return ["it was not built: nothing of it is deployed, what runs stays"]
    if change.kind == "removed":
        return ["its endpoint and its artifact are deleted when this is merged; clients get errors from then on"]
    if change.after is None:
        return []
    new = change.after.deployment(environment)
    old = change.before.deployment(environment) if change.before else None
    return [*_moved(old, new), *_standing(new, environment)]


def _moved(old: Deploy | None, new: Deploy) -> Iterator[str]:
    if old is None:
        return
    if old.endpoint != new.endpoint:
        yield f"it becomes {new.endpoint} from {old.endpoint}: clients ask such endpoints in another way"
    if old.instance != new.instance:
        yield (
            f"it moves from {old.instance} to {new.instance}: scaling is taken off during the update and put back "
            "after, and capacity evidence of the old type does not count any more"
        )
    if old.image != new.image:
        yield f"its image changes to {new.image}: what was measured in the build ran in neither"
    if old.instances.max > new.instances.max:
        yield f"at most {new.instances.max} instances from now on, {old.instances.max} before: is the peak below that?"


def _standing(new: Deploy, environment: str) -> Iterator[str]:
    if (
        environment == "prod"
        and new.endpoint == "realtime"
        and (new.rollout is None or new.rollout.type == "all-at-once")
    ):
        yield "all traffic moves at once: `rollout: canary` would show a bad version to a part of it first"
    if new.endpoint == "realtime" and new.instances.max == 1 and environment not in ("local", "dev"):
        yield "one instance at most: one failure is an outage (SageMaker.4)"
