"""The provider's own configuration: read from the engine's JSON strings, and refused where it is not this machine's.

This is the one lock that keeps a local stack from ever reaching a real account: every endpoint is loopback, and a
service without an endpoint cannot be called.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from localcloud.provider.values import UNKNOWN

# boto3's name of each service that the resources use, and what `aws.Provider(endpoints=…)` may call it. Those that
# every program uses need an address from the start, the others where a resource of theirs is declared.
SERVICES: dict[str, tuple[str, ...]] = {
    "s3": ("s3", "s3api"),
    "iam": ("iam",),
    "sts": ("sts",),
    "sagemaker": ("sagemaker",),
    "application-autoscaling": ("applicationautoscaling", "appautoscaling"),
    "budgets": ("budgets",),
    "cloudwatch": ("cloudwatch",),
    "ecr": ("ecr",),
    "kms": ("kms",),
    "logs": ("logs", "cloudwatchlogs", "cloudwatchlog"),
    "sns": ("sns",),
}
ALWAYS = ("s3", "iam", "sts", "sagemaker", "application-autoscaling")
SETTINGS = {
    "accessKey",
    "defaultTags",
    "endpoints",
    "region",
    "s3UsePathStyle",
    "secretKey",
    "skipCredentialsValidation",
    "skipMetadataApiCheck",
    "skipRegionValidation",
    "skipRequestingAccountId",
    "token",
}
# Of the engine, not of the program.
ENGINE_SETTINGS = {"version", "pluginDownloadURL", "pluginChecksums", "parameterization"}

Failure = tuple[str, str]


@dataclass(frozen=True)
class Configuration:
    region: str
    endpoints: Mapping[str, str]
    access_key: str = "local"
    secret_key: str = field(default="local", repr=False)
    token: str | None = field(default=None, repr=False)
    path_style: bool = True
    default_tags: Mapping[str, str] = field(default_factory=dict)


def read_configuration(given: Mapping[str, Any]) -> tuple[Configuration | None, list[Failure]]:
    """(configuration, everything that is wrong); None while something is wrong."""
    settings: dict[str, Any] = {}
    failures: list[Failure] = []
    for key, value in given.items():
        if key in ENGINE_SETTINGS or key.startswith("__") or value is None:
            continue
        if key not in SETTINGS:
            known = ", ".join(sorted(SETTINGS))
            failures.append((key, f"{key}: is not a setting of the local aws provider; supported: {known}"))
            continue
        try:
            settings[key] = _decoded(value)
        except ValueError:
            failures.append((key, f"{key}: is not JSON: {value!r}"))
    endpoints = _endpoints(settings.get("endpoints"), failures)
    region = settings.get("region")
    if not isinstance(region, str) or not region:
        failures.append(("region", "region: is required; give it to aws.Provider(region=…)"))
    tags = (settings.get("defaultTags") or {}).get("tags") or {}
    if failures:
        return None, failures
    return (
        Configuration(
            region=str(region),
            endpoints=endpoints,
            access_key=str(settings.get("accessKey", "local")),
            secret_key=str(settings.get("secretKey", "local")),
            token=settings.get("token"),
            path_style=bool(settings.get("s3UsePathStyle", True)),
            default_tags={str(key): str(value) for key, value in tags.items()},
        ),
        [],
    )


def _decoded(value: Any) -> Any:
    """The SDK sends whatever is not text as JSON text."""
    if (isinstance(value, str) and value[:1] in ("[", "{", '"')) or value in ("true", "false"):
        return json.loads(value)
    return value


def _endpoints(given: Any, failures: list[Failure]) -> dict[str, str]:
    if given == UNKNOWN:
        failures.append(("endpoints", "endpoints: must be known before the update, not the output of a resource"))
        return {}
    urls: dict[str, str] = {}
    for entry in given if isinstance(given, list) else []:
        for name, url in (entry or {}).items():
            if url and isinstance(url, str):
                urls[name] = url
    for name, url in urls.items():
        problem = loopback_problem(url)
        if problem:
            failures.append(("endpoints", f"endpoints.{name}: {problem}"))
    found: dict[str, str] = {}
    for service, names in SERVICES.items():
        addresses = [urls[name] for name in names if name in urls]
        if addresses:
            found[service] = addresses[0]
        elif service in ALWAYS:
            failures.append(missing_endpoint(service))
    return found


def missing_endpoint(service: str) -> Failure:
    return (
        "endpoints",
        f"endpoints.{SERVICES[service][0]}: is missing; the local aws provider never talks to the real AWS, "
        "so every service needs the address of the local one",
    )


def loopback_problem(url: str) -> str:
    """Why this is no address on this machine; empty when it is one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"'{url}' is not an http address"
    host = parts.hostname
    if host == "localhost" or host.endswith(".localhost"):
        return ""
    try:
        if ipaddress.ip_address(host).is_loopback:
            return ""
    except ValueError:
        pass
    return f"'{url}' is not on this machine; the local aws provider accepts loopback addresses only"
