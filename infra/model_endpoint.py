"""One model, hosted: artifact → role → SageMaker model → endpoint configuration → endpoint → autoscaling.

A new artifact, image or setting makes a new model and configuration beside the old ones, moves the endpoint, and only
then removes the old: Pulumi deletes what was replaced at the end, and not at all where the move failed.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import alarms, dashboards, endpoint_scaling, hosting, names, policies, rollout, scaling
from infra.artifact_bucket import ArtifactBucket
from infra.hosting import Surroundings, Topics
from infra.images import partition
from infra.live import DIGEST_TAG, SETTINGS_TAG, Account, LiveEndpoint, LiveError
from infra.manifests import BuiltModel
from model_build.deployment import Rollout

MODEL_TAG = "slipway:model"


@dataclass(frozen=True)
class ModelEndpointArgs:
    """`running` is the endpoint as it is now, where it exists and scales; `hooks` go around its updates.

    `watched` gives alarms and automatic rollback where the spec says nothing of a rollout; `charted` a dashboard;
    `kept` leaves artifacts in the bucket that are no longer deployed.
    """

    model: BuiltModel
    bucket: ArtifactBucket
    stack: str
    region: str
    account: pulumi.Input[str]
    protected: bool
    live: Account
    running: LiveEndpoint | None = None
    hooks: pulumi.ResourceHookBinding | None = None
    surroundings: Surroundings = field(default_factory=Surroundings)
    alarm_topic: pulumi.Input[str] | None = None
    watched: bool = False
    charted: bool = False
    kept: bool = False


class ModelEndpoint(pulumi.ComponentResource):
    endpoint_name: pulumi.Output[str]

    def __init__(self, name: str, args: ModelEndpointArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:ModelEndpoint", name, None, opts)
        self._args = args
        self._stem = names.stem(name, args.stack)
        self._name = names.endpoint(name, args.stack)
        self._tags = {MODEL_TAG: name}
        self._versioned = self._tags | {DIGEST_TAG: args.model.digest}
        self._child = pulumi.ResourceOptions(parent=self)
        self._rollout = args.model.deploy.rollout or (Rollout() if args.watched else None)
        artifact = self._artifact()
        topics = self._topics()
        role, access = self._role(topics)
        configuration = self._configuration(artifact, role, access, topics)
        watching = self._alarms(configuration)
        endpoint, settled = self._endpoint(configuration, watching)
        endpoint_scaling.declare(
            self,
            endpoint,
            settled=settled,
            name=self._name,
            deploy=args.model.deploy,
            target=args.model.target,
            tags=self._tags,
        )
        if args.charted:
            self._dashboard(watching)
        self.endpoint_name = endpoint.name
        self.register_outputs({"endpoint_name": self.endpoint_name})

    def _artifact(self) -> aws.s3.BucketObjectv2:
        model, bucket = self._args.model, self._args.bucket
        # Each artifact is a resource of its own. As a replacement of the last one, an update that failed would leave
        # that one to be deleted, by its key: the next deployment of it would upload it, and then lose it.
        return aws.s3.BucketObjectv2(
            f"{self._stem}-{model.digest[:12]}",
            bucket=bucket.name,
            key=names.artifact_key(model.name, model.digest),
            source=pulumi.FileAsset(str(model.artifact)),
            content_type="application/gzip",
            # Named although it is the bucket's default: with another key, what lies there is encrypted anew, and the
            # role, which gets the new key alone, can read it.
            kms_key_id=self._args.surroundings.key,
            tags=self._versioned,
            # Not before the bucket is closed and encrypts.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[bucket],
                retain_on_delete=self._args.kept or None,
                aliases=[pulumi.Alias(name=self._stem)],  # what it was called before
            ),
        )

    def _topics(self) -> Topics:
        """Those that an asynchronous endpoint tells of its successes and errors."""
        given = self._args.model.deploy.asynchronous
        if given is None:
            return Topics()
        found: dict[str, Any] = {"success": given.success_topic, "error": given.error_topic}
        for outcome, topic in found.items():
            if topic is None and given.notify:
                key = self._args.surroundings.key
                found[outcome] = aws.sns.Topic(
                    f"{self._stem}-{outcome}",
                    kms_master_key_id="alias/aws/sns" if key is None else key,
                    tags=self._tags,
                    opts=self._child,
                ).arn
        return Topics(**found)

    def _role(self, topics: Topics) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        args = self._args
        stem = names.stem(args.model.name, args.stack, names.ROLE_LIMIT)
        region_partition = partition(args.region)
        account = pulumi.Output.from_input(args.account)
        role = aws.iam.Role(
            stem,
            path=names.role_path(args.stack),
            permissions_boundary=args.surroundings.permissions_boundary,
            description=f"Execution role of the SageMaker endpoint {self._name}",
            assume_role_policy=account.apply(
                lambda account: json.dumps(policies.assumed_by_sagemaker(region_partition, args.region, account))
            ),
            tags=self._tags,
            opts=self._child,
        )
        document = pulumi.Output.all(
            account=account,
            bucket_arn=args.bucket.arn,
            topics=[topic for topic in (topics.success, topics.error) if topic is not None],
            key=args.surroundings.key,
        ).apply(
            lambda known: json.dumps(
                policies.endpoint_execution(
                    partition=region_partition,
                    region=args.region,
                    account=known["account"],
                    bucket_arn=known["bucket_arn"],
                    artifact_key=names.artifact_key(args.model.name, args.model.digest),
                    image=args.model.image_repository,
                    log_group=names.log_group(self._name),
                    grants=self._grants(known["topics"], known["key"]),
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

    def _grants(self, topics: list[str], key: str | None) -> policies.Grants:
        model, deploy = self._args.model, self._args.model.deploy
        queued = deploy.endpoint == "async"
        written = [names.asynchronous(model.name, part) for part in ("output", "error")] if queued else []
        network = hosting.network(deploy, self._args.surroundings).get("vpc_config", {})
        return policies.Grants(
            shadow_image=model.shadow_repository,
            read_prefixes=(names.asynchronous(model.name, "input"),) if queued else (),
            write_prefixes=(*written, *([names.captured(model.name)] if deploy.capture else [])),
            alarms=self._name if self._rollout else None,
            topic_arns=tuple(topics),
            key_arn=key,
            subnets=tuple(network.get("subnets", ())),
            security_groups=tuple(network.get("security_group_ids", ())),
            batch=self._batch(),
        )

    def _batch(self) -> policies.BatchGrant | None:
        model, batch = self._args.model, self._args.model.deploy.batch
        if batch is None:
            return None
        jobs = names.batch_jobs(model.name, self._args.stack)
        return policies.BatchGrant(jobs, names.batch(model.name), batch.inputs, batch.outputs)

    def _configuration(
        self, artifact: aws.s3.BucketObjectv2, role: aws.iam.Role, access: aws.iam.RolePolicy, topics: Topics
    ) -> aws.sagemaker.EndpointConfiguration:
        model, deploy, surroundings = self._args.model, self._args.model.deploy, self._args.surroundings
        network = hosting.network(deploy, surroundings)

        def hosted(suffix: str, image: str) -> aws.sagemaker.Model:
            return aws.sagemaker.Model(
                f"{self._stem}{suffix}",
                execution_role_arn=role.arn,
                primary_container={
                    "image": image,
                    "model_data_url": pulumi.Output.format("s3://{0}/{1}", artifact.bucket, artifact.key),
                    "environment": hosting.environment(deploy),
                },
                tags=self._versioned,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[access]),
                **network,
            )

        main = hosted("", model.image_uri)
        encrypted = surroundings.key is not None and hosting.encrypts_volumes(deploy)
        settings = hosting.Wanted(
            deploy, model.digest, model.image_uri, model.shadow_uri, surroundings, encrypted
        ).fingerprint()
        count = scaling.initial_count(deploy, self._args.running, settings, model.digest)
        address = pulumi.Output.format("s3://{0}", self._args.bucket.name)
        further: dict[str, Any] = {
            "shadow_production_variants": hosting.shadow_variants(
                deploy, hosted("-shadow", model.shadow_uri).name if model.shadow_uri else main.name
            ),
            "async_inference_config": hosting.asynchronous(deploy, model.name, address, topics, surroundings.key),
            "data_capture_config": hosting.capture(deploy, model.name, address, surroundings.key),
            "kms_key_arn": surroundings.key if encrypted else None,
        }
        variants: Any = hosting.production_variants(deploy, main.name, count)
        # Autonamed: a configuration replaced under its own name never reaches the endpoint
        # (terraform-provider-aws#48993).
        return aws.sagemaker.EndpointConfiguration(
            self._stem,
            production_variants=variants,
            tags=self._versioned | ({SETTINGS_TAG: settings} if scaling.scales(deploy) else {}),
            opts=self._child,
            **{key: value for key, value in further.items() if value},
        )

    def _alarms(self, configuration: aws.sagemaker.EndpointConfiguration) -> list[aws.cloudwatch.MetricAlarm]:
        """Those that roll an update back. They look at the new configuration before the endpoint moves to it."""
        if self._rollout is None:
            return []
        deploy, topic = self._args.model.deploy, self._args.alarm_topic
        told: dict[str, Any] = {} if topic is None else {"alarm_actions": [topic], "ok_actions": [topic]}
        made = []
        for kind in alarms.KINDS[deploy.endpoint]:
            arguments = alarms.alarm(
                kind,
                endpoint=self._name,
                endpoint_kind=deploy.endpoint,
                limits=self._rollout.alarms,
                measured_p95_ms=self._args.model.manifest.chosen.latency_p95_ms,
                variants=[variant["variant_name"] for variant in hosting.production_variants(deploy, "", 1)],
                configuration=configuration.name,
            )
            made.append(
                aws.cloudwatch.MetricAlarm(arguments["name"], tags=self._tags, opts=self._child, **arguments, **told)
            )
        return made

    def _endpoint(
        self, configuration: aws.sagemaker.EndpointConfiguration, watching: list[aws.cloudwatch.MetricAlarm]
    ) -> tuple[aws.sagemaker.Endpoint, pulumi.Output[str]]:
        """The endpoint, and its name once it is known to run what it was told to."""
        deployment: Any = None
        if self._rollout:
            deployment = rollout.deployment_config(self._rollout, [alarm.name for alarm in watching])
        endpoint = aws.sagemaker.Endpoint(
            self._name,
            name=self._name,
            endpoint_config_name=configuration.name,
            deployment_config=deployment,
            tags=self._tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=self._args.protected,
                delete_before_replace=True,  # its name is taken as long as it exists
                hooks=self._args.hooks,
                depends_on=watching,
            ),
        )
        if pulumi.runtime.is_dry_run():
            return endpoint, endpoint.name
        live = self._args.live
        settled: pulumi.Output[str] = pulumi.Output.all(
            self._name, configuration.name, endpoint.endpoint_config_name
        ).apply(lambda known: asyncio.to_thread(require_moved, live, *known))  # of many endpoints, side by side
        return endpoint, settled

    def _dashboard(self, watching: list[aws.cloudwatch.MetricAlarm]) -> None:
        deploy, region = self._args.model.deploy, self._args.region
        body = pulumi.Output.all(*[alarm.arn for alarm in watching]).apply(
            lambda arns: dashboards.body(self._name, deploy, region, arns)
        )
        aws.cloudwatch.Dashboard(self._name, dashboard_name=self._name, dashboard_body=body, opts=self._child)


def require_moved(live: Account, endpoint: str, wanted: str, recorded: str) -> str:
    """The endpoint's name. Raises RunError where it runs another configuration than it was told to, with AWS's reason.

    The AWS provider reports an update that SageMaker rolled back as a success (terraform-provider-aws#46663). What it
    `recorded` and what is live are both compared on every run, since an update is not tried again by itself. A failed
    program keeps Pulumi from deleting what the endpoint still runs on.
    """
    try:
        found = live.endpoint(endpoint)
        runs = recorded if found is None or recorded != wanted else found.configuration
        if runs == wanted:
            return endpoint
        live.restore_scaling(endpoint)
    except LiveError as error:
        raise pulumi.RunError(str(error)) from None
    reason = found.reason if found else ""
    raise pulumi.RunError(
        f"endpoint {endpoint}: SageMaker rolled the update back; it still runs {runs}, not {wanted}"
        + (f": {reason.rstrip('.')}. " if reason else ". AWS gives no reason. ")
        + f"Its log group is {names.log_group(endpoint)}. Mend it, then run: pulumi up"
    )
