"""What moto lacks of the services that are left to it, added to its own classes: budgets, keys of log groups, …

Apart from `emulation.py`, which uses moto as it is.
"""

from __future__ import annotations

import fnmatch
import json
from typing import Any


def fill() -> None:
    """Once in a process; doing it again changes nothing."""
    _budgets()
    _keys_of_log_groups()
    _permissions_of_access_logs()
    _locks_of_used_buckets()


def _budgets() -> None:
    from moto.budgets.exceptions import NotFoundException
    from moto.budgets.responses import BudgetsResponse
    from moto.core.utils import unix_time

    def found(response: Any) -> Any:
        budgets = response.backend.budgets[response._get_param("AccountId")]
        name = response._get_param("BudgetName") or (response._get_param("NewBudget") or {}).get("BudgetName")
        if name not in budgets:
            raise NotFoundException(f"Unable to get budget: {name} - the budget doesn't exist.")
        return budgets[name]

    def tags_of(response: Any) -> dict[str, str]:
        arn = response._get_param("ResourceARN")
        account, name = arn.split(":")[4], arn.partition(":budget/")[2]
        budget = response.backend.budgets[account].get(name)
        if budget is None:
            raise NotFoundException(f"Unable to find the resource {arn}.")
        tags: dict[str, str] = budget.__dict__.setdefault("tags", {})
        return tags

    create = _ORIGINALS.setdefault("create_budget", BudgetsResponse.create_budget)

    def create_budget(response: Any) -> str:
        answer: str = create(response)
        account, budget = response._get_param("AccountId"), response._get_param("Budget")
        made = response.backend.budgets[account][budget["BudgetName"]]
        made.tags = {tag["Key"]: tag["Value"] for tag in response._get_param("ResourceTags") or []}
        return answer

    def update_budget(response: Any) -> str:
        kept, new = found(response), response._get_param("NewBudget")
        period = {**kept.budget.get("TimePeriod", {}), **new.get("TimePeriod", {})}
        kept.budget = {**new, "TimePeriod": period, "LastUpdatedTime": unix_time()}
        return "{}"

    def describe_subscribers_for_notification(response: Any) -> str:
        wanted = response._get_param("Notification")
        for one in found(response).notifications:
            if one.details == wanted:
                return json.dumps({"Subscribers": one.subscribers, "NextToken": None})
        raise NotFoundException("Unable to find the notification.")

    def list_tags_for_resource(response: Any) -> str:
        return json.dumps({"ResourceTags": [{"Key": key, "Value": value} for key, value in tags_of(response).items()]})

    def tag_resource(response: Any) -> str:
        tags_of(response).update({tag["Key"]: tag["Value"] for tag in response._get_param("ResourceTags")})
        return "{}"

    def untag_resource(response: Any) -> str:
        tags = tags_of(response)
        for key in response._get_param("ResourceTagKeys"):
            tags.pop(key, None)
        return "{}"

    for operation in (
        create_budget,
        update_budget,
        describe_subscribers_for_notification,
        list_tags_for_resource,
        tag_resource,
        untag_resource,
    ):
        setattr(BudgetsResponse, operation.__name__, operation)


_ORIGINALS: dict[str, Any] = {}


def _keys_of_log_groups() -> None:
    from moto.logs.exceptions import ResourceNotFoundException
    from moto.logs.responses import LogsResponse

    def group(response: Any) -> Any:
        name = response._get_param("logGroupName")
        groups = response.logs_backend.groups
        if name not in groups:
            raise ResourceNotFoundException()
        return groups[name]

    def associate_kms_key(response: Any) -> str:
        group(response).kms_key_id = response._get_param("kmsKeyId")
        return ""

    def disassociate_kms_key(response: Any) -> str:
        group(response).kms_key_id = None
        return ""

    for operation in (associate_kms_key, disassociate_kms_key):
        setattr(LogsResponse, operation.__name__, operation)


def _permissions_of_access_logs() -> None:
    """moto breaks off where a statement's principal is `*`, and reads neither lists nor patterns of resources."""
    from moto.s3.models import FakeBucket

    def permitted(target_bucket: Any, target_prefix: str | None) -> bool:
        policy = target_bucket.policy
        statements = json.loads(policy)["Statement"] if policy else []
        wanted = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}"
        return any(
            lets_logs_in(statement, wanted)
            for statement in (statements if isinstance(statements, list) else [statements])
        )

    FakeBucket._log_permissions_enabled_policy = staticmethod(permitted)  # type: ignore[method-assign]


def _locks_of_used_buckets() -> None:
    """moto sets a retention on empty buckets alone; AWS changes it at any time, for the objects that come after."""
    from moto.s3.exceptions import InvalidBucketState
    from moto.s3.models import S3Backend

    def put_object_lock_configuration(
        backend: Any,
        bucket_name: str,
        lock_enabled: bool,
        mode: str | None = None,
        days: int | None = None,
        years: int | None = None,
    ) -> None:
        bucket = backend.get_bucket(bucket_name)
        if not bucket.is_versioned:
            raise InvalidBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
        bucket.object_lock_enabled = bucket.object_lock_enabled or lock_enabled
        bucket.default_lock_mode, bucket.default_lock_days, bucket.default_lock_years = mode, days, years

    S3Backend.put_object_lock_configuration = put_object_lock_configuration  # type: ignore[assignment, method-assign]


def lets_logs_in(statement: dict[str, Any], prefix: str) -> bool:
    """Whether a statement of a bucket policy lets S3 write access logs below `prefix`, an ARN."""
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
    actions, resources = _listed(statement.get("Action")), _listed(statement.get("Resource"))
    written = f"{prefix}2027-01-31-09-00-00-0123456789ABCDEF"
    return (
        statement.get("Effect") == "Allow"
        and "logging.s3.amazonaws.com" in services
        and any(fnmatch.fnmatchcase("s3:PutObject", pattern) for pattern in actions)
        and any(fnmatch.fnmatchcase(written, pattern) for pattern in resources)
    )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [value]
