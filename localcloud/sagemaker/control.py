"""SageMaker's control plane: the operations of hosting, each a method, over the catalog and the endpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from localcloud import protocol
from localcloud.asgi import Request, Response, json_response
from localcloud.clock import Clock
from localcloud.errors import ValidationException
from localcloud.sagemaker import deployment, describing
from localcloud.sagemaker.catalog import Catalog, Record, already_exists, could_not_find
from localcloud.sagemaker.deployment import Plan
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Variant, Workshop
from localcloud.sagemaker.jobs import Machine
from localcloud.sagemaker.listing import list_page
from localcloud.sagemaker.processing import ProcessingJobs
from localcloud.sagemaker.transform import Transforms

log = logging.getLogger(__name__)

SERVICE = "sagemaker"


class Region:
    """Hosting in one region: endpoints of one name in two regions are two endpoints."""

    def __init__(self, region: str, workshop: Workshop, logs: Path, machine: Machine) -> None:
        self.catalog = Catalog(region, workshop.clock.now)
        self.endpoints: dict[str, Endpoint] = {}
        self.transforms = Transforms(self.catalog, workshop, logs.parent / "transform")
        self.processing = ProcessingJobs(self.catalog, workshop, machine)
        self._workshop = workshop
        self._logs = logs

    # --- models ---------------------------------------------------------------------------------------------------

    def create_model(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"ModelArn": self.catalog.add_model(request).arn}

    def describe_model(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self.catalog.model(request["ModelName"])
        return {**record.request, "ModelArn": record.arn, "CreationTime": record.created}

    def list_models(self, request: dict[str, Any]) -> dict[str, Any]:
        return list_page(request, [_summary("Model", record) for record in self.catalog.models.values()], "Model")

    def delete_model(self, request: dict[str, Any]) -> dict[str, Any]:
        self.catalog.remove_model(request["ModelName"])
        return {}

    # --- endpoint configurations ----------------------------------------------------------------------------------

    def create_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"EndpointConfigArn": self.catalog.add_config(request).arn}

    def describe_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        record = self.catalog.config(request["EndpointConfigName"])
        return {**record.request, "EndpointConfigArn": record.arn, "CreationTime": record.created}

    def list_endpoint_configs(self, request: dict[str, Any]) -> dict[str, Any]:
        summaries = [_summary("EndpointConfig", record) for record in self.catalog.configs.values()]
        return list_page(request, summaries, "EndpointConfig")

    def delete_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        # As on AWS, one that an endpoint uses goes too: the endpoint runs on, and can no longer be updated.
        self.catalog.remove_config(request["EndpointConfigName"])
        return {}

    # --- endpoints ------------------------------------------------------------------------------------------------

    def create_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        arn = self.catalog.arn("endpoint", name)
        if name in self.endpoints:
            raise already_exists("endpoint", arn)
        config = self.catalog.config(request["EndpointConfigName"])
        variants = self._resolve(config)
        # The first deployment has nothing to roll over from; what makes no sense is refused all the same.
        deployment.read(request.get("DeploymentConfig"))
        endpoint = self.new_endpoint(name, config)
        endpoint.last_deployment = request.get("DeploymentConfig")
        self.catalog.set_tags(arn, request.get("Tags", []))
        endpoint.create(variants, self._resolve(config, "ShadowProductionVariants"))
        return {"EndpointArn": arn}

    def describe_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        return describing.described(self.endpoint(request["EndpointName"]))

    def list_endpoints(self, request: dict[str, Any]) -> dict[str, Any]:
        summaries = [
            {
                "EndpointName": endpoint.name,
                "EndpointArn": endpoint.arn,
                "CreationTime": endpoint.created,
                "LastModifiedTime": endpoint.modified,
                "EndpointStatus": endpoint.status,
            }
            for endpoint in self.endpoints.values()
        ]
        return list_page(request, summaries, "Endpoint")

    def update_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._idle_endpoint(request["EndpointName"])
        # AWS refuses the update of an endpoint whose present configuration was deleted.
        self.catalog.config(endpoint.config.name)
        config = self.catalog.config(request["EndpointConfigName"])
        asked = request.get("DeploymentConfig")
        if asked is None and request.get("RetainDeploymentConfig", False):
            asked = endpoint.last_deployment
        plan = deployment.read(asked)
        variants = self._resolve(config)
        if request.get("RetainAllVariantProperties", False):
            excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
            variants = [_retained(variant, endpoint, excluded) for variant in variants]
        self._check_plan(plan, endpoint, variants)
        endpoint.last_deployment = asked
        endpoint.update(config, variants, self._resolve(config, "ShadowProductionVariants"), plan)
        return {"EndpointArn": endpoint.arn}

    def update_endpoint_weights_and_capacities(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._idle_endpoint(request["EndpointName"])
        wanted = request["DesiredWeightsAndCapacities"]
        unknown = [item["VariantName"] for item in wanted if item["VariantName"] not in endpoint.fleets]
        if unknown:
            raise ValidationException(f'Could not find variant "{unknown[0]}" of endpoint "{endpoint.arn}".')
        counts = {
            item["VariantName"]: item["DesiredInstanceCount"] for item in wanted if "DesiredInstanceCount" in item
        }
        weights = {item["VariantName"]: item["DesiredWeight"] for item in wanted if "DesiredWeight" in item}
        if any(endpoint.fleets[name].variant.serverless for name in counts):
            raise ValidationException("A serverless variant has no DesiredInstanceCount.")
        if any(count < (0 if endpoint.asynchronous else 1) for count in counts.values()):
            raise ValidationException("An instance-based variant needs a DesiredInstanceCount of at least 1.")
        resulting = {name: weights.get(name, fleet.weight) for name, fleet in endpoint.fleets.items()}
        if not any(weight > 0 for weight in resulting.values()):
            raise ValidationException("At least one production variant needs a weight above 0.")
        endpoint.resize(counts, weights)
        return {"EndpointArn": endpoint.arn}

    def delete_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoint(request["EndpointName"])
        if endpoint.status not in ("InService", "Failed", "UpdateRollbackFailed"):
            raise _in_progress(endpoint)

        def forget() -> None:
            del self.endpoints[endpoint.name]
            self.catalog.tags.pop(endpoint.arn, None)

        endpoint.delete(forget)
        return {}

    # --- transform jobs -------------------------------------------------------------------------------------------

    def create_transform_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.transforms.create(request)

    def describe_transform_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.transforms.describe(request)

    def list_transform_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.transforms.list(request)

    def stop_transform_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.transforms.stop(request)

    # --- processing jobs ------------------------------------------------------------------------------------------

    def create_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.processing.create(request)

    def describe_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.processing.describe(request)

    def list_processing_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.processing.list(request)

    def stop_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.processing.stop(request)

    def delete_processing_job(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.processing.delete(request)

    # --- tags -----------------------------------------------------------------------------------------------------

    def add_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        arn = self._taggable(request["ResourceArn"])
        self.catalog.set_tags(arn, request["Tags"])
        return {"Tags": self.catalog.tag_list(arn)}

    def list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": self.catalog.tag_list(self._taggable(request["ResourceArn"]))}

    def delete_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self.catalog.tags[self._taggable(request["ResourceArn"])]
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    def _taggable(self, arn: str) -> str:
        if arn not in self.catalog.tags:
            raise ValidationException(f'Could not find a resource "{arn}".')
        return arn

    # --- shared ---------------------------------------------------------------------------------------------------

    def new_endpoint(self, name: str, config: Record) -> Endpoint:
        """An endpoint that is among the region's from now on, and has yet to be created."""
        arn = self.catalog.arn("endpoint", name)
        made = self.endpoints[name] = Endpoint(
            name, arn, self.catalog.region, config, self._workshop, self._logs / name
        )
        return made

    def endpoint(self, name: str) -> Endpoint:
        if name not in self.endpoints:
            raise could_not_find("endpoint", self.catalog.arn("endpoint", name))
        return self.endpoints[name]

    def _idle_endpoint(self, name: str) -> Endpoint:
        endpoint = self.endpoint(name)
        if endpoint.status == "Failed":
            raise ValidationException(f'Cannot update endpoint "{endpoint.arn}" in status Failed; it can be deleted.')
        if endpoint.status not in ("InService", "UpdateRollbackFailed"):
            raise _in_progress(endpoint)
        return endpoint

    def _check_plan(self, plan: Plan, endpoint: Endpoint, variants: list[Variant]) -> None:
        if plan.kind != "ALL_AT_ONCE" and any(variant.serverless for variant in variants):
            raise ValidationException(f"A {plan.kind} deployment is not for serverless variants.")
        plan.check({variant.name: variant.count for variant in variants})
        if plan.kind != "ALL_AT_ONCE" and {variant.name for variant in variants} != set(endpoint.fleets):
            raise ValidationException(
                f"A {plan.kind} deployment needs the variant names of before and after to be the same."
            )
        if plan.kind == "ROLLING" and len(variants) > 1:
            raise ValidationException("RollingUpdatePolicy is for endpoints of one variant.")
        missing = [name for name in plan.alarms if self._workshop.watch.alarm(self.catalog.region, name) is None]
        if missing:
            raise ValidationException(
                f"Could not find the CloudWatch alarm(s) of AutoRollbackConfiguration: {', '.join(missing)}."
            )

    def _resolve(self, config: Record, member: str = "ProductionVariants") -> list[Variant]:
        return [
            Variant.of(variant, self.catalog.model(variant["ModelName"]).request["PrimaryContainer"])
            for variant in config.request.get(member, [])
        ]


