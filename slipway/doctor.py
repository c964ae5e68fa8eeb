"""What must hold before anything is deployed, looked at one thing after the other: this machine, then the account.

Nothing is changed, here or there. Each check gives findings; what needs another one's result says so by its parameters.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_build.errors import UserError
from model_build.manifest import ManifestError, read_manifest, verify
from slipway import stacks
from slipway.local import STACK, Local, mendable
from slipway.stacks import StackFile

if TYPE_CHECKING:
    from model_build.manifest import Manifest

State = Literal["good", "warning", "problem", "skipped"]

DISK_GB = 8
"""Room that an environment, the engine's build and a few models take."""
CLOCK_SECONDS = 240
"""AWS refuses signatures that are five minutes off."""


@dataclass(frozen=True)
class Finding:
    check: str
    state: State
    detail: str
    next_step: str = ""

    def as_json(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if value}


def examine(root: Path, environment: str, clients: Any = None) -> Iterator[Finding]:
    """Every check of an environment. `clients(service, region)` gives boto3 clients; boto3's own, if None."""
    yield from machine(root)
    yield from engine()
    models = yield from built(root, environment)
    if environment == STACK:
        yield from local_cloud(root)
        return
    yield from detached()
    stack = yield from configuration(root, environment)
    if stack is None:
        yield Finding("account", "skipped", f"not looked at: Pulumi.{environment}.yaml comes first")
        return
    make = clients or _boto3
    account = yield from credentials(stack, make)
    if account is None:
        yield Finding("quotas and images", "skipped", "not looked at: credentials come first")
        return
    yield from quotas(models, stack, make)
    yield from images(models, stack, make)


# This machine


