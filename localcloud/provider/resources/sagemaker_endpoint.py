"""aws:sagemaker/endpoint:Endpoint: created, moved to another configuration, and waited for.

A failed endpoint is recorded with its reason, as upstream records (taints) it, and the next `up` removes it and
creates it again, since SageMaker allows nothing else. An update that SageMaker rolled back is a success here, as it is
upstream (hashicorp/terraform-provider-aws#46663), so that a program's own guard against it is put to the test: what is
recorded is the configuration that runs, and the next `up` tries again.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Resource, integer, obj, objects, text
from localcloud.provider.diffing import canonical
from localcloud.provider.errors import Cancelled, InitializationFailed, ProviderError
from localcloud.provider.hosting import NAME_LIMIT, is_missing, set_tags, tags_of
from localcloud.provider.values import Values

CAPACITY = {"type": text(required=True), "value": integer(required=True)}
DEPLOYMENT = obj(
    {
        "autoRollbackConfiguration": obj(
            {"alarms": objects({"alarmName": text(required=True)}, unordered=True)}, force_new=True
        ),
        "blueGreenUpdatePolicy": obj(
            {
                "maximumExecutionTimeoutInSeconds": integer(),
                "terminationWaitInSeconds": integer(default=0),
                "trafficRoutingConfiguration": obj(
                    {
                        "canarySize": obj(CAPACITY),
                        "linearStepSize": obj(CAPACITY),
                        "type": text(required=True),
                        "waitIntervalInSeconds": integer(required=True),
                    },
                    required=True,
                ),
            }
        ),
        "rollingUpdatePolicy": obj(
            {
                "maximumBatchSize": obj(CAPACITY, required=True),
                "maximumExecutionTimeoutInSeconds": integer(),
                "rollbackMaximumBatchSize": obj(CAPACITY),
                "waitIntervalInSeconds": integer(required=True),
            }
        ),
    }
)
FAILED = ("Failed", "UpdateRollbackFailed")
SETTLED = ("InService", "OutOfService", *FAILED)


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs["name"])
    try:
        _create(cloud, name, inputs)
    except ClientError:
        if not _left_behind(cloud, name, inputs):
            raise
        _move(cloud, name, inputs, force=False)
        return name
    _wait_for_service(cloud, name)
    return name


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    answer = _describe(cloud, identifier)
    if answer is None or answer["EndpointStatus"] == "Deleting":
        return None
    arn = answer["EndpointArn"]
    deployment = answer.get("LastDeploymentConfig")
    return {
        "name": identifier,
        "arn": arn,
        "endpointConfigName": answer.get("EndpointConfigName") or known.get("endpointConfigName"),
        "deploymentConfig": from_api(DEPLOYMENT.fields, deployment) if deployment else known.get("deploymentConfig"),
        "tags": tags_of(cloud, arn),
    }


def trouble(cloud: Cloud, identifier: str) -> str:
    """Why the endpoint does not serve; empty where it does, or may yet."""
    answer = _describe(cloud, identifier)
    if answer is None or answer["EndpointStatus"] not in FAILED:
        return ""
    return _reason(identifier, answer)


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    deployment_changed = canonical(DEPLOYMENT, old.get("deploymentConfig")) != canonical(
        DEPLOYMENT, new.get("deploymentConfig")
    )
    _move(cloud, identifier, new, force=deployment_changed)


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        _wait_until_settled(cloud, identifier)
        cloud.sagemaker.delete_endpoint(EndpointName=identifier)
    except ClientError as error:
        if not is_missing(error):
            raise
    for _ in cloud.pauses(f"endpoint {identifier} to be deleted"):
        answer = _describe(cloud, identifier)
        if answer is None:
            return
        if answer["EndpointStatus"] == "Failed":
            raise ProviderError(f"deleting endpoint {identifier}: {_reason(identifier, answer)}")


def validate(inputs: Values) -> list[tuple[str, str]]:
    deployment = inputs.get("deploymentConfig")
    if not isinstance(deployment, dict):
        return []
    if "blueGreenUpdatePolicy" in deployment and "rollingUpdatePolicy" in deployment:
        where = "deploymentConfig.rollingUpdatePolicy"
        return [(where, f"{where}: conflicts with blueGreenUpdatePolicy; give one of them")]
    return []


def _create(cloud: Cloud, name: str, inputs: Values) -> None:
    tags = tag_list(cloud.tags(inputs))
    arguments: dict[str, Any] = {"EndpointConfigName": inputs["endpointConfigName"], **_deployment(inputs)}
    cloud.sagemaker.create_endpoint(EndpointName=name, Tags=tags, **arguments)


def _left_behind(cloud: Cloud, name: str, inputs: Values) -> bool:
    """Whether a run of this program was killed after it created the endpoint: same name, and the very same tags."""
    answer = _describe(cloud, name)
    wanted = cloud.tags(inputs)
    return answer is not None and bool(wanted) and tags_of(cloud, answer["EndpointArn"]) == wanted


def _move(cloud: Cloud, name: str, new: Values, *, force: bool) -> None:
    """Brings an existing endpoint to the wanted configuration, whatever state it is in."""
    answer = _wait_until_settled(cloud, name)
    if answer is None or answer["EndpointStatus"] in FAILED:
        if answer is not None:
            delete(cloud, name, {})
        _create(cloud, name, new)
        _wait_for_service(cloud, name)
        return
    wanted = new["endpointConfigName"]
    if force or answer["EndpointConfigName"] != wanted:
        arguments: dict[str, Any] = {"EndpointConfigName": wanted, **_deployment(new)}
        cloud.sagemaker.update_endpoint(EndpointName=name, **arguments)
        answer = _wait_for_service(cloud, name)
        live = answer["EndpointConfigName"]
        if live != wanted:
            reason = answer.get("FailureReason") or "no reason was given"
            cloud.warn(f"endpoint {name}: SageMaker rolled the update back; it runs {live}, not {wanted}: {reason}")
    set_tags(cloud, answer["EndpointArn"], new)


def _deployment(inputs: Values) -> dict[str, Any]:
    deployment = inputs.get("deploymentConfig")
    return {"DeploymentConfig": to_api(DEPLOYMENT.fields, deployment)} if deployment else {}


def _describe(cloud: Cloud, name: str) -> Any | None:
    try:
        return cloud.sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def _wait_until_settled(cloud: Cloud, name: str) -> Any | None:
    """The endpoint's description once nothing changes it any more; None when it is gone."""
    for _ in cloud.pauses(f"endpoint {name}"):
        answer = _describe(cloud, name)
        if answer is None or answer["EndpointStatus"] in SETTLED:
            return answer
    return None


def _wait_for_service(cloud: Cloud, name: str) -> Any:
    try:
        answer = _wait_until_settled(cloud, name)
    except Cancelled as stopped:
        raise InitializationFailed(str(stopped), name) from None
    if answer is None:
        raise ProviderError(f"endpoint {name} vanished while it was waited for")
    if answer["EndpointStatus"] != "InService":
        raise InitializationFailed(_reason(name, answer), name)
    return answer


def _reason(name: str, answer: Any) -> str:
    return f"endpoint {name} is {answer['EndpointStatus']}: {answer.get('FailureReason') or 'no reason was given'}"


RESOURCE = Resource(
    label="SageMaker Endpoint",
    service="sagemaker",
    inputs={
        "deploymentConfig": DEPLOYMENT,
        "endpointConfigName": text(required=True, as_found=True),
        "name": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs=("arn",),
    autoname=Autoname(longest=NAME_LIMIT),
    import_id="the endpoint's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    trouble=trouble,
    validate=validate,
)
