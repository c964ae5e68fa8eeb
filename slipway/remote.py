"""A build on SageMaker: its tree up, a job that runs the same build, its lines here as they come, its results back.

    checkout → tree by digest → store → job (tree → `slipway build` → store) → build/NAME/ and nodes here

The store is a shared cache like any other: nodes, publications and the contents of the tree lie in it by their keys and
digests, so nothing is sent twice, by anyone.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from infra import remote_builds
from infra.bootstrap.permissions import BUILD_LOGS
from infra.images import image_uri
from infra.remote_builds import RemoteBuilds
from model_build.build import FOLDER, Outcome
from model_build.cache import Cache
from model_build.errors import SpecError, UserError
from model_build.inputs import LIBRARIES, versions
from model_build.manifest import Manifest
from model_build.shared_cache import SharedCache
from model_build.spec import Spec
from slipway import environments, publication, remote_request, remote_tree, remote_watch, stacks
from slipway import stores as opening
from slipway.console import Console
from slipway.remote_build import RESULT
from slipway.remote_tree import Tree
from stores.store import NoBucket, Store, StoreError

LOCAL_STORE = "s3://slipway-builds"
LOCAL_ROLE = "slipway-build-job"
PROGRAM = Path(__file__).with_name(remote_request.PROGRAM)
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class Job:
    """A remote build that could start: everything is known but whether the cloud lets it."""

    name: str
    names: tuple[str, ...]
    """Of specs, as paths from the project's folder."""
    builds: RemoteBuilds
    tree: Tree
    store: str
    region: str
    request: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """What the program in the job reads."""
        instance = self.request["ProcessingResources"]["ClusterConfig"]["InstanceType"]
        return {
            "format": 1,
            "names": self.names,
            "store": self.store,
            "folder": remote_request.folder(self.name),
            "isolated": self.builds.isolated,
            "python": platform.python_version(),
            "machine": f"SageMaker job {self.name}, {instance}",
            "requirements": remote_tree.requirements(self.tree.files),
            "files": remote_tree.listing(self.tree),
        }


def plan(root: Path, environment: str, names: Sequence[str], given: Mapping[str, str]) -> Job:
    """The job of a build. Asks no cloud. Raises UserError for specs and settings that cannot be used."""
    from model_build import loading

    root = root.resolve()
    local = environments.is_local(root, environment)
    stack = stacks.read(root, environment)
    builds = _settings(stack, given, local)
    url = builds.store
    if not url or not builds.role:
        lacking = " and ".join(key for key, value in (("store", url), ("role", builds.role)) if not value)
        raise UserError(
            f"Pulumi.{environment}.yaml does not say under slipway:builds what remote builds use: {lacking}",
            "docs/remote.md shows the settings and the role; or give --set role=ARN --set store=s3://BUCKET/PREFIX",
        )
    specs, problems = loading.load_all(map(str, loading.find(names, root)), root)
    if problems:
        raise SpecError([str(problem) for problem in problems])
    region = stack.region or "us-east-1"
    try:
        image = image_uri(builds.image, region)
    except ValueError as error:
        raise UserError(str(error), "give slipway:builds an image") from None
    job = remote_request.job_name([spec.name for spec in specs.values()])
    request = remote_request.request(
        job,
        builds,
        store=url,
        image=image,
        instance=builds.instance or _common_instance(specs.values()),
        region=region,
        tags={**stack.tags, "slipway:build": job},
    )
    paths = tuple(path.resolve().relative_to(root).as_posix() for path in specs)
    return Job(job, paths, builds, remote_tree.gather(root, specs), url, region, request)


def _settings(stack: stacks.StackFile, given: Mapping[str, str], local: bool) -> RemoteBuilds:
    values: dict[str, Any] = {**stack.builds, **{key: yaml.safe_load(text) for key, text in given.items()}}
    if local:
        role = f"arn:aws:iam::123456789012:role/{LOCAL_ROLE}"
        values = {"store": LOCAL_STORE, "role": role, **values}
    try:
        builds = RemoteBuilds.model_validate(values)
    except ValidationError as error:
        wrong = [remote_builds.described(dict(detail)) for detail in error.errors()]
    else:
        wrong = remote_builds.problems(builds)
        if not wrong:
            return builds
    raise UserError(
        "\n".join(f"slipway:builds: {line}" for line in wrong), f"known: {', '.join(RemoteBuilds.model_fields)}"
    )


def _common_instance(specs: Any) -> str:
    """The instance type that all models are deployed on, so that they are measured where they serve."""
    instances = Counter(spec.deploy.instance for spec in specs if isinstance(spec, Spec))
    (most, count), *_ = instances.most_common(1)
    return most if count == instances.total() else remote_builds.FALLBACK_INSTANCE


def build(root: Path, environment: str, job: Job, console: Console) -> list[Outcome]:
    """Runs a planned job to its end. Raises UserError with what it said, KeyboardInterrupt once it is stopped."""
    started = time.monotonic()
    with _cloud(root, environment, job, console) as client:
        store = opening.opened(job.store)
        with _reached():
            _send(job, store, console)
        _start(client("sagemaker"), job, console)
        description = _watched(client("sagemaker"), client("logs"), job, console)
        manifests = _bring_back(root, job, store, description, console)
    seconds = time.monotonic() - started
    return [Outcome(root / FOLDER / one.name, one, built=True, seconds=seconds) for one in manifests]


