"""A small Pulumi project that uses every resource type of the local provider, on the real engine and a local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud_rig import Cloud, fake_model, running

from localcloud.provider.install import install
from toolchain.engine import Engine
from toolchain.environment import variables

REGION = "us-east-1"  # the rig's clients'
ENDPOINT = "iris-local"
SETTINGS: dict[str, Any] = {
    "artifact": "model.tar.gz",
    "bucket_tags": {"team": "ml"},
    "days": 30,
    "default_tags": {"stack": "local"},
    "description": "runs iris",
    "environment": {"MODE": "a"},
    "max": 3,
    "sid": "TlsOnly",
    "target": 600,
}

PROGRAM = """
    import hashlib, json, pathlib
    import pulumi
    import pulumi_aws as aws

    root = pathlib.Path(pulumi.get_root_directory())
    wanted = json.loads((root / "settings.json").read_text())
    services = (
        "applicationautoscaling", "budgets", "cloudwatch", "ecr", "iam", "kms", "logs", "s3", "sagemaker", "sns", "sts"
    )
    provider = aws.Provider(
        "aws",
        region=wanted["region"],
        default_tags={"tags": wanted["default_tags"]},
        endpoints=[dict.fromkeys(services, wanted["url"])],
        opts=pulumi.ResourceOptions(version="0.0.1"),
    )

    def options(**more):
        return pulumi.ResourceOptions(provider=provider, **more)

    EXTRA
