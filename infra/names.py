"""What things are called, and how long AWS lets their names be. Pure.

Pulumi completes most names with a hyphen and seven random characters, so that a replacement can stand beside what
it replaces; only an endpoint keeps its name, since clients know it.
"""

from __future__ import annotations

from model_build.deployment import MAIN_VARIANT

MODEL_LIMIT = 40  # model_build.manifest.Name
ENDPOINT_LIMIT = 63
BUCKET_LIMIT = 63
ROLE_LIMIT = 64
SUFFIX = 8
JOB_LIMIT = 63
JOB_SUFFIX = len("-yymmddhhmmss-xxx")
STACK_LIMIT = ENDPOINT_LIMIT - MODEL_LIMIT - len("-")

VARIANT = MAIN_VARIANT


def endpoint(model: str, stack: str) -> str:
    return f"{model}-{stack}"


def stem(model: str, stack: str, limit: int = ENDPOINT_LIMIT) -> str:
    """The part before the random suffix, cut so that both fit into `limit` characters."""
    return f"{model}-{stack}"[: limit - SUFFIX].rstrip("-")


def role_path(stack: str) -> str:
    """A folder of roles, so that the deploying role's permission can be narrowed to it."""
    return f"/slipway/{stack}/"


def artifact_key(model: str, sha256: str) -> str:
    return f"{model}/{sha256}.tar.gz"


def log_group(endpoint_name: str) -> str:
    return f"/aws/sagemaker/Endpoints/{endpoint_name}"


def scalable_resource(endpoint_name: str) -> str:
    return f"endpoint/{endpoint_name}/variant/{VARIANT}"


def scheduled(endpoint_name: str, index: int) -> str:
    return f"{endpoint_name}-schedule-{index}"


def asynchronous(model: str, part: str) -> str:
    """Prefix of an asynchronous endpoint's `input`, `output` or `error` objects in the stack's bucket."""
    return f"async/{model}/{part}/"


def batch(model: str) -> str:
    """Prefix of what batch transform jobs read and write in the stack's bucket."""
    return f"batch/{model}/"


def batch_jobs(model: str, stack: str) -> str:
    """How the names of a model's batch transform jobs begin; a hyphen, the time and three characters follow."""
    return f"{model}-{stack}"[: JOB_LIMIT - JOB_SUFFIX].rstrip("-")


def captured(model: str) -> str:
    """Prefix of captured requests and answers in the stack's bucket."""
    return f"capture/{model}/"
