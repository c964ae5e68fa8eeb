"""The whole program on a recording engine: what it declares, from which inputs, in which order."""

import json
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from built_models import write_model
from recording_engine import ACCOUNT, DEPRECATED, RecordedAccount, Recorder, deploying, value

from infra import model_endpoint
from infra.live import LiveEndpoint

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    return tmp_path


@pytest.fixture
def deploy(project, monkeypatch):
    yield from deploying(project, monkeypatch)


def test_one_model_is_one_of_each_resource(project, deploy):
    write_model(project, "news")
    made, _ = deploy()
    bucket = """Bucket BucketPublicAccessBlock BucketOwnershipControls BucketPolicy BucketVersioning
        BucketServerSideEncryptionConfiguration BucketLifecycleConfiguration"""
    endpoint = "BucketObjectv2 Role RolePolicy Model EndpointConfiguration Endpoint"
    assert sorted(resource.kind for resource in made.resources) == sorted([*bucket.split(), *endpoint.split()])


@pytest.mark.parametrize("broken", ["stale", "missing", "unset endpoint"])
def test_no_resource_is_made_when_something_is_wrong(project, deploy, monkeypatch, broken):
    write_model(project, "good")
    write_model(project, "bad")
    if broken == "stale":
        (project / "specs/bad.yaml").write_text("changed: true\n")
    elif broken == "missing":
        (project / "build/bad/manifest.json").unlink()
    else:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
    recorder = Recorder()
    with pytest.raises(pulumi.RunError, match="nothing was deployed, because of one problem:\n"):
        deploy(recorder=recorder)
    assert [made.kind for made in recorder.made if made.kind != "Stack"] == []


def test_the_artifact_is_uploaded_under_its_digest_and_the_model_reads_it_there(project, deploy):
    digest = write_model(project, "news").artifact.sha256
    made, _ = deploy()
    stored = made.one("BucketObjectv2").inputs
    assert stored["key"] == f"news/{digest}.tar.gz"
    assert stored["source"].path == str(project / "build/news/model.tar.gz")
    container = made.one("Model").inputs["primaryContainer"]
    assert container["modelDataUrl"] == f"s3://{stored['bucket']}/{stored['key']}"


def test_a_container_gets_the_image_and_environment_of_its_spec(project, deploy):
    write_model(project, "news", deploy={"image": "slim:1", "environment": {"THREADS": "2"}})
    container = deploy()[0].one("Model").inputs["primaryContainer"]
    assert container["image"] == "763104351884.dkr.ecr.eu-west-1.amazonaws.com/slim:1"
    assert container["environment"] == {"THREADS": "2"}


def test_the_endpoint_keeps_its_name_and_nothing_else_has_a_fixed_one(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    assert made.one("Endpoint").inputs["name"] == "news-dev"
    for kind in ("Model", "EndpointConfiguration", "Role", "RolePolicy", "Bucket"):
        assert not {"name", "bucket"} & set(made.one(kind).inputs), kind
    assert made.one("Endpoint").request.deleteBeforeReplace


def test_the_variant_is_always_called_the_same_and_starts_with_the_minimum(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 2, "max": 6}, "instance": "ml.c7i.xlarge"})
    (variant,) = deploy()[0].one("EndpointConfiguration").inputs["productionVariants"]
    assert (variant["variantName"], variant["initialInstanceCount"]) == ("AllTraffic", 2)
    assert variant["instanceType"] == "ml.c7i.xlarge"
    assert variant["modelName"].startswith("news-local")


def test_a_range_of_instances_scales_on_invocations_per_instance(project, deploy):
    scaling = {"target": 900, "scale_in_cooldown": 400, "scale_out_cooldown": 30}
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 4}, "autoscaling": scaling})
    made, _ = deploy(stack="dev")
    target = made.one("Target").inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (1, 4)
    assert target["resourceId"] == "endpoint/news-dev/variant/AllTraffic"
    assert target["scalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    policy = made.one("Policy").inputs
    assert policy["policyType"] == "TargetTrackingScaling"
    assert policy["targetTrackingScalingPolicyConfiguration"] == {
        "targetValue": 900,
        "predefinedMetricSpecification": {"predefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "scaleInCooldown": 400,
        "scaleOutCooldown": 30,
    }


def test_a_fixed_count_has_no_autoscaling(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 2, "max": 2}})
    made, _ = deploy()
    assert made.of("Target") == made.of("Policy") == []


def test_what_is_needed_comes_first_and_goes_last(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}})
    made, _ = deploy(stack="dev")
    hardening = "BucketPolicy BucketPublicAccessBlock BucketServerSideEncryptionConfiguration BucketVersioning"
    assert set(hardening.split()) <= made.needs("BucketObjectv2")
    assert {"Role", "RolePolicy", "BucketObjectv2"} <= made.needs("Model")
    assert "Model" in made.needs("EndpointConfiguration")
    assert "EndpointConfiguration" in made.needs("Endpoint")
    assert "Endpoint" in made.needs("Target")
    assert "Target" in made.needs("Policy")


