import dataclasses

import pytest
from botocore.session import get_session
from botocore.validate import validate_parameters

from infra import hosting
from infra.hosting import Surroundings, Topics
from model_build.deployment import Deploy

IRREGULAR = {"MemorySizeInMb": "MemorySizeInMB", "DestinationS3Uri": "DestinationS3Uri"}


def deployed(**settings):
    return Deploy.model_validate(settings)


def api(value):
    """Arguments of pulumi_aws as the API's."""
    if isinstance(value, list):
        return [api(each) for each in value]
    if not isinstance(value, dict):
        return value
    names = {key: "".join(word.capitalize() for word in key.split("_")) for key in value}
    return {IRREGULAR.get(names[key], names[key]): api(each) for key, each in value.items()}


def check(member, value):
    shape = get_session().get_service_model("sagemaker").operation_model("CreateEndpointConfig").input_shape
    validate_parameters(api(value), shape.members[member])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"endpoint": "serverless", "serverless": {"memory_mb": 4096, "provisioned_concurrency": 2}},
        {"endpoint": "async"},
        {"variants": {"B": {"weight": 0.2, "instance": "ml.m5.large", "instances": 2}}},
    ],
)
def test_every_kind_is_what_aws_takes(settings):
    deploy = deployed(**settings)
    check("ProductionVariants", hosting.production_variants(deploy, "model", 1))
    queued = hosting.asynchronous(deploy, "news", "s3://b", Topics("arn:aws:sns:x:1:s", None), "key")
    if queued:
        check("AsyncInferenceConfig", queued)


def test_a_serverless_variant_has_no_instances():
    (variant,) = hosting.production_variants(deployed(endpoint="serverless"), "m", 3)
    assert not {"instance_type", "initial_instance_count"} & set(variant)
    assert variant["serverless_config"] == {"memory_size_in_mb": 2048, "max_concurrency": 20}


def test_further_variants_stand_beside_the_main_one_with_their_weights():
    given = {"Big": {"weight": 0.25, "instance": "ml.c7i.xlarge"}, "Alike": {"weight": 1, "instances": 2}}
    main, alike, big = hosting.production_variants(deployed(variants=given), "m", 3)
    assert (main["variant_name"], main["initial_instance_count"], main["initial_variant_weight"]) == (
        "AllTraffic",
        3,
        1,
    )
    assert (alike["variant_name"], alike["instance_type"], alike["initial_instance_count"]) == (
        "Alike",
        "ml.c7i.large",
        2,
    )
    assert (big["instance_type"], big["initial_variant_weight"]) == ("ml.c7i.xlarge", 0.25)


def test_a_shadow_gets_its_share_of_the_requests():
    deploy = deployed(shadow={"share": 0.2, "instance": "ml.m5.large"})
    (shadow,) = hosting.shadow_variants(deploy, "m")
    check("ShadowProductionVariants", [shadow])
    assert (shadow["variant_name"], shadow["initial_variant_weight"], shadow["instance_type"]) == (
        "Shadow",
        0.2,
        "ml.m5.large",
    )
    assert hosting.shadow_variants(deployed(), "m") == []


def test_an_async_endpoint_writes_below_its_own_prefix_and_tells_its_topics():
    deploy = deployed(endpoint="async", asynchronous={"concurrency": 3})
    assert hosting.asynchronous(deploy, "news", "s3://bucket", Topics("S", "E"), "key") == {
        "output_config": {
            "s3_output_path": "s3://bucket/async/news/output",
            "s3_failure_path": "s3://bucket/async/news/error",
            "notification_config": {"success_topic": "S", "error_topic": "E"},
            "kms_key_id": "key",
        },
        "client_config": {"max_concurrent_invocations_per_instance": 3},
    }
    assert hosting.asynchronous(deployed(), "news", "s3://bucket", Topics(), None) is None


def test_capture_goes_below_the_models_own_prefix():
    found = hosting.capture(deployed(capture={"percent": 7}), "news", "s3://bucket", None)
    check("DataCaptureConfig", found)
    assert (found["initial_sampling_percentage"], found["destination_s3_uri"]) == (7, "s3://bucket/capture/news")
    assert hosting.capture(deployed(), "news", "s3://bucket", None) is None


def test_what_requests_leave_in_the_bucket_is_removed_in_time():
    deploys = {
        "news": deployed(endpoint="async"),
        "queued": deployed(endpoint="async", asynchronous={"keep_days": 3}),
        "seen": deployed(capture={"percent": 1, "keep_days": 9}),
        "nightly": deployed(batch={"keep_days": 4}),
        "plain": deployed(),
    }
    kept = {"async/news/": 30, "async/queued/": 3, "capture/seen/": 9, "batch/nightly/": 4}
    assert hosting.kept_days(deploys) == kept


def test_a_container_is_closed_off_where_the_spec_or_the_stack_says_so():
    network = Surroundings(subnets=("subnet-1",), security_groups=("sg-1",))
    isolated = {"network": {"isolation": True}}
    assert hosting.network(deployed(), Surroundings()) == {}
    assert hosting.network(deployed(**isolated), network) == {
        "enable_network_isolation": True,
        "vpc_config": {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]},
    }
    assert hosting.network(deployed(endpoint="serverless"), network) == {}


def test_an_async_endpoint_gives_our_server_the_time_and_the_size_that_aws_allows_and_the_spec_may_say_otherwise():
    given = {"endpoint": "async", "environment": {"SLIPWAY_MAX_BODY_MB": "20", "A": "b"}}
    assert hosting.environment(deployed(**given)) == hosting.PATIENT | {"SLIPWAY_MAX_BODY_MB": "20", "A": "b"}
    assert hosting.environment(deployed(environment={"A": "b"})) == {"A": "b"}


def test_the_variables_of_an_async_endpoint_are_those_that_the_server_reads():
    from serving import settings

    known = {f"{settings.PREFIX}{field.name.upper()}" for field in dataclasses.fields(settings.Settings)}
    assert set(hosting.PATIENT) <= known
