"""The program of test_provider_production.py: everything that an endpoint in production has, of every kind there is."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "alarm_threshold": 5.0,
    "canary": 50,
    "description": "of the artifacts",
    "emails": ["ops@example.com"],
    "limit": "100",
    "memory": 2048,
    "night": 0,
    "retention": 30,
    "steps": [{"scaling_adjustment": 1, "metric_interval_lower_bound": "0", "metric_interval_upper_bound": "10"}],
    "title": "a",
    "weights": [9, 1],
}

PRODUCTION = """
    def document(*statements):
        return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})

    def allowed(service, action, resource):
        return {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource}

    account = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=provider)).account_id
    key = aws.kms.Key(
        "key", description=wanted["description"], enable_key_rotation=True, deletion_window_in_days=7, opts=options()
    )
    aws.kms.Alias("alias", name="alias/iris-local", target_key_id=key.key_id, opts=options())

    # What tells somebody.
    topic = aws.sns.Topic("topic", kms_master_key_id=key.arn, opts=options())
    told = aws.sns.TopicPolicy(
        "told",
        arn=topic.arn,
        policy=topic.arn.apply(lambda arn: document(
            *(allowed(f"{name}.amazonaws.com", "sns:Publish", arn) for name in ("cloudwatch", "budgets", "s3"))
        )),
        opts=options(),
    )
    for number, address in enumerate(wanted["emails"]):
        aws.sns.TopicSubscription(
            f"mail-{number}", topic=topic.arn, protocol="email", endpoint=address, opts=options()
        )

    # Buckets.
    logs = aws.s3.Bucket("logs", force_destroy=True, opts=options())
    written = aws.s3.BucketPolicy(
        "written",
        bucket=logs.bucket,
        policy=logs.arn.apply(lambda arn: document(allowed("logging.s3.amazonaws.com", "s3:PutObject", f"{arn}/s3/*"))),
        opts=options(),
    )
    bucket = aws.s3.Bucket("artifacts", object_lock_enabled=True, force_destroy=True, opts=options())
    aws.s3.BucketServerSideEncryptionConfiguration(
        "encryption",
        bucket=bucket.bucket,
        rules=[{
            "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn},
            "bucket_key_enabled": True,
        }],
        opts=options(),
    )
    aws.s3.BucketLogging(
        "logging",
        bucket=bucket.bucket,
        target_bucket=logs.bucket,
        target_prefix="s3/",
        opts=options(depends_on=[written]),
    )
    aws.s3.BucketObjectLockConfiguration(
        "lock",
        bucket=bucket.bucket,
        rule={"default_retention": {"mode": "GOVERNANCE", "days": wanted["retention"]}},
        opts=options(),
    )
    aws.s3.BucketNotification(
        "notification",
        bucket=bucket.bucket,
        topics=[{"topic_arn": topic.arn, "events": ["s3:ObjectCreated:*"], "filter_prefix": "async/"}],
        opts=options(depends_on=[told]),
    )
    artifact = root / wanted["artifact"]
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    stored = aws.s3.BucketObjectv2(
        "artifact",
        bucket=bucket.bucket,
        key=f"iris/{digest}",
        source=pulumi.FileAsset(str(artifact)),
        force_destroy=True,  # past the lock's retention
        opts=options(),
    )

    # A place for an image of our own.
    repository = aws.ecr.Repository(
        "repository",
        image_scanning_configuration={"scan_on_push": True},
        image_tag_mutability="IMMUTABLE",
        force_delete=True,
        opts=options(),
    )
    kept = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": wanted["retention"]}
    aws.ecr.LifecyclePolicy(
        "images",
        repository=repository.name,
        policy=json.dumps({"rules": [{"rulePriority": 1, "selection": kept, "action": {"type": "expire"}}]}),
        opts=options(),
    )

    role = aws.iam.Role(
        "role",
        assume_role_policy=document(
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ),
        opts=options(),
    )
    container = {
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/inference:1",
        "environment": wanted["environment"],
    }
    model = aws.sagemaker.Model(
        "model",
        execution_role_arn=role.arn,
        enable_network_isolation=True,
        vpc_config={"subnets": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]},
        primary_container=container | {"model_data_url": pulumi.Output.concat("s3://", stored.bucket, "/", stored.key)},
        opts=options(),
    )
    source = {"compression_type": "Gzip", "s3_data_type": "S3Object"}
    second = aws.sagemaker.Model(
        "second",
        execution_role_arn=role.arn,
        containers=[container | {
            "image_config": {"repository_access_mode": "Platform"},
            "model_data_source": {
                "s3_data_sources": [source | {"s3_uri": pulumi.Output.concat("s3://", stored.bucket, "/", stored.key)}]
            },
        }],
        opts=options(),
    )

    def variant(name, hosted, count=1, **more):
        machine = {"instance_type": "ml.c7i.large", "initial_instance_count": count}
        return {"variant_name": name, "model_name": hosted.name, **machine, **more}

    def hosted(name, deployment=None, depends_on=(), **configuration):
        made = aws.sagemaker.EndpointConfiguration(f"{name}-as-asked", opts=options(), **configuration)
        return aws.sagemaker.Endpoint(
            name,
            name=f"{name}-local",
            endpoint_config_name=made.name,
            deployment_config=deployment,
            opts=options(depends_on=depends_on),
        )

    # In front of users: canaries that an alarm rolls back, steps, nights.
    dimensions = {"EndpointName": "canary-local", "VariantName": "AllTraffic"}

    def metric(id_, name, stat="Sum"):
        what = {"namespace": "AWS/SageMaker", "metric_name": name, "period": 60, "stat": stat, "dimensions": dimensions}
        return {"id": id_, "metric": what}

    failing = aws.cloudwatch.MetricAlarm(
        "failing",
        name="canary-local-5xx",
        alarm_description="more than some of enough requests fail",
        comparison_operator="GreaterThanThreshold",
        evaluation_periods=2,
        datapoints_to_alarm=1,
        threshold=wanted["alarm_threshold"],
        treat_missing_data="notBreaching",
        alarm_actions=[topic.arn],
        metric_queries=[
            {"id": "part", "expression": "IF(every > 20, 100 * bad / every, 0)", "label": "%", "return_data": True},
            metric("bad", "Invocation5XXErrors"),
            metric("every", "Invocations"),
        ],
        opts=options(),
    )
    size = {"type": "CAPACITY_PERCENT", "value": wanted["canary"]}
    canary = hosted(
        "canary",
        {
            "auto_rollback_configuration": {"alarms": [{"alarm_name": failing.name}]},
            "blue_green_update_policy": {
                "termination_wait_in_seconds": 0,
                "maximum_execution_timeout_in_seconds": 1800,
                "traffic_routing_configuration": {"type": "CANARY", "wait_interval_in_seconds": 0, "canary_size": size},
            },
        },
        production_variants=[variant(
            "AllTraffic", model, 2, routing_configs=[{"routing_strategy": "LEAST_OUTSTANDING_REQUESTS"}],
            container_startup_health_check_timeout_in_seconds=600,
        )],
        kms_key_arn=key.arn,
        data_capture_config={
            "enable_capture": True,
            "initial_sampling_percentage": 100,
            "destination_s3_uri": pulumi.Output.concat("s3://", bucket.bucket, "/capture"),
            "capture_options": [{"capture_mode": "Input"}, {"capture_mode": "Output"}],
        },
    )

    def scaled(name, endpoint, least, most):
        return aws.appautoscaling.Target(
            name,
            service_namespace="sagemaker",
            scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            resource_id=endpoint.name.apply(lambda known: f"endpoint/{known}/variant/AllTraffic"),
            min_capacity=least,
            max_capacity=most,
            opts=options(),
        )

    def of(target):
        return {
            "service_namespace": target.service_namespace,
            "scalable_dimension": target.scalable_dimension,
            "resource_id": target.resource_id,
        }

    target = scaled("canary-target", canary, 2, 6)
    steps = aws.appautoscaling.Policy(
        "steps",
        policy_type="StepScaling",
        step_scaling_policy_configuration={
            "adjustment_type": "ChangeInCapacity",
            "metric_aggregation_type": "Average",
            "cooldown": 60,
            "step_adjustments": wanted["steps"],
        },
        opts=options(),
        **of(target),
    )
    aws.cloudwatch.MetricAlarm(
        "busy",
        comparison_operator="GreaterThanThreshold",
        evaluation_periods=1,
        threshold=1000,
        namespace="AWS/SageMaker",
        metric_name="ModelLatency",
        extended_statistic="p99",
        period=60,
        dimensions=dimensions,
        alarm_actions=[steps.arn],
        opts=options(),
    )
    aws.appautoscaling.Policy(
        "concurrency",
        policy_type="TargetTrackingScaling",
        target_tracking_scaling_policy_configuration={
            "target_value": 4,
            "predefined_metric_specification": {
                "predefined_metric_type": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
        },
        opts=options(),
        **of(target),
    )

    # Sleeps at night, and while nothing waits.
    waiting = hosted(
        "waiting",
        production_variants=[variant("AllTraffic", second)],
        async_inference_config={
            "client_config": {"max_concurrent_invocations_per_instance": 2},
            "output_config": {
                "s3_output_path": pulumi.Output.concat("s3://", bucket.bucket, "/async/out"),
                "s3_failure_path": pulumi.Output.concat("s3://", bucket.bucket, "/async/failed"),
                "notification_config": {"success_topic": topic.arn, "error_topic": topic.arn},
            },
        },
    )
    asleep = scaled("waiting-target", waiting, 0, 2)
    backlog = {"namespace": "AWS/SageMaker", "dimensions": [{"name": "EndpointName", "value": "waiting-local"}]}
    aws.appautoscaling.Policy(
        "backlog",
        policy_type="TargetTrackingScaling",
        target_tracking_scaling_policy_configuration={
            "target_value": 5,
            "customized_metric_specification": {"metrics": [
                {"id": "doubled", "expression": "backlog * 2", "return_data": True},
                {
                    "id": "backlog", "return_data": False,
                    "metric_stat": {"stat": "Average", "metric": backlog | {"metric_name": "ApproximateBacklogSize"}},
                },
            ]},
        },
        opts=options(),
        **of(asleep),
    )
    aws.appautoscaling.ScheduledAction(
        "night",
        schedule="cron(0 20 ? * MON-FRI *)",
        timezone="Europe/Berlin",
        start_time="2026-01-01T00:00:00Z",
        scalable_target_action={"min_capacity": wanted["night"], "max_capacity": 1},
        opts=options(),
        **of(asleep),
    )

    # The other kinds.
    hosted("serverless", production_variants=[{
        "variant_name": "AllTraffic", "model_name": model.name,
        "serverless_config": {"max_concurrency": 2, "memory_size_in_mb": wanted["memory"]},
    }])
    hosted(
        "shadowed",
        production_variants=[variant("AllTraffic", model)],
        shadow_production_variants=[variant("Next", second, initial_variant_weight=0.5)],
    )
    hosted("split", production_variants=[
        variant(name, made, initial_variant_weight=weight)
        for name, made, weight in zip(("A", "B"), (model, second), wanted["weights"])
    ])

    # What is looked at.
    aws.cloudwatch.LogGroup(
        "group",
        name="/aws/sagemaker/Endpoints/canary-local",
        retention_in_days=wanted["retention"],
        kms_key_id=key.arn,
        opts=options(),
    )
    aws.cloudwatch.Dashboard(
        "dashboard",
        dashboard_name="iris-local",
        dashboard_body=json.dumps({"widgets": [
            {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": wanted["title"]}}
        ]}),
        opts=options(),
    )
    aws.budgets.Budget(
        "budget",
        name="iris-local",
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=wanted["limit"],
        limit_unit="USD",
        cost_filters=[{"name": "TagKeyValue", "values": ["user:slipway:model$iris"]}],
        notifications=[{
            "comparison_operator": "GREATER_THAN",
            "notification_type": "FORECASTED",
            "threshold": 100,
            "threshold_type": "PERCENTAGE",
            "subscriber_sns_topic_arns": [topic.arn],
        }],
        opts=options(),
    )
    pulumi.export("bucket", bucket.bucket)
    pulumi.export("topic", topic.arn)
    pulumi.export("key", key.key_id)
"""
