"""aws:sns/topic:Topic. Its policy may be its own property or a TopicPolicy."""

from __future__ import annotations

import secrets
from typing import Any

from localcloud.provider.apishape import tag_changes, tag_list, tag_map
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Property, Resource, document, text
from localcloud.provider.values import Values

# Each goes by a call of its own; SNS calls them attributes.
ATTRIBUTES: dict[str, Property] = {
    "deliveryPolicy": document(aws="DeliveryPolicy"),
    "displayName": text(aws="DisplayName"),
    "kmsMasterKeyId": text(aws="KmsMasterKeyId"),
    "policy": document(computed=True, aws="Policy"),
}


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    given: dict[str, Any] = {
        declared.aws: inputs[key] for key, declared in ATTRIBUTES.items() if inputs.get(key) is not None
    }
    topic = cloud.sns.create_topic(Name=name, Attributes=given, Tags=tag_list(cloud.tags(inputs)))
    return str(topic["TopicArn"])


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answered = cloud.sns.get_topic_attributes(TopicArn=identifier)["Attributes"]
    except cloud.sns.exceptions.NotFoundException:
        return None
    return {
        **{key: answered.get(declared.aws) for key, declared in ATTRIBUTES.items()},
        "name": identifier.rpartition(":")[2],
        "arn": identifier,
        "owner": answered["Owner"],
        "tags": tag_map(cloud.sns.list_tags_for_resource(ResourceArn=identifier)["Tags"]),
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    for key, declared in ATTRIBUTES.items():
        # A policy that the program no longer names stays, as it may be a TopicPolicy's by now.
        if old.get(key) != new.get(key) and not (key == "policy" and key not in new):
            cloud.sns.set_topic_attributes(
                TopicArn=identifier, AttributeName=declared.aws, AttributeValue=new.get(key) or ""
            )
    live = tag_map(cloud.sns.list_tags_for_resource(ResourceArn=identifier)["Tags"])
    stale, changed = tag_changes(live, cloud.tags(new))
    if stale:
        cloud.sns.untag_resource(ResourceArn=identifier, TagKeys=stale)
    if changed:
        cloud.sns.tag_resource(ResourceArn=identifier, Tags=tag_list(changed))


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sns.delete_topic(TopicArn=identifier)
    except cloud.sns.exceptions.NotFoundException:
        return


RESOURCE = Resource(
    label="SNS Topic",
    service="sns",
    inputs={
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
        **ATTRIBUTES,
    },
    rejected=(
        "applicationFailureFeedbackRoleArn",
        "applicationSuccessFeedbackRoleArn",
        "applicationSuccessFeedbackSampleRate",
        "archivePolicy",
        "contentBasedDeduplication",
        "fifoThroughputScope",
        "fifoTopic",
        "firehoseFailureFeedbackRoleArn",
        "firehoseSuccessFeedbackRoleArn",
        "firehoseSuccessFeedbackSampleRate",
        "httpFailureFeedbackRoleArn",
        "httpSuccessFeedbackRoleArn",
        "httpSuccessFeedbackSampleRate",
        "lambdaFailureFeedbackRoleArn",
        "lambdaSuccessFeedbackRoleArn",
        "lambdaSuccessFeedbackSampleRate",
        "maximumMessageSize",
        "signatureVersion",
        "sqsFailureFeedbackRoleArn",
        "sqsSuccessFeedbackRoleArn",
        "sqsSuccessFeedbackSampleRate",
        "tracingConfig",
    ),
    outputs=("arn", "owner"),
    autoname=Autoname(prefix_property="namePrefix", longest=256),
    import_id="the topic's ARN",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