def _in_progress(endpoint: Endpoint) -> ValidationException:
    return ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def _retained(variant: Variant, endpoint: Endpoint, excluded: set[str]) -> Variant:
    fleet = endpoint.fleets.get(variant.name)
    if fleet is None:
        return variant
    count = variant.count if "DesiredInstanceCount" in excluded else fleet.desired
    weight = variant.weight if "DesiredWeight" in excluded else fleet.weight
    return replace(variant, count=count, weight=weight)


def _summary(kind: str, record: Record) -> dict[str, Any]:
    return {f"{kind}Name": record.name, f"{kind}Arn": record.arn, "CreationTime": record.created}


OPERATIONS: dict[str, Callable[[Region, dict[str, Any]], dict[str, Any]]] = {
    "CreateModel": Region.create_model,
    "DescribeModel": Region.describe_model,
    "ListModels": Region.list_models,
    "DeleteModel": Region.delete_model,
    "CreateEndpointConfig": Region.create_endpoint_config,
    "DescribeEndpointConfig": Region.describe_endpoint_config,
    "ListEndpointConfigs": Region.list_endpoint_configs,
    "DeleteEndpointConfig": Region.delete_endpoint_config,
    "CreateEndpoint": Region.create_endpoint,
    "DescribeEndpoint": Region.describe_endpoint,
    "ListEndpoints": Region.list_endpoints,
    "UpdateEndpoint": Region.update_endpoint,
    "UpdateEndpointWeightsAndCapacities": Region.update_endpoint_weights_and_capacities,
    "DeleteEndpoint": Region.delete_endpoint,
    "CreateTransformJob": Region.create_transform_job,
    "DescribeTransformJob": Region.describe_transform_job,
    "ListTransformJobs": Region.list_transform_jobs,
    "StopTransformJob": Region.stop_transform_job,
    "CreateProcessingJob": Region.create_processing_job,
    "DescribeProcessingJob": Region.describe_processing_job,
    "ListProcessingJobs": Region.list_processing_jobs,
    "StopProcessingJob": Region.stop_processing_job,
    "DeleteProcessingJob": Region.delete_processing_job,
    "AddTags": Region.add_tags,
    "ListTags": Region.list_tags,
    "DeleteTags": Region.delete_tags,
}