def machine(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free / 1e9
    if free < DISK_GB:
        yield Finding("disk", "warning", f"{free:.1f} GB free below {root}", f"make room: {DISK_GB} GB are comfortable")
    else:
        yield Finding("disk", "good", f"{free:.0f} GB free")
    cores = len(os.sched_getaffinity(0))
    yield Finding("cores", "good", f"{cores}, which `slipway build` uses for {cores} models at once")


def engine() -> Iterator[Finding]:
    from toolchain.engine import find

    try:
        with mendable():
            found = find()
    except UserError as error:
        yield Finding("Pulumi engine", "problem", error.message, error.next_step or "")
        return
    if found is None:
        yield Finding("Pulumi engine", "problem", "none is at hand", "get it: slipway setup")
    else:
        yield Finding("Pulumi engine", "good", f"{found.version}, {found.pulumi}")


def built(root: Path, environment: str) -> Generator[Finding, None, dict[str, Manifest]]:
    """The models that would be deployed, as the generator's value: name → manifest."""
    models: dict[str, Manifest] = {}
    specs = sorted(path.stem for path in (root / "specs").glob("*.yaml"))
    if not specs:
        yield Finding("models", "problem", "there are no specs", "write one: slipway init NAME")
    for name in specs:
        directory = root / "build" / name
        try:
            manifest = read_manifest(directory / "manifest.json")
        except ManifestError as error:
            yield Finding(f"model {name}", "problem", *_said(str(error)))
            continue
        models[name] = manifest
        problems = verify(manifest, directory, root)
        if problems:
            yield Finding(f"model {name}", "problem", *_said(problems[0]))
        elif not all(gate.passed for gate in manifest.gates):
            yield Finding(f"model {name}", "problem", "it missed a gate", f"read build/{name}/report.md")
        else:
            instance = manifest.deployment(environment).instance
            yield Finding(f"model {name}", "good", f"built, {manifest.artifact.bytes / 1e6:.1f} MB, for {instance}")
    return models


def local_cloud(root: Path) -> Iterator[Finding]:
    server = Local(root).server()
    if server is None:
        yield Finding("local AWS", "warning", "it is not running", "start everything: slipway up")
    else:
        yield Finding("local AWS", "good", f"process {server.pid}, {server.endpoint}")


# The account


def detached() -> Iterator[Finding]:
    """A shell that still points at the local AWS would be refused later by the program."""
    url = os.environ.get("AWS_ENDPOINT_URL", "")
    if url:
        yield Finding(
            "environment",
            "problem",
            f"AWS_ENDPOINT_URL is {url}: AWS's clients are sent there",
            "unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, or open a new shell",
        )


def configuration(root: Path, environment: str) -> Generator[Finding, None, StackFile | None]:
    """The stack's settings, as the generator's value; None where something is missing."""
    path = root / f"Pulumi.{environment}.yaml"
    if not path.is_file():
        yield Finding("stack", "problem", f"there is no {path.name}", f"pulumi stack init {environment}")
        return None
    try:
        stack = stacks.read(root, environment)
    except UserError as error:
        yield Finding("stack", "problem", error.message, error.next_step or "")
        return None
    missing = [
        Finding(
            "stack", "problem", f"{path.name}: {key} is {said}", f"pulumi config set {key} {example} -s {environment}"
        )
        for key, pattern, value, example in (
            ("slipway:region", r"[a-z]{2,4}(-[a-z]+)+-\d", stack.region, "eu-central-1"),
            ("slipway:account", r"\d{12}", stack.account, "123456789012"),
        )
        if not re.fullmatch(pattern, value)
        for said in [f"'{value}', which cannot be" if value else "not set"]
    ]
    yield from missing
    if missing:
        return None
    yield Finding("stack", "good", f"account {stack.account}, {stack.region}")
    yield from _backend(environment)
    yield from _served(stack.region)
    return stack


def _backend(environment: str) -> Iterator[Finding]:
    """Whether Pulumi knows where its state lies."""
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        yield Finding("state", "skipped", "no `pulumi` on PATH to ask where its state lies")
        return
    done = subprocess.run(
        [pulumi, "whoami", "--verbose", "--non-interactive"],
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    url = re.search(r"Backend URL:\s*(\S+)", done.stdout)
    if done.returncode != 0 or url is None:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        yield Finding(
            "state", "problem", f"`pulumi whoami` failed: {last}", "pulumi login, or pulumi login s3://BUCKET"
        )
    elif url[1].startswith("file://"):
        yield Finding(
            "state",
            "warning",
            f"the state lies on this machine, {url[1]}: others cannot see it, and it is lost with the disk",
            "keep it where the team shares it: pulumi login s3://BUCKET",
        )
    else:
        yield Finding("state", "good", url[1])


def _served(region: str) -> Iterator[Finding]:
    """By boto3's own table of regions: no request is made."""
    import boto3

    session = boto3.Session()
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("sagemaker", partition)
    ]
    if region not in known:
        yield Finding(
            "region",
            "warning",
            f"boto3 {boto3.__version__} knows no SageMaker in {region}",
            "is the region's name right?",
        )
    else:
        yield Finding("region", "good", f"{region} has SageMaker")


def credentials(stack: StackFile, clients: Any) -> Generator[Finding, None, str | None]:
    """The account of the caller, as the generator's value; None where there is none, or another's."""
    from botocore.exceptions import BotoCoreError, ClientError

    login = "log in: aws sso login, or set AWS_PROFILE"
    try:
        answer = clients("sts", stack.region).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        yield Finding("credentials", "problem", f"AWS does not know the caller: {error}", login)
        return None
    yield from _clock(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    account = str(answer["Account"])
    if account != stack.account:
        yield Finding(
            "credentials",
            "problem",
            f"they are of account {account}, but the stack '{stack.name}' lives in {stack.account}",
            "take the other account's profile: AWS_PROFILE",
        )
        return None
    role = str(answer["Arn"]).rpartition(":")[2]
    yield Finding("credentials", "good", role)
    return account


def _clock(headers: Mapping[str, str]) -> Iterator[Finding]:
    said = headers.get("date")
    if not said:
        return
    behind = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
    if abs(behind) > CLOCK_SECONDS:
        yield Finding(
            "clock",
            "problem",
            f"this machine's clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} AWS's, which "
            "refuses signatures that are five minutes off",
            "set the clock: timedatectl set-ntp true",
        )
    else:
        yield Finding("clock", "good", "agrees with AWS's")


def quotas(models: Mapping[str, Manifest], stack: StackFile, clients: Any) -> Iterator[Finding]:
    """Instances that all models may need at once, twice where an update runs old and new side by side."""
    from botocore.exceptions import BotoCoreError, ClientError

    needed = _instances(models, stack.name)
    if not needed:
        return
    try:
        pages = clients("service-quotas", stack.region).get_paginator("list_service_quotas")
        allowed = {
            quota["QuotaName"].removesuffix(" for endpoint usage"): quota
            for page in pages.paginate(ServiceCode="sagemaker")
            for quota in page["Quotas"]
            if quota["QuotaName"].endswith(" for endpoint usage")
        }
    except (BotoCoreError, ClientError) as error:
        yield Finding(
            "quotas", "skipped", f"cannot be read: {error}", "allow servicequotas:ListServiceQuotas to see them"
        )
        return
    for instance, count in sorted(needed.items()):
        quota = allowed.get(instance)
        if quota is None:
            yield Finding(
                f"quota {instance}",
                "problem",
                f"the region offers no {instance} for endpoints",
                "name another instance",
            )
            continue
        value, code = int(quota["Value"]), quota["QuotaCode"]
        ask = (
            f"aws service-quotas request-service-quota-increase --service-code sagemaker --quota-code {code} "
            f"--desired-value {2 * count} --region {stack.region}"
        )
        if value < count:
            yield Finding(f"quota {instance}", "problem", f"{value}, but the models may need {count}", ask)
        elif value < 2 * count:
            yield Finding(
                f"quota {instance}",
                "warning",
                f"{value}: enough for {count}, but not for a blue/green update at full size, which runs them twice",
                ask,
            )
        else:
            yield Finding(f"quota {instance}", "good", f"{value}; the models may need {count}")


def _instances(models: Mapping[str, Manifest], environment: str) -> Counter[str]:
    needed: Counter[str] = Counter()
    for manifest in models.values():
        deploy = manifest.deployment(environment)
        if deploy.endpoint != "serverless":
            needed[deploy.instance] += deploy.instances.max
    return needed


def images(models: Mapping[str, Manifest], stack: StackFile, clients: Any) -> Iterator[Finding]:
    """Whether each image is there for this caller. The execution roles get the same permission by the program."""
    from botocore.exceptions import BotoCoreError, ClientError

    from infra.images import OWN, image_uri, repository

    wanted = sorted({manifest.deployment(stack.name).image for manifest in models.values()} - {OWN})
    for image in wanted:
        try:
            uri = image_uri(image, stack.region)
            source = repository(uri)
        except ValueError as error:
            yield Finding("image", "problem", str(error), "mend deploy.image in the spec")
            continue
        digest = re.search(r"@(sha256:[0-9a-f]{64})$", uri)
        tag = uri.partition(f"/{source.name}")[2].partition("@")[0].removeprefix(":")
        try:
            answer = clients("ecr", source.region).batch_get_image(
                registryId=source.account,
                repositoryName=source.name,
                imageIds=[{"imageDigest": digest[1]} if digest else {"imageTag": tag or "latest"}],
            )
        except (BotoCoreError, ClientError) as error:
            yield Finding("image", "problem", f"{uri}: {error}", "allow ecr:BatchGetImage, or mend deploy.image")
            continue
        if answer["images"]:
            yield Finding("image", "good", uri)
        else:
            reason = answer["failures"][0].get("failureReason", "") if answer["failures"] else "it is not there"
            yield Finding("image", "problem", f"{uri}: {reason}", "mend deploy.image in the spec")


def _boto3(service: str, region: str) -> Any:
    import boto3

    make: Any = boto3.client  # its stubs know service names as literals only
    return make(service, region_name=region)


def _said(problem: str) -> tuple[str, str]:
    """A problem of the manifest's kind, `…; run: COMMAND`, as detail and next step."""
    detail, _, mend = problem.rpartition("; run: ")
    return (detail, mend) if detail else (problem, "")


def worst(findings: Sequence[Finding]) -> State:
    order: tuple[State, ...] = ("problem", "warning", "skipped", "good")
    return min((finding.state for finding in findings), key=order.index, default="good")
