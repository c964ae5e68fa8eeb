"""What the status page shows, as one JSON document: endpoints, their traffic, what scaled and why, alarms.

Apart from the page, which only serves it: here it is gathered from those who know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud import emulation
from localcloud.autoscaling.registry import Registry
from localcloud.autoscaling.scaler import Scaler
from localcloud.clock import Clock
from localcloud.sagemaker import describing
from localcloud.sagemaker.asynchronous import AsyncInference
from localcloud.sagemaker.control import ControlPlane
from localcloud.sagemaker.endpoint import Endpoint

ACTIVITIES = 20
LOG_BYTES = 32_768


@dataclass(frozen=True)
class Status:
    about: dict[str, Any]
    clock: Clock
    control: ControlPlane
    scaler: Scaler
    asynchronous: AsyncInference

    def document(self) -> dict[str, Any]:
        endpoints = sorted((self._endpoint(one) for one in self.control.endpoints()), key=lambda one: str(one["name"]))
        return {
            "server": {**self.about, "clock": self.clock.now()},
            "endpoints": endpoints,
            "alarms": [
                {"region": region, "name": alarm.name, "state": alarm.state, "reason": alarm.reason}
                for region, alarm in emulation.alarms()
            ],
        }

    def _endpoint(self, endpoint: Endpoint) -> dict[str, Any]:
        registry = self.scaler.registries.get(endpoint.region)
        return {
            **describing.shown(endpoint),
            "backlog": self.asynchronous.backlog(endpoint) if endpoint.asynchronous else None,
            "scaling": _scaling(registry, endpoint) if registry else {"targets": [], "activities": []},
        }

    def log_of(self, replica: str) -> str | None:
        """The end of a replica's log; None where there is no such replica."""
        for endpoint in self.control.endpoints():
            for fleet in endpoint.running_fleets():
                for one in fleet.replicas:
                    if one.id == replica:
                        return _tail(one.log)
        return None


def _scaling(registry: Registry, endpoint: Endpoint) -> dict[str, Any]:
    targets = [target for target in registry.targets.values() if target.endpoint == endpoint.name]
    resources = {target.resource for target in targets}
    activities = [one for one in registry.activities if one.resource in resources][:ACTIVITIES]
    return {
        "targets": [
            {
                "variant": target.variant,
                "min": target.limits.least,
                "max": target.limits.most,
                "policies": sorted(target.policies),
                "actions": [{"name": one.name, "next": one.next} for one in target.actions.values()],
            }
            for target in targets
        ],
        "activities": [
            {
                "moment": one.start,
                "before": one.before,
                "after": one.after,
                "status": one.status,
                "what": one.description,
                "why": one.cause,
                "unscaled": [reason["Code"] for reason in one.reasons],
            }
            for one in activities
        ],
    }


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - LOG_BYTES))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
