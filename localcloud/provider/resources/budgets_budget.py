"""aws:budgets/budget:Budget: a limit with its notifications. Locally nothing is spent, so nobody is ever notified."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_changes, tag_list, tag_map, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import (
    TAGS,
    Autoname,
    Property,
    Resource,
    flag,
    number,
    obj,
    objects,
    text,
)
from localcloud.provider.errors import ProviderError, code_of
from localcloud.provider.values import UNKNOWN, Values

MOMENT = "%Y-%m-%d_%H:%M"
FOR_EVER = "2087-06-15_00:00"
INCLUDED = (
    *("includeCredit", "includeDiscount", "includeOtherSubscription", "includeRecurring", "includeRefund"),
    *("includeSubscription", "includeSupport", "includeTax", "includeUpfront"),
)
COST_TYPES = obj(
    {
        **{name: flag(default=True) for name in INCLUDED},
        "useAmortized": flag(default=False),
        "useBlended": flag(default=False),
    },
    computed=True,
)
# A notification is known by these; its subscribers come and go with it.
NOTIFICATION = {
    "comparisonOperator": text(required=True),
    "notificationType": text(required=True),
    "threshold": number(required=True),
    "thresholdType": text(required=True),
}
SUBSCRIBERS = {"subscriberEmailAddresses": "EMAIL", "subscriberSnsTopicArns": "SNS"}
NOTIFICATIONS = objects(
    {**NOTIFICATION, **{key: Property(kind="list", unordered=True) for key in SUBSCRIBERS}}, unordered=True
)
FILTERS = objects({"name": text(required=True), "values": Property(kind="list", required=True)}, unordered=True)


def _amount(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def create(cloud: Cloud, inputs: Values) -> str:
    account = str(inputs.get("accountId") or cloud.account)
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    tags = tag_list(cloud.tags(inputs))
    given: dict[str, Any] = {"ResourceTags": tags} if tags else {}
    cloud.budgets.create_budget(AccountId=account, Budget=_budget(name, inputs), **given)
    for notification in inputs.get("notifications", []):
        _notify(cloud, account, name, notification)
    return f"{account}:{name}"


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    account, name = _parts(identifier)
    try:
        budget = cloud.budgets.describe_budget(AccountId=account, BudgetName=name)["Budget"]
    except cloud.budgets.exceptions.NotFoundException:
        return None
    arn = _arn(cloud, account, name)
    limit, period = budget["BudgetLimit"], budget["TimePeriod"]
    return {
        "accountId": account,
        "name": name,
        "budgetType": budget["BudgetType"],
        "timeUnit": budget["TimeUnit"],
        "limitAmount": limit["Amount"],
        "limitUnit": limit["Unit"],
        "costFilters": [{"name": key, "values": values} for key, values in budget.get("CostFilters", {}).items()],
        "costTypes": from_api(COST_TYPES.fields, budget.get("CostTypes", {})),
        "notifications": _notifications(cloud, account, name),
        "timePeriodStart": _text(period["Start"]),
        "timePeriodEnd": _text(period["End"]),
        "arn": arn,
        "tags": tag_map(cloud.budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"]),
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    account, name = _parts(identifier)
    cloud.budgets.update_budget(AccountId=account, NewBudget=_budget(name, {**_period(old), **new}))
    wanted = new.get("notifications", [])
    live = _notifications(cloud, account, name)
    for notification in live:
        if _key(notification) not in map(_key, wanted):
            details: Any = to_api(NOTIFICATION, notification)
            cloud.budgets.delete_notification(AccountId=account, BudgetName=name, Notification=details)
    for notification in wanted:
        if _key(notification) not in map(_key, live):
            _notify(cloud, account, name, notification)
    arn = _arn(cloud, account, name)
    stale, changed = tag_changes(
        tag_map(cloud.budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"]), cloud.tags(new)
    )
    if stale:
        cloud.budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=stale)
    if changed:
        cloud.budgets.tag_resource(ResourceARN=arn, ResourceTags=tag_list(changed))


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    account, name = _parts(identifier)
    try:
        cloud.budgets.delete_budget(AccountId=account, BudgetName=name)
    except ClientError as error:
        if code_of(error) != "NotFoundException":
            raise


def _budget(name: str, inputs: Values) -> dict[str, Any]:
    budget: dict[str, Any] = {
        "BudgetName": name,
        "BudgetType": inputs["budgetType"],
        "TimeUnit": inputs["timeUnit"],
        "BudgetLimit": {"Amount": str(inputs["limitAmount"]), "Unit": inputs["limitUnit"]},
        "CostFilters": {one["name"]: one["values"] for one in inputs.get("costFilters", [])},
        "TimePeriod": {"End": _moment(inputs["timePeriodEnd"])},
    }
    start = inputs.get("timePeriodStart")
    # As AWS: the first day of the present month.
    today = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    budget["TimePeriod"]["Start"] = _moment(start) if start else today
    if inputs.get("costTypes"):
        budget["CostTypes"] = to_api(COST_TYPES.fields, inputs["costTypes"])
    return budget


def _period(old: Values) -> Values:
    return {"timePeriodStart": old["timePeriodStart"]} if "timePeriodStart" in old else {}


def _notify(cloud: Cloud, account: str, name: str, notification: Values) -> None:
    details: Any = to_api(NOTIFICATION, notification)
    subscribers: Any = [
        {"SubscriptionType": kind, "Address": address}
        for key, kind in SUBSCRIBERS.items()
        for address in notification.get(key, [])
    ]
    cloud.budgets.create_notification(AccountId=account, BudgetName=name, Notification=details, Subscribers=subscribers)


def _notifications(cloud: Cloud, account: str, name: str) -> list[Values]:
    answer = cloud.budgets.describe_notifications_for_budget(AccountId=account, BudgetName=name)
    found = []
    for details in answer.get("Notifications", []):
        notification = from_api(NOTIFICATION, {"ThresholdType": "PERCENTAGE", **details})
        subscribers = cloud.budgets.describe_subscribers_for_notification(
            AccountId=account, BudgetName=name, Notification=details
        )["Subscribers"]
        for key, kind in SUBSCRIBERS.items():
            addresses = sorted(one["Address"] for one in subscribers if one["SubscriptionType"] == kind)
            if addresses:
                notification[key] = addresses
        found.append(notification)
    return found


def _key(notification: Values) -> tuple[Any, ...]:
    return (
        *(notification.get(key) for key in NOTIFICATION),
        *(tuple(sorted(notification.get(key, []))) for key in SUBSCRIBERS),
    )


def _moment(value: str) -> datetime:
    return datetime.strptime(value, MOMENT).replace(tzinfo=UTC)


def _text(answered: datetime) -> str:
    return answered.astimezone(UTC).strftime(MOMENT)


def _arn(cloud: Cloud, account: str, name: str) -> str:
    return f"arn:{cloud.partition}:budgets::{account}:budget/{name}"


def _parts(identifier: str) -> tuple[str, str]:
    account, separator, name = identifier.partition(":")
    if not separator:
        raise ProviderError(f"'{identifier}': import a budget as {RESOURCE.import_id}")
    return account, name


def validate(inputs: Values) -> list[tuple[str, str]]:
    problems = []
    for key in ("timePeriodStart", "timePeriodEnd"):
        value = inputs.get(key, UNKNOWN)
        if value != UNKNOWN:
            try:
                _moment(value)
            except ValueError:
                problems.append((key, f"{key}: must be like 2027-01-31_00:00, is '{value}'"))
    notifications = inputs.get("notifications", UNKNOWN)
    for number_, notification in enumerate(notifications if notifications != UNKNOWN else []):
        if notification != UNKNOWN and not any(notification.get(key) for key in SUBSCRIBERS):
            where = f"notifications[{number_}]"
            problems.append((where, f"{where}: needs a subscriber, by mail or topic"))
    return problems


RESOURCE = Resource(
    label="Budgets Budget",
    service="budgets",
    inputs={
        "accountId": text(computed=True, force_new=True),
        "budgetType": text(required=True),
        "costFilters": FILTERS,
        "costTypes": COST_TYPES,
        "limitAmount": text(required=True, normal=_amount),
        "limitUnit": text(required=True),
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "notifications": NOTIFICATIONS,
        "tags": TAGS,
        "timePeriodEnd": text(default=FOR_EVER),
        "timePeriodStart": text(computed=True),
        "timeUnit": text(required=True),
    },
    rejected=("autoAdjustData", "billingViewArn", "filterExpression", "metrics", "plannedLimits"),
    outputs=("arn",),
    autoname=Autoname(prefix_property="namePrefix", longest=100),
    import_id="ACCOUNT:BUDGET",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
