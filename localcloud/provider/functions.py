"""The functions (`aws.get_…`) that are served, and what they answer."""

from __future__ import annotations

from collections.abc import Callable

from localcloud.provider.cloud import Cloud
from localcloud.provider.errors import ProviderError, aws_error
from localcloud.provider.values import Values


def _caller_identity(cloud: Cloud, _arguments: Values) -> Values:
    answer = cloud.client("sts").get_caller_identity()
    account = answer["Account"]
    return {"accountId": account, "arn": answer["Arn"], "id": account, "userId": answer["UserId"]}


def _region(cloud: Cloud, arguments: Values) -> Values:
    for key in ("region", "name", "id"):
        if arguments.get(key, cloud.region) != cloud.region:
            raise ProviderError(f"{key}: this provider's region is '{cloud.region}'; no other exists locally")
    if "endpoint" in arguments:
        raise ProviderError("endpoint: is not implemented by the local provider; ask by region")
    name = cloud.region
    return {
        "description": name,
        "endpoint": f"ec2.{name}.{cloud.dns_suffix}",
        "id": name,
        "name": name,
        "region": name,
    }


def _partition(cloud: Cloud, _arguments: Values) -> Values:
    return {
        "dnsSuffix": cloud.dns_suffix,
        "id": cloud.partition,
        "partition": cloud.partition,
        "reverseDnsPrefix": ".".join(reversed(cloud.dns_suffix.split("."))),
    }


FUNCTIONS: dict[str, Callable[[Cloud, Values], Values]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
}


def invoke(cloud: Cloud, token: str, arguments: Values) -> Values:
    """Raises ProviderError."""
    from botocore.exceptions import BotoCoreError, ClientError

    if token not in FUNCTIONS:
        raise ProviderError(
            f"{token}: this function is not implemented by the local provider; supported: {', '.join(FUNCTIONS)}"
        )
    try:
        return FUNCTIONS[token](cloud, arguments)
    except (ClientError, BotoCoreError) as error:
        raise aws_error(f"calling {token}", error) from None
