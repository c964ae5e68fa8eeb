"""aws:sns/topicPolicy:TopicPolicy: who may publish to a topic. Without it, a topic has AWS's default policy again."""

from __future__ import annotations

import json

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, document, text
from localcloud.provider.policies import canonical_document
from localcloud.provider.values import Values

ACTIONS = (
    "SNS:GetTopicAttributes",
    "SNS:SetTopicAttributes",
    "SNS:AddPermission",
    "SNS:RemovePermission",
    "SNS:DeleteTopic",
    "SNS:Subscribe",
    "SNS:ListSubscriptionsByTopic",
    "SNS:Publish",
)


def create(cloud: Cloud, inputs: Values) -> str:
    arn = str(inputs["arn"])
    cloud.sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=inputs["policy"])
    return arn


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answered = cloud.sns.get_topic_attributes(TopicArn=identifier)["Attributes"]
    except cloud.sns.exceptions.NotFoundException:
        return None
    policy = answered["Policy"]
    if canonical_document(policy) == canonical_document(default_policy(identifier, answered["Owner"])):
        return None
    return {"arn": identifier, "policy": policy, "owner": answered["Owner"]}


def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
    create(cloud, new)


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    owner = old.get("owner") or cloud.account
    try:
        cloud.sns.set_topic_attributes(
            TopicArn=identifier, AttributeName="Policy", AttributeValue=default_policy(identifier, owner)
        )
    except cloud.sns.exceptions.NotFoundException:
        return


def default_policy(topic: str, owner: str) -> str:
    """What AWS gives a new topic: only its owner may use it."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": list(ACTIONS),
        "Resource": topic,
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


RESOURCE = Resource(
    label="SNS TopicPolicy",
    service="sns",
    inputs={"arn": text(required=True, force_new=True), "policy": document(required=True), "region": REGION},
    outputs=("owner",),
    import_id="the topic's ARN",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
