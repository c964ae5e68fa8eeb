"""One model, hosted: artifact → role → SageMaker model → endpoint configuration → endpoint → autoscaling.

A new artifact, image or setting makes a new model and configuration beside the old ones, moves the endpoint, and only
then removes the old: Pulumi deletes what was replaced at the end, and not at all where the move failed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names, policies, scaling
from infra.artifact_bucket import ArtifactBucket
from infra.images import partition
from infra.manifests import BuiltModel

# Without it a container that never answers keeps an endpoint in `Creating` for an hour
# (aws/amazon-sagemaker-examples#3432).
STARTUP_SECONDS = 600


@dataclass(frozen=True)
class ModelEndpointArgs:
    model: BuiltModel
    bucket: ArtifactBucket
    stack: str
    region: str
    account: pulumi.Input[str]
    protected: bool


class ModelEndpoint(pulumi.ComponentResource):
    endpoint_name: pulumi.Output[str]

    def __init__(self, name: str, args: ModelEndpointArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:ModelEndpoint", name, None, opts)
        self._args = args
        self._stem = names.stem(name, args.stack)
        self._tags = {"slipway:model": name}
        self._versioned = self._tags | {"slipway:digest": args.model.digest}
        artifact = self._artifact()
        role, access = self._role()
        configuration = self._configuration(artifact, role, access)
        endpoint = self._endpoint(configuration)
        self._autoscaling(endpoint)
        self.endpoint_name = endpoint.name
        self.register_outputs({"endpoint_name": self.endpoint_name})

    def _artifact(self) -> aws.s3.BucketObjectv2:
        model, bucket = self._args.model, self._args.bucket
        return aws.s3.BucketObjectv2(
            self._stem,
            bucket=bucket.name,
            key=names.artifact_key(model.name, model.digest),
            source=pulumi.FileAsset(str(model.artifact)),
            content_type="application/gzip",
            tags=self._versioned,
            # Not before the bucket is closed and encrypts.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[bucket]),
        )

    def _role(self) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        args = self._args
        stem = names.stem(args.model.name, args.stack, names.ROLE_LIMIT)
        region_partition = partition(args.region)
        account = pulumi.Output.from_input(args.account)
        role = aws.iam.Role(
            stem,
            path=names.role_path(args.stack),
            description=f"Execution role of the SageMaker endpoint {names.endpoint(args.model.name, args.stack)}",
            assume_role_policy=account.apply(
                lambda account: json.dumps(policies.assumed_by_sagemaker(region_partition, args.region, account))
            ),
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        document = pulumi.Output.all(account=account, bucket_arn=args.bucket.arn).apply(
            lambda known: json.dumps(
                policies.endpoint_execution(
                    partition=region_partition,
                    region=args.region,
                    account=known["account"],
                    bucket_arn=known["bucket_arn"],
                    artifact_key=names.artifact_key(args.model.name, args.model.digest),
                    image=args.model.image_repository,
                    log_group=names.log_group(names.endpoint(args.model.name, args.stack)),
                )
            )
        )
        access = aws.iam.RolePolicy(
            stem,
            role=role.name,
            policy=document,
            # Replaced, not changed: until the endpoint has moved, its running model still needs its own artifact, to
            # scale out or to be rolled back to.
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["policy"]),
        )
        return role, access

    def _configuration(
        self, artifact: aws.s3.BucketObjectv2, role: aws.iam.Role, access: aws.iam.RolePolicy
    ) -> aws.sagemaker.EndpointConfiguration:
        model, deploy = self._args.model, self._args.model.deploy
        hosted = aws.sagemaker.Model(
            self._stem,
            execution_role_arn=role.arn,
            primary_container={
                "image": model.image_uri,
                "model_data_url": pulumi.Output.concat("s3://", artifact.bucket, "/", artifact.key),
                "environment": deploy.environment,
            },
            tags=self._versioned,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[access]),
        )
        # Autonamed: a configuration replaced under its own name never reaches the endpoint
        # (terraform-provider-aws#48993).
        return aws.sagemaker.EndpointConfiguration(
            self._stem,
            production_variants=[
                {
                    "variant_name": names.VARIANT,
                    "model_name": hosted.name,
                    "instance_type": deploy.instance,
                    "initial_instance_count": scaling.initial_count(deploy.instances),
                    "initial_variant_weight": 1,
                    "container_startup_health_check_timeout_in_seconds": STARTUP_SECONDS,
                }
            ],
            tags=self._versioned,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _endpoint(self, configuration: aws.sagemaker.EndpointConfiguration) -> aws.sagemaker.Endpoint:
        name = names.endpoint(self._args.model.name, self._args.stack)
        endpoint = aws.sagemaker.Endpoint(
            name,
            name=name,
            endpoint_config_name=configuration.name,
            tags=self._tags,
            # Its name is taken as long as it exists.
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protected, delete_before_replace=True),
        )
        if not pulumi.runtime.is_dry_run():
            pulumi.Output.all(name, configuration.name, endpoint.endpoint_config_name).apply(
                lambda known: require_moved(*known)
            )
        return endpoint

    def _autoscaling(self, endpoint: aws.sagemaker.Endpoint) -> None:
        deploy = self._args.model.deploy
        if not scaling.scales(deploy.instances):
            return
        name = names.endpoint(self._args.model.name, self._args.stack)
        target = aws.appautoscaling.Target(
            name,
            service_namespace=scaling.NAMESPACE,
            scalable_dimension=scaling.DIMENSION,
            resource_id=endpoint.name.apply(names.scalable_resource),
            min_capacity=deploy.instances.min,
            max_capacity=deploy.instances.max,
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[endpoint]),
        )
        aws.appautoscaling.Policy(
            name,
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "target_value": deploy.autoscaling.target,
                "predefined_metric_specification": {"predefined_metric_type": scaling.METRIC},
                "scale_in_cooldown": deploy.autoscaling.scale_in_cooldown,
                "scale_out_cooldown": deploy.autoscaling.scale_out_cooldown,
            },
            opts=pulumi.ResourceOptions(parent=self),
        )


def require_moved(endpoint: str, wanted: str, live: str) -> None:
    """Raises RunError where an endpoint runs another configuration than it was told to.

    The AWS provider reports an update that SageMaker rolled back as a success, but records the configuration that is
    live (terraform-provider-aws#46663). A failed program keeps Pulumi from deleting what the endpoint still runs on.
    """
    if live != wanted:
        raise pulumi.RunError(
            f"endpoint {endpoint}: SageMaker rolled the update back; it still runs {live}, not {wanted}. The reason is "
            f"in its log group {names.log_group(endpoint)} and in: aws sagemaker describe-endpoint "
            f"--endpoint-name {endpoint}. Mend it, then run: pulumi up"
        )