def test_a_policy_is_replaced_so_that_the_running_model_keeps_its_artifact_until_the_endpoint_moved(project, deploy):
    write_model(project, "news")
    assert list(deploy()[0].one("RolePolicy").request.replaceOnChanges) == ["policy"]


def test_a_role_is_bound_to_the_account_and_to_one_artifact(project, deploy):
    digest = write_model(project, "news").artifact.sha256
    made, _ = deploy(stack="dev")
    assert made.one("Role").inputs["path"] == "/slipway/dev/"
    trust = json.loads(made.one("Role").inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    granted = json.loads(made.one("RolePolicy").inputs["policy"])["Statement"]
    reading = [item["Resource"] for item in granted if item["Action"] == "s3:GetObject"]
    assert reading == [f"arn:aws:s3:::slipway-dev-0a1b2c3/news/{digest}.tar.gz"]


def test_the_bucket_is_closed_encrypted_versioned_and_tidied(project, deploy):
    made, _ = deploy(noncurrent_days="14")
    block = made.one("BucketPublicAccessBlock").inputs
    assert [
        block[key] for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ] == [True] * 4
    assert made.one("BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert made.one("BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    (encryption,) = made.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert encryption["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    statement = json.loads(made.one("BucketPolicy").inputs["policy"])["Statement"][0]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    uploads, versions = made.one("BucketLifecycleConfiguration").inputs["rules"]
    assert uploads["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert versions["noncurrentVersionExpiration"] == {"noncurrentDays": 14}


def test_only_the_local_bucket_goes_with_what_is_in_it(project, deploy):
    assert deploy()[0].one("Bucket").inputs["forceDestroy"] is True
    assert deploy(stack="dev")[0].one("Bucket").inputs["forceDestroy"] is False


def test_production_protects_what_clients_and_rollbacks_stand_on_and_nothing_that_is_replaced(project, deploy):
    write_model(project, "news", environments={"prod": {"instances": {"min": 2, "max": 4}}})
    made, _ = deploy(stack="prod")
    protected = {resource.kind for resource in made.resources if resource.request.protect}
    assert protected == {"Bucket", "Endpoint"}
    assert not [resource for resource in deploy(stack="dev")[0].made if resource.request.protect]


def test_the_local_stack_uses_the_local_plugin_and_the_loopback_endpoint_for_every_service(project, deploy):
    made, _ = deploy()
    provider = made.one("aws")
    assert provider.request.version == "0.0.1"
    (endpoints,) = json.loads(provider.inputs["endpoints"])
    assert {"s3", "iam", "sts", "sagemaker", "applicationautoscaling"} <= set(endpoints)
    assert set(endpoints.values()) == {"http://127.0.0.1:4566"}


def test_the_local_stack_takes_awss_plugin_where_it_is_told_to_and_reaches_this_machine_alone(project, deploy):
    made, _ = deploy(plugin="official")
    provider = made.one("aws")
    assert provider.request.version not in ("", "0.0.1")
    (endpoints,) = json.loads(provider.inputs["endpoints"])
    assert {"s3", "s3control", "iam", "sts", "sagemaker", "applicationautoscaling"} <= set(endpoints)
    assert set(endpoints.values()) == {"http://127.0.0.1:4566"}
    assert [provider.inputs[key]["value"] for key in ("accessKey", "secretKey")] == ["local", "local"]


def test_a_stack_on_aws_uses_the_real_plugin_for_its_own_account_and_region_only(project, deploy):
    made, _ = deploy(stack="dev", tags='{"team": "search"}')
    provider = made.one("aws")
    assert provider.request.version != "0.0.1"
    assert "endpoints" not in provider.inputs
    assert provider.inputs["region"] == "eu-west-1"
    assert json.loads(provider.inputs["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider.inputs["defaultTags"]) == {"tags": {"team": "search", "slipway:stack": "dev"}}


def test_every_resource_uses_the_explicit_provider(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}})
    made, _ = deploy()
    without = [resource.kind for resource in made.resources if not resource.request.provider.endswith("::aws::aws-id")]
    assert without == []


def test_every_resource_that_can_be_tagged_says_which_model_it_belongs_to(project, deploy):
    digest = write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}}).artifact.sha256
    made, _ = deploy()
    versioned = {"slipway:model": "news", "slipway:digest": digest}
    for kind in ("BucketObjectv2", "Model"):
        assert made.one(kind).inputs["tags"] == versioned
    assert versioned.items() < made.one("EndpointConfiguration").inputs["tags"].items()
    for kind in ("Role", "Endpoint", "Target"):
        assert made.one(kind).inputs["tags"] == {"slipway:model": "news"}


def test_the_outputs_name_every_endpoint_and_what_runs_on_it(project, deploy):
    digests = {name: write_model(project, name).artifact.sha256 for name in ("fashion", "news")}
    _, outputs = deploy(stack="dev")
    assert value(outputs["endpoints"]) == {"fashion": "fashion-dev", "news": "news-dev"}
    assert value(outputs["bucket"]) == "slipway-dev-0a1b2c3"
    assert outputs["region"] == "eu-west-1"
    assert outputs["models"]["news"] == {
        "digest": digests["news"],
        "candidate": "export_onnx → quantize_dynamic",
        "instance": "ml.c7i.large",
    }


def test_an_update_that_sagemaker_rolled_back_fails_the_program(project, deploy):
    write_model(project, "news")
    with pytest.raises(pulumi.RunError, match="rolled the update back; it still runs news-dev-old"):
        deploy(stack="dev", recorder=Recorder(live_configuration="news-dev-old"))


def test_a_preview_does_not_ask_whether_an_endpoint_moved(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev", preview=True, recorder=Recorder(live_configuration="news-dev-old"))
    assert made.of("Endpoint")


def test_an_endpoint_that_moved_passes():
    account = RecordedAccount(Recorder(running={"news-dev": LiveEndpoint("new")}))
    model_endpoint.require_moved(account, "news-dev", "new", "new")


# The SDK itself brings YAML along; what counts is what the program adds to it.
SCRIPT = (
    "import sys, pulumi, pulumi_aws; before = set(sys.modules); import infra.program; print(*set(sys.modules) - before)"
)


def test_the_program_imports_neither_torch_nor_yaml_nor_anything_that_reads_specs():
    loaded = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in loaded if name.startswith("model_build")} == {
        "model_build",
        *(f"model_build.{module}" for module in ("capacity", "deployment", "instances", "manifest")),
    }
    assert not {"torch", "yaml", "onnx", "onnxruntime", "numpy", "boto3", "moto"} & set(loaded)


KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"


def test_on_this_machine_a_spec_without_wishes_gets_no_alarm_no_rollback_and_no_dashboard(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}})
    made, _ = deploy()
    assert made.of("MetricAlarm") == made.of("Dashboard") == []
    assert "deploymentConfig" not in made.one("Endpoint").inputs


