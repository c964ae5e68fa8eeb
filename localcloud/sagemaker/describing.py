"""What is told of an endpoint: DescribeEndpoint's answer, and what the status page shows.

Apart from the endpoint, which does the work: here it is only read.
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet
from localcloud.sagemaker.replica import Replica
from localcloud.sagemaker.traffic import healthy


def described(endpoint: Endpoint) -> dict[str, Any]:
    """DescribeEndpoint's answer."""
    answer: dict[str, Any] = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.config.name,
        "ProductionVariants": [_variant_summary(endpoint, fleet) for fleet in endpoint.fleets.values()],
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }
    if endpoint.failure_reason:
        answer["FailureReason"] = endpoint.failure_reason
    if endpoint.last_deployment:
        answer["LastDeploymentConfig"] = endpoint.last_deployment
    if endpoint.shadows:
        answer["ShadowProductionVariants"] = [_variant_summary(endpoint, fleet) for fleet in endpoint.shadows.values()]
    if endpoint.asynchronous:
        answer["AsyncInferenceConfig"] = endpoint.config.request["AsyncInferenceConfig"]
    if endpoint.capture is not None:
        answer["DataCaptureConfig"] = endpoint.capture.described()
    if endpoint.pending:
        green = endpoint.pending.fleets.values()
        answer["PendingDeploymentSummary"] = {
            "EndpointConfigName": endpoint.pending.config.name,
            "ProductionVariants": [_variant_summary(endpoint, fleet, staged=True) for fleet in green],
            "StartTime": endpoint.rollout.since if endpoint.rollout else endpoint.modified,
        }
    return answer


def _variant_summary(endpoint: Endpoint, fleet: Fleet, *, staged: bool = False) -> dict[str, Any]:
    image = fleet.variant.container["Image"]
    moved = endpoint.rollout.shares.get(fleet.variant.name, 0.0) if endpoint.rollout else 0.0
    share = moved if staged else 1.0 - moved if endpoint.pending else 1.0
    serverless = dict(fleet.variant.serverless)
    summary: dict[str, Any] = {
        "VariantName": fleet.variant.name,
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image}],
        "CurrentWeight": fleet.weight * share if fleet.healthy or serverless else 0.0,
        "DesiredWeight": fleet.weight,
    }
    if serverless:
        summary |= {"CurrentServerlessConfig": serverless, "DesiredServerlessConfig": serverless}
    else:
        summary["CurrentInstanceCount"] = len(fleet.healthy)
        summary["DesiredInstanceCount"] = fleet.variant.count if staged else fleet.desired
    if staged and endpoint.stage is not None:
        stage, what, since = endpoint.stage
        summary["VariantStatus"] = [{"Status": stage, "StatusMessage": what, "StartTime": since}]
    return summary


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """What the status page shows."""
    return {
        "name": endpoint.name,
        "region": endpoint.region,
        "status": endpoint.status,
        "failure_reason": endpoint.failure_reason,
        "config": endpoint.config.name,
        "invocations": endpoint.invocations,
        "errors": endpoint.errors,
        "logs": str(endpoint.logs),
        "healthy": healthy(endpoint.fleets.values()),
        "traffic": endpoint.traffic.shown(),
        "stage": endpoint.stage[1] if endpoint.stage else None,
        "events": [[moment, what] for moment, what in list(endpoint.events)[-30:]],
        "variants": [_shown_fleet(endpoint, fleet) for fleet in endpoint.running_fleets()],
    }


def _shown_fleet(endpoint: Endpoint, fleet: Fleet) -> dict[str, Any]:
    return {
        "name": fleet.variant.name,
        "model": fleet.variant.model,
        "config": fleet.config,
        "weight": fleet.weight,
        "traffic": endpoint.route.part(fleet),
        "desired": fleet.desired,
        "restarts": fleet.restarts,
        "throttles": fleet.throttles,
        "shadow": fleet in endpoint.shadows.values(),
        "replicas": [_shown_replica(replica) for replica in fleet.replicas],
    }


def _shown_replica(replica: Replica) -> dict[str, Any]:
    return {
        "id": replica.id,
        "pid": replica.pid,
        "port": replica.port,
        "state": replica.state,
        "outstanding": replica.outstanding,
        "log": str(replica.log),
    }
