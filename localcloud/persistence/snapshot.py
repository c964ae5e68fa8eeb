"""Hosting and scaling as one JSON file: written whenever they change, read at the next start.

A snapshot and no journal, since what they do by themselves (rollouts, scaling) changes them too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localcloud import emulation
from localcloud.asgi import Request, Response
from localcloud.autoscaling import metrics
from localcloud.autoscaling.decisions import Limits
from localcloud.autoscaling.registry import Action, Policy, Registry, Target, read_schedule
from localcloud.autoscaling.scaler import Scaler
from localcloud.errors import LocalCloudError
from localcloud.sagemaker.catalog import Catalog, Record
from localcloud.sagemaker.control import ControlPlane, Region
from localcloud.sagemaker.endpoint import Endpoint
from localcloud.sagemaker.fleet import Fleet, Variant

log = logging.getLogger(__name__)

FORMAT = 1
# Changes that come together are written once; what a client was answered is written before it is.
SETTLE_SECONDS = 0.05

Answering = Callable[[Request], Awaitable[Response]]


class Snapshot:
    """The file of one server. Owned by the event loop."""

    def __init__(self, path: Path, control: ControlPlane, scaler: Scaler) -> None:
        self._path = path
        self._control = control
        self._scaler = scaler
        self._written = ""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def restore(self) -> int:
        """Brings back what the file holds, and starts its endpoints; gives how many. Raises LocalCloudError."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["format"] != FORMAT:
                raise ValueError("it is of another version")
            for name, content in kept["regions"].items():
                _restore_hosting(self._control.region(name), content)
                _restore_scaling(self._scaler.registry(name), content["targets"], self._control.clock.now())
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LocalCloudError(
                f"{self._path}: the kept state cannot be read ({error}); to begin anew: slipway local start --fresh"
            ) from None
        return len(self._control.endpoints())

    def kept(self, handler: Answering) -> Answering:
        """A handler whose changes are written before the client has its answer."""

        async def answering(request: Request) -> Response:
            response = await handler(request)
            if not request.header("x-amz-target").rpartition(".")[2].startswith(("Describe", "List")):
                self.write()
            return response

        return answering

    def touch(self) -> None:
        """To be called at each change that is nobody's request."""
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self.write)

    def write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        regions = {
            name: _hosting(region) | {"targets": _scaling(self._scaler.registries.get(name))}
            for name, region in self._control.regions.items()
        }
        content = json.dumps({"format": FORMAT, "regions": regions}, separators=(",", ":"))
        if content == self._written:
            return
        scratch = self._path.with_suffix(".new")
        with scratch.open("w", encoding="ascii") as stream:
            scratch.chmod(0o600)
            stream.write(content)
        scratch.replace(self._path)
        self._written = content

    def close(self) -> None:
        """Writes a last time: what the end of the server does to endpoints is no change of theirs."""
        self.write()
        self._closed = True


def _hosting(region: Region) -> dict[str, Any]:
    catalog = region.catalog
    staying = [endpoint for endpoint in region.endpoints.values() if endpoint.status != "Deleting"]
    gone = {endpoint.arn for endpoint in region.endpoints.values()} - {endpoint.arn for endpoint in staying}
    return {
        "models": [asdict(record) for record in catalog.models.values()],
        "configs": [asdict(record) for record in catalog.configs.values()],
        "tags": {arn: tags for arn, tags in catalog.tags.items() if arn not in gone},
        "endpoints": [_endpoint(endpoint) for endpoint in staying],
        "transforms": [job.kept() for job in region.transforms.jobs.values()],
        "processing": [job.kept() for job in region.processing.jobs.values()],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    # An update that the server's end interrupts is one that was rolled back.
    interrupted = f"The update to {endpoint.pending.config.name} was interrupted." if endpoint.pending else None
    return {
        "name": endpoint.name,
        "config": asdict(endpoint.config),
        "created": endpoint.created,
        "deployment": endpoint.last_deployment,
        "failure": interrupted or endpoint.failure_reason,
        "variants": [_variant(endpoint, fleet) for fleet in endpoint.fleets.values()],
        "shadows": [_variant(endpoint, fleet) for fleet in endpoint.shadows.values()],
    }


def _variant(endpoint: Endpoint, fleet: Fleet) -> dict[str, Any]:
    thinned = endpoint.rollout.blue_counts if endpoint.rollout else {}
    count = thinned.get(fleet.variant.name, fleet.desired)
    return {**asdict(fleet.variant), "count": count, "weight": fleet.weight}


def _restore_hosting(region: Region, content: dict[str, Any]) -> None:
    catalog: Catalog = region.catalog
    catalog.models = {kept["name"]: Record(**kept) for kept in content["models"]}
    catalog.configs = {kept["name"]: Record(**kept) for kept in content["configs"]}
    catalog.tags = {arn: dict(tags) for arn, tags in content["tags"].items()}
    for kept in content.get("transforms", []):  # a snapshot of before there were any has none
        region.transforms.restore(kept)
    for kept in content.get("processing", []):
        region.processing.restore(kept)
    for kept in content["endpoints"]:
        endpoint = region.new_endpoint(kept["name"], Record(**kept["config"]))
        endpoint.created = kept["created"]
        endpoint.last_deployment = kept["deployment"]
        endpoint.failure_reason = kept["failure"]
        endpoint.create(
            [Variant(**variant) for variant in kept["variants"]], [Variant(**variant) for variant in kept["shadows"]]
        )


def _scaling(registry: Registry | None) -> list[dict[str, Any]]:
    targets = registry.targets.values() if registry else ()
    return [
        {
            "resource": target.resource,
            "limits": asdict(target.limits),
            "created": target.created,
            "suspended": target.suspended,
            "tags": target.tags,
            "policies": [
                {
                    "name": policy.name,
                    "arn": policy.arn,
                    "kind": policy.kind,
                    "config": policy.config,
                    "created": policy.created,
                    "alarms": policy.alarms,
                }
                for policy in target.policies.values()
            ],
            "actions": [
                {"name": action.name, "arn": action.arn, "request": action.request, "created": action.created}
                for action in target.actions.values()
            ],
        }
        for target in targets
    ]


def _restore_scaling(registry: Registry, targets: list[dict[str, Any]], now: float) -> None:
    for kept in targets:
        resource = kept["resource"]
        target = registry.new_target(resource, Limits(**kept["limits"]), kept["created"])
        target.suspended, target.tags = kept["suspended"], kept["tags"]
        for one in kept["policies"]:
            alarms = [(name, arn) for name, arn in one.pop("alarms")]
            policy = Policy(**one, resource=resource, alarms=alarms)
            target.policies[policy.name] = policy
            _restore_alarms(registry.region, target, policy)
        for one in kept["actions"]:
            action = Action(**one, resource=resource, schedule=read_schedule(one["request"]))
            action.plan(now)
            target.actions[action.name] = action
        registry.targets[resource] = target


def _restore_alarms(region: str, target: Target, policy: Policy) -> None:
    """The alarms of a target tracking policy are the server's own, so no request of the journal made them."""
    if policy.kind != "TargetTrackingScaling":
        return
    names = [name for name, _ in policy.alarms]
    for alarm, name in zip(metrics.alarms(target, policy.arn, policy.config), names, strict=True):
        emulation.put_alarm(region, {**alarm, "name": name})
