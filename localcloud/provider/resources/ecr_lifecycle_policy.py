"""aws:ecr/lifecyclePolicy:LifecyclePolicy. Replaced for any change, as upstream has it."""

from __future__ import annotations

import json
from typing import Any

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, document, text
from localcloud.provider.values import UNKNOWN, Values


def create(cloud: Cloud, inputs: Values) -> str:
    repository = str(inputs["repository"])
    cloud.ecr.put_lifecycle_policy(repositoryName=repository, lifecyclePolicyText=inputs["policy"])
    return repository


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    absent = (
        cloud.ecr.exceptions.LifecyclePolicyNotFoundException,
        cloud.ecr.exceptions.RepositoryNotFoundException,
    )
    try:
        answer = cloud.ecr.get_lifecycle_policy(repositoryName=identifier)
    except absent:
        return None
    return {
        "repository": identifier,
        "policy": answer["lifecyclePolicyText"],
        "registryId": answer["registryId"],
    }


def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
    create(cloud, new)


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    absent = (
        cloud.ecr.exceptions.LifecyclePolicyNotFoundException,
        cloud.ecr.exceptions.RepositoryNotFoundException,
    )
    try:
        cloud.ecr.delete_lifecycle_policy(repositoryName=identifier)
    except absent:
        return


def _by_priority(policy: Any) -> Any:
    """Rules count by their priorities, whatever their order."""
    try:
        document_ = json.loads(policy) if isinstance(policy, str) else policy
        rules = sorted(document_["rules"], key=lambda rule: rule["rulePriority"])
    except (ValueError, TypeError, KeyError):
        return policy
    return json.dumps({**document_, "rules": rules}, sort_keys=True)


def validate(inputs: Values) -> list[tuple[str, str]]:
    policy = inputs["policy"]
    rules = [] if policy == UNKNOWN else json.loads(policy)
    if policy != UNKNOWN and not (isinstance(rules, dict) and isinstance(rules.get("rules"), list)):
        return [("policy", "policy: needs `rules`, a list")]
    return []


RESOURCE = Resource(
    label="ECR LifecyclePolicy",
    service="ecr",
    inputs={
        "policy": document(required=True, force_new=True, normal=_by_priority),
        "region": REGION,
        "repository": text(required=True, force_new=True),
    },
    outputs=("registryId",),
    delete_first=True,
    import_id="the repository's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