@contextmanager
def _cloud(root: Path, environment: str, job: Job, console: Console) -> Iterator[Any]:
    """Makes clients of the environment's cloud. In the local one it has what it needs, bucket and role, made."""
    import boto3
    from botocore.config import Config

    make: Any = boto3.client
    # A job is watched for hours: a moment without an answer must not end that.
    patient = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
    if not environments.is_local(root, environment):
        yield lambda service: make(service, region_name=job.region, config=patient)
        return
    from slipway.local import CREDENTIALS, Local

    variables = CREDENTIALS | {"AWS_ENDPOINT_URL": Local(root).endpoint(), "AWS_DEFAULT_REGION": job.region}
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    # The store opens its own client, as it does on AWS.
    os.environ.update(variables)
    try:
        _prepare(job, console)
        yield make
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


def _prepare(job: Job, console: Console) -> None:
    import boto3

    iam, s3 = boto3.client("iam"), boto3.client("s3")
    role = str(job.builds.role).rpartition("/")[2]
    try:
        iam.get_role(RoleName=role)
    except iam.exceptions.NoSuchEntityException:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
        console.note(f"made the role {role} in the local AWS")
    bucket = job.store.removeprefix("s3://").partition("/")[0]
    if bucket not in {found["Name"] for found in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=bucket)
        console.note(f"made the bucket {bucket} in the local AWS")


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except NoBucket as error:
        raise UserError(str(error), "make the bucket, in the stack's region (docs/remote.md)") from None
    except StoreError as error:
        raise UserError(str(error), publication.GO_ON) from None


def _send(job: Job, store: Store, console: Console) -> None:
    with console.step("send the tree"):
        absent = remote_tree.missing(job.tree, store)
        remote_tree.upload(absent, store)
        size = sum(file.size for file in absent)
        console.note(
            f"{len(job.tree.files)} files, {job.tree.size / 1e6:.1f} MB; {len(absent)} new, {size / 1e6:.1f} MB"
        )
        folder = remote_request.folder(job.name)
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in (
                ("input/job.json", json.dumps(job.told())),
                ("tree.manifest", json.dumps(remote_tree.manifest(job.tree, job.store))),
            ):
                path = Path(scratch, "file")
                path.write_text(text, encoding="utf-8")
                store.put(f"{folder}/{name}", path)
        store.put(f"{folder}/input/{PROGRAM.name}", PROGRAM)


def _start(sagemaker: Any, job: Job, console: Console) -> None:
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        sagemaker.create_processing_job(**job.request)
    except ParamValidationError as error:
        raise UserError(f"the job was not started: {error}", "mend slipway:builds, or what --set gives") from None
    except (ClientError, BotoCoreError) as error:
        raise UserError(
            f"the job was not started: {error}", "docs/remote.md says what it may need: permissions, a quota"
        ) from None
    console.note(f"job {job.name}")


def _watched(sagemaker: Any, logs: Any, job: Job, console: Console) -> dict[str, Any]:
    """The job's description at its end; an interrupted watch stops it, as nobody would see what it costs."""
    from botocore.exceptions import BotoCoreError, ClientError

    with console.step(f"build on {job.request['ProcessingResources']['ClusterConfig']['InstanceType']}"):
        try:
            return remote_watch.follow(sagemaker, logs, job.name, lambda line: console.note(f"│ {line}"), console.note)
        except KeyboardInterrupt:
            _stop(sagemaker, job.name, console)
            raise
        except (ClientError, BotoCoreError) as error:
            raise UserError(
                f"job {job.name} cannot be watched any more, and may run on: {error}",
                f"stop it: aws sagemaker stop-processing-job --processing-job-name {job.name}; or build again when it "
                "has ended: what it made is in the store",
            ) from None


def _stop(sagemaker: Any, job: str, console: Console) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        sagemaker.stop_processing_job(ProcessingJobName=job)
    except (ClientError, BotoCoreError) as error:
        console.note(f"job {job} could not be stopped, and may run on: {error}")
    else:
        console.note(f"job {job} is being stopped; what it has made is in the store, where the next build finds it")


def _bring_back(root: Path, job: Job, store: Store, description: Mapping[str, Any], console: Console) -> list[Manifest]:
    result = _result(job, store)
    with console.step("bring back"):
        manifests = [
            publication.restore(root, name, job.store, digest, console)
            for name, digest in result.get("manifests", {}).items()
        ]
        cache = Cache(root / FOLDER / ".cache" / "nodes", SharedCache(store, console), console)
        nodes = sum(cache.find(key) is not None for key in result.get("nodes", ()))
        console.note(f"{len(manifests)} models, {nodes} nodes")
    _tell_differences(result, console)
    status = description["ProcessingJobStatus"]
    if status == "Completed" and result:
        return manifests
    said = [one["message"] for one in result.get("failures", ())] or [
        description.get("ExitMessage") or description.get("FailureReason") or "it gave no result"
    ]
    steps = {one["next_step"] for one in result.get("failures", ()) if one["next_step"]}
    raise UserError(
        f"job {job.name} {status.lower()}: " + "\n\n".join(said),
        "; ".join(sorted(steps)) or f"read its lines above, in CloudWatch Logs {BUILD_LOGS}/{job.name}",
    )


def _result(job: Job, store: Store) -> dict[str, Any]:
    """What the job says of itself; nothing where it did not get that far."""
    with tempfile.TemporaryDirectory() as scratch, _reached():
        path = Path(scratch, RESULT)
        if not store.get(f"{remote_request.folder(job.name)}/{RESULT}", path):
            return {}
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content


def _tell_differences(result: Mapping[str, Any], console: Console) -> None:
    """What keeps builds here from taking the job's results for their own."""
    here = {"Python": platform.python_version(), "machine": platform.machine(), **versions(LIBRARIES)}
    there = {"Python": result.get("python"), "machine": result.get("machine"), **result.get("versions", {})}
    other = [
        f"{name} {there[name]} (here {value})" for name, value in here.items() if there.get(name) not in (None, value)
    ]
    if other:
        console.note(f"built with {', '.join(other)}: the next build here is made anew")