class ControlPlane:
    """Answers the JSON 1.1 requests of every region."""

    def __init__(self, workshop: Workshop, logs: Path, machine: Machine) -> None:
        self.regions: dict[str, Region] = {}
        self._workshop = workshop
        self._logs = logs
        self._machine = machine

    @property
    def clock(self) -> Clock:
        return self._workshop.clock

    def region(self, name: str) -> Region:
        if name not in self.regions:
            self.regions[name] = Region(name, self._workshop, self._logs, self._machine)
        return self.regions[name]

    def find_endpoint(self, region: str, name: str) -> Endpoint | None:
        return self.region(region).endpoints.get(name)

    def scales_to_zero(self, region: str, name: str, variant: str) -> bool | None:
        """Whether a variant may have no instance; None where there is no such variant."""
        endpoint = self.find_endpoint(region, name)
        if endpoint is None or variant not in endpoint.fleets:
            return None
        return endpoint.asynchronous

    def endpoints(self) -> list[Endpoint]:
        return [endpoint for region in self.regions.values() for endpoint in region.endpoints.values()]

    async def __call__(self, request: Request) -> Response:
        operation = protocol.operation_name(request, SERVICE)
        if operation not in OPERATIONS:
            raise protocol.unsupported_operation(SERVICE, operation, list(OPERATIONS))
        content = protocol.parse_input(request, SERVICE, operation)
        answer = OPERATIONS[operation](self.region(request.region), content)
        return json_response(200, answer, {"content-type": "application/x-amz-json-1.1"})
