"""aws:sns/topicSubscription:TopicSubscription. Locally a message goes out over HTTP; mail and SMS are sent nowhere."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, document, flag, integer, text
from localcloud.provider.values import Values

ATTRIBUTES = {
    "deliveryPolicy": document(),
    "filterPolicyScope": text(computed=True, choices=("MessageAttributes", "MessageBody")),
    "filterPolicy": document(),
    "rawMessageDelivery": flag(
        default=False,
        encode=lambda value: "true" if value else "false",
        decode=lambda answered: answered == "true",
    ),
}


def create(cloud: Cloud, inputs: Values) -> str:
    attributes: dict[str, Any] = to_api(ATTRIBUTES, inputs)
    answer = cloud.sns.subscribe(
        TopicArn=inputs["topic"],
        Protocol=inputs["protocol"],
        Endpoint=inputs["endpoint"],
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return str(answer["SubscriptionArn"])


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answered = cloud.sns.get_subscription_attributes(SubscriptionArn=identifier)["Attributes"]
    except cloud.sns.exceptions.NotFoundException:
        return None
    return {
        "topic": answered["TopicArn"],
        "protocol": answered["Protocol"],
        "endpoint": answered["Endpoint"],
        **from_api(ATTRIBUTES, answered),
        "arn": identifier,
        "ownerId": answered["Owner"],
        "confirmationWasAuthenticated": answered.get("ConfirmationWasAuthenticated") == "true",
        "pendingConfirmation": answered.get("PendingConfirmation") == "true",
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    before, after = to_api(ATTRIBUTES, old), to_api(ATTRIBUTES, new)
    for name in sorted(before.keys() | after.keys(), reverse=True):  # the scope of a filter before the filter
        if before.get(name) != after.get(name):
            cloud.sns.set_subscription_attributes(
                SubscriptionArn=identifier, AttributeName=name, AttributeValue=after.get(name, "")
            )


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sns.unsubscribe(SubscriptionArn=identifier)
    except cloud.sns.exceptions.NotFoundException:
        return


RESOURCE = Resource(
    label="SNS TopicSubscription",
    service="sns",
    inputs={
        "confirmationTimeoutInMinutes": integer(default=1, write_only=True),
        "endpoint": text(required=True, force_new=True),
        "endpointAutoConfirms": flag(default=False, write_only=True),
        "protocol": text(required=True, force_new=True, choices=("email", "email-json", "http", "https", "sms")),
        "region": REGION,
        "topic": text(required=True, force_new=True),
        **ATTRIBUTES,
    },
    rejected=("redrivePolicy", "replayPolicy", "subscriptionRoleArn"),
    outputs=("arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation"),
    import_id="the subscription's ARN",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