def test_on_aws_a_model_has_a_dashboard_of_its_own_with_its_alarms(project, deploy):
    write_model(project, "news")
    board = deploy(stack="dev")[0].one("Dashboard").inputs
    assert board["dashboardName"] == "news-dev"
    (shown,) = [one for one in json.loads(board["dashboardBody"])["widgets"] if one["type"] == "alarm"]
    assert len(shown["properties"]["alarms"]) == 3
    assert deploy(stack="dev", dashboards="false")[0].of("Dashboard") == []


def test_a_key_of_yours_encrypts_the_bucket_the_volumes_and_what_requests_leave(project, deploy):
    write_model(project, "news", deploy={"endpoint": "async", "asynchronous": {"notify": True}})
    write_model(project, "seen", deploy={"capture": {"percent": 1}})
    made, _ = deploy(stack="dev", kms=KEY)
    (rule,) = made.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}
    assert {artifact.inputs["kmsKeyId"] for artifact in made.of("BucketObjectv2")} == {KEY}
    configurations = [one.inputs for one in made.of("EndpointConfiguration")]
    (queued,) = (one for one in configurations if "asyncInferenceConfig" in one)
    (seen,) = (one for one in configurations if "dataCaptureConfig" in one)
    assert queued["kmsKeyArn"] == seen["kmsKeyArn"] == KEY
    assert queued["asyncInferenceConfig"]["outputConfig"]["kmsKeyId"] == KEY
    assert seen["dataCaptureConfig"]["kmsKeyId"] == KEY
    assert {topic.inputs["kmsMasterKeyId"] for topic in made.of("Topic")} == {KEY}
    for policy in made.of("RolePolicy"):
        assert "UseKey" in policy.inputs["policy"]


def test_the_stack_makes_a_key_that_rotates_and_is_protected_in_production(project, deploy):
    made, _ = deploy(stack="prod", kms="true")
    key = made.one("Key")
    assert key.inputs["enableKeyRotation"] is True
    assert key.request.protect
    assert made.one("Alias").inputs["name"] == "alias/slipway-prod"