"""

EVERYTHING = """
    def document(*statements):
        return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})

    bucket = aws.s3.Bucket("Artifacts", force_destroy=True, tags=wanted["bucket_tags"], opts=options())
    block = aws.s3.BucketPublicAccessBlock("block", bucket=bucket.bucket, block_public_acls=True, opts=options())
    aws.s3.BucketOwnershipControls(
        "owner", bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=options()
    )
    aws.s3.BucketPolicy(
        "policy",
        bucket=bucket.bucket,
        policy=bucket.arn.apply(lambda arn: document({
            "Sid": wanted["sid"], "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, arn + "/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        })),
        opts=options(depends_on=[block]),
    )
    aws.s3.BucketServerSideEncryptionConfiguration(
        "encryption",
        bucket=bucket.bucket,
        rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}, "bucket_key_enabled": True}],
        opts=options(),
    )
    versions = aws.s3.BucketVersioning(
        "versions", bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=options()
    )
    aws.s3.BucketLifecycleConfiguration(
        "lifecycle",
        bucket=bucket.bucket,
        rules=[
            {"id": "uploads", "status": "Enabled", "abort_incomplete_multipart_upload": {"days_after_initiation": 7}},
            {
                "id": "old", "status": "Enabled", "filter": {"prefix": "iris/"},
                "noncurrent_version_expiration": {"noncurrent_days": wanted["days"]},
            },
        ],
        opts=options(depends_on=[versions]),
    )
    artifact = root / wanted["artifact"]
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    stored = aws.s3.BucketObjectv2(
        "artifact",
        bucket=bucket.bucket,
        key=f"iris/{digest}.tar.gz",
        source=pulumi.FileAsset(str(artifact)),
        content_type="application/gzip",
        tags={"digest": digest[:8]},
        opts=options(depends_on=[versions]),
    )
    role = aws.iam.Role(
        "role",
        description=wanted["description"],
        assume_role_policy=document(
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ),
        opts=options(),
    )
    access = aws.iam.RolePolicy(
        "access",
        role=role.name,
        policy=bucket.arn.apply(
            lambda arn: document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{arn}/*"})
        ),
        opts=options(),
    )
    model = aws.sagemaker.Model(
        "model",
        execution_role_arn=role.arn,
        primary_container={
            "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/inference:1",
            "model_data_url": pulumi.Output.concat("s3://", stored.bucket, "/", stored.key),
            "environment": wanted["environment"],
        },
        opts=options(depends_on=[access]),
    )
    configuration = aws.sagemaker.EndpointConfiguration(
        "configuration",
        production_variants=[{
            "variant_name": "AllTraffic", "model_name": model.name, "instance_type": "ml.c7i.large",
            "initial_instance_count": 1,
        }],
        opts=options(),
    )
    endpoint = aws.sagemaker.Endpoint(
        "endpoint", name="iris-local", endpoint_config_name=configuration.name, opts=options()
    )

    def moved(known):
        wanted, live = known
        if wanted != live:
            raise pulumi.RunError(f"it still runs {live}, not {wanted}")

    if not pulumi.runtime.is_dry_run():
        pulumi.Output.all(configuration.name, endpoint.endpoint_config_name).apply(moved)
    target = aws.appautoscaling.Target(
        "target",
        service_namespace="sagemaker",
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        resource_id=endpoint.name.apply(lambda name: f"endpoint/{name}/variant/AllTraffic"),
        min_capacity=1,
        max_capacity=wanted["max"],
        tags={"team": "ml"},
        opts=options(),
    )
    aws.appautoscaling.Policy(
        "scaling",
        policy_type="TargetTrackingScaling",
        service_namespace=target.service_namespace,
        scalable_dimension=target.scalable_dimension,
        resource_id=target.resource_id,
        target_tracking_scaling_policy_configuration={
            "target_value": wanted["target"],
            "predefined_metric_specification": {"predefined_metric_type": "SageMakerVariantInvocationsPerInstance"},
        },
        opts=options(),
    )
    inherited = pulumi.InvokeOptions(provider=provider)
    pulumi.export("bucket", bucket.bucket)
    pulumi.export("account", aws.get_caller_identity(opts=inherited).account_id)
    pulumi.export("region", aws.get_region(opts=inherited).region)
    pulumi.export("partition", aws.get_partition(opts=inherited).partition)
"""


@dataclass(frozen=True)
class Project:
    root: Path
    pulumi: Path
    environment: dict[str, str]
    cloud: Cloud

    def write(self, extra: str = EVERYTHING, **settings: Any) -> None:
        """The program, with other settings where they are given."""
        url = settings.pop("url", self.cloud.server.endpoint)
        wanted = {**SETTINGS, "region": REGION, "url": url, **settings}
        (self.root / "settings.json").write_text(json.dumps(wanted))
        program = textwrap.dedent(PROGRAM).replace("EXTRA", textwrap.dedent(extra))
        (self.root / "__main__.py").write_text(program)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.pulumi, *arguments, "--non-interactive", "--color", "never"],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def require(self, *arguments: str) -> str:
        code, said = self.run(*arguments)
        assert code == 0, said
        return said

    def do(self, command: str, *arguments: str) -> dict[str, list[str]]:
        """Logical name → what the engine did to it (`create`, `update`, …), of all that was not left as it was."""
        code, said = self.run(command, "--yes", "--skip-preview", "--json", *arguments)
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        told = [event["diagnosticEvent"] for event in events if "diagnosticEvent" in event]
        assert code == 0, "".join(one["message"] for one in told if one["severity"] == "error") or said
        done: dict[str, list[str]] = {}
        for event in events:
            step = event.get("resourcePreEvent", {}).get("metadata")
            if step and step["type"].startswith("aws:") and step["op"] not in ("same", "refresh"):
                done.setdefault(step["urn"].rpartition("::")[2], []).append(step["op"])
        return done

    def unchanged(self) -> bool:
        """Whether neither the program nor, after a refresh, the cloud differs from the state."""
        code, said = self.run("preview", "--refresh", "--expect-no-changes", "--diff")
        if code != 0:
            print(said)
        return code == 0

    def state(self) -> dict[str, dict[str, Any]]:
        """Logical name → the engine's record, of every AWS resource."""
        exported = json.loads(self.require("stack", "export"))
        resources = exported["deployment"].get("resources", [])
        return {one["urn"].rpartition("::")[2]: one for one in resources if one["type"].startswith("aws:")}

    def outputs(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.require("stack", "output", "--json"))
        return values


@contextmanager
def project(root: Path, engine: Engine) -> Iterator[Project]:
    root.mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: fidelity\nruntime: python\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
    environment = kept | variables(root, engine)
    install(engine.pulumi, environment)
    (root / SETTINGS["artifact"]).write_bytes(fake_model(answer="good"))
    with running(root / "cloud") as cloud:
        made = Project(root, engine.pulumi, environment, cloud)
        made.require("stack", "init", "local")
        yield made
