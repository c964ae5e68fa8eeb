"""Inference images: from a spec's `repository:tag` to the URI that SageMaker pulls. Pure.

AWS publishes its Deep Learning Containers from one account, and from others in regions opened later; the table is
that of the `sagemaker` package (2.257.7, `image_uri_config/`), without the isolated regions.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_ACCOUNT = "763104351884"
ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}
ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<repository>[a-z0-9][a-z0-9._/-]*?)(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?"
)


class Repository(NamedTuple):
    account: str
    region: str
    name: str


def partition(region: str) -> str:
    """The partition that a region belongs to: the second part of every ARN there."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def image_uri(image: str, region: str) -> str:
    """A whole URI is passed as is; `repository:tag` becomes AWS's own image in `region`."""
    registry = image.partition("/")[0]
    if "/" in image and ("." in registry or ":" in registry):
        return image
    domain = "amazonaws.com.cn" if partition(region) == "aws-cn" else "amazonaws.com"
    return f"{ACCOUNTS.get(region, DEFAULT_ACCOUNT)}.dkr.ecr.{region}.{domain}/{image}"


def repository(uri: str) -> Repository:
    """The ECR repository that a URI names. Raises ValueError for another registry, from which SageMaker cannot pull."""
    match = ECR.fullmatch(uri)
    if match is None:
        raise ValueError(f"'{uri}' is not in Amazon ECR, and SageMaker pulls from there alone")
    return Repository(match["account"], match["region"], match["repository"])