def test_containers_join_the_stacks_network(project, deploy):
    write_model(project, "news", deploy={"network": {"isolation": True}})
    made, _ = deploy(stack="dev", subnets='["subnet-0a1b2c3d"]', security_groups='["sg-0a1b2c3d"]')
    model = made.one("Model").inputs
    assert model["vpcConfig"] == {"subnets": ["subnet-0a1b2c3d"], "securityGroupIds": ["sg-0a1b2c3d"]}
    assert model["enableNetworkIsolation"] is True
    assert "JoinNetwork" in made.one("RolePolicy").inputs["policy"]


def test_accesses_are_logged_and_artifacts_locked_where_the_stack_says_so(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev", access_logs="my-logs", object_lock_days="30")
    assert made.one("BucketLogging").inputs["targetBucket"] == "my-logs"
    rule = made.one("BucketObjectLockConfiguration").inputs["rule"]
    assert rule == {"defaultRetention": {"mode": "GOVERNANCE", "days": 30}}
    assert made.one("Bucket").inputs["objectLockEnabled"] is True
    assert made.one("BucketObjectv2").request.retainOnDelete


def test_alarms_tell_the_stacks_topic_and_the_budget_too(project, deploy):
    write_model(project, "news")
    made, outputs = deploy(stack="dev", alarm_topic="true", monthly_budget="100", budget_emails='["ops@example.com"]')
    topic = value(outputs["alarm_topic"])
    assert {tuple(alarm.inputs["alarmActions"]) for alarm in made.of("MetricAlarm")} == {(topic,)}
    budget = made.one("Budget").inputs
    assert (budget["limitAmount"], budget["timeUnit"]) == ("100", "MONTHLY")
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:slipway:stack$dev"]}]
    assert {tuple(one["subscriberSnsTopicArns"]) for one in budget["notifications"]} == {(topic,)}


def test_an_async_endpoint_may_read_its_inputs_write_its_answers_and_tell_its_topics(project, deploy):
    write_model(project, "news", deploy={"endpoint": "async", "asynchronous": {"notify": True, "keep_days": 7}})
    made, _ = deploy(stack="dev")
    granted = {one["Sid"]: one for one in json.loads(made.one("RolePolicy").inputs["policy"])["Statement"]}
    bucket = "arn:aws:s3:::slipway-dev-0a1b2c3"
    assert granted["ReadRequests"]["Resource"] == [f"{bucket}/async/news/input/*"]
    assert granted["WriteAnswers"]["Resource"] == [f"{bucket}/async/news/output/*", f"{bucket}/async/news/error/*"]
    assert len(granted["TellTopics"]["Resource"]) == 2
    told = made.one("EndpointConfiguration").inputs["asyncInferenceConfig"]["outputConfig"]["notificationConfig"]
    assert set(told.values()) == set(granted["TellTopics"]["Resource"])
    expiring = made.one("BucketLifecycleConfiguration").inputs["rules"][2]
    assert (expiring["filter"], expiring["expiration"]) == ({"prefix": "async/news/"}, {"days": 7})


def test_a_model_does_batch_transform_in_its_own_folder_and_those_of_its_spec(project, deploy):
    write_model(project, "nightly", deploy={"batch": {"inputs": ["s3://texts/new/"]}})
    made, _ = deploy(stack="dev")
    policies = [json.loads(one.inputs["policy"])["Statement"] for one in made.of("RolePolicy")]
    granted = {one["Sid"]: one for one in next(policy for policy in policies if "ReadBatch" in json.dumps(policy))}
    read = granted["ReadBatch"]["Resource"]
    assert read[0].endswith("/batch/nightly/*") and read[1:] == ["arn:aws:s3:::texts/new/*"]
    assert granted["WriteBatch"]["Resource"] == read[:1]
    assert granted["WriteBatchLogs"]["Resource"].endswith(":log-stream:nightly-dev-*")


def test_a_shadow_with_its_own_image_is_a_second_model(project, deploy):
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"
    write_model(project, "news", deploy={"shadow": {"share": 0.1, "image": image}})
    made, _ = deploy(stack="dev")
    assert {model.inputs["primaryContainer"]["image"] for model in made.of("Model")} >= {image}
    (shadow,) = made.one("EndpointConfiguration").inputs["shadowProductionVariants"]
    assert shadow["modelName"].startswith("news-dev-shadow")


def test_a_timetable_is_written_entry_after_entry(project, deploy):
    schedule = [{"cron": "0 7 ? * MON-FRI *", "min": 2}, {"cron": "0 20 ? * MON-FRI *", "min": 1}]
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 4}, "autoscaling": {"schedule": schedule}})
    first, second = deploy(stack="dev")[0].of("ScheduledAction")
    assert first.inputs["scalableTargetAction"] == {"minCapacity": 2}
    assert any(urn.endswith("news-dev-schedule-0") for urn in second.request.dependencies)
