import pytest
from botocore.session import get_session
from botocore.validate import validate_parameters

from infra import rollout
from model_build.deployment import Rollout


def api(value):
    """Arguments of pulumi_aws as the API's."""
    if isinstance(value, list):
        return [api(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {"".join(word.capitalize() for word in key.split("_")): api(each) for key, each in value.items()}


@pytest.mark.parametrize("kind", ["all-at-once", "canary", "linear", "rolling"])
def test_every_kind_is_what_aws_takes(kind):
    shape = get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    validate_parameters(api(rollout.deployment_config(Rollout(type=kind), ["a"])), shape)


@pytest.mark.parametrize(
    ("given", "routing"),
    [
        (Rollout(), {"type": "ALL_AT_ONCE", "wait_interval_in_seconds": 300}),
        (
            Rollout(type="canary", interval="10m"),
            {
                "type": "CANARY",
                "wait_interval_in_seconds": 600,
                "canary_size": {"type": "CAPACITY_PERCENT", "value": 10},
            },
        ),
        (
            Rollout(type="linear", size_percent=50),
            {
                "type": "LINEAR",
                "wait_interval_in_seconds": 300,
                "linear_step_size": {"type": "CAPACITY_PERCENT", "value": 50},
            },
        ),
    ],
)
def test_a_blue_green_update_routes_as_its_kind_says(given, routing):
    policy = rollout.deployment_config(given, [])["blue_green_update_policy"]
    assert policy["traffic_routing_configuration"] == routing


def test_a_rolling_update_replaces_batches_and_goes_back_at_once():
    policy = rollout.deployment_config(Rollout(type="rolling", size_percent=20), [])["rolling_update_policy"]
    assert policy["maximum_batch_size"] == {"type": "CAPACITY_PERCENT", "value": 20}
    assert policy["rollback_maximum_batch_size"] == {"type": "CAPACITY_PERCENT", "value": 100}


def test_the_old_instances_stay_for_the_bake():
    policy = rollout.deployment_config(Rollout(bake="15m"), [])["blue_green_update_policy"]
    assert policy["termination_wait_in_seconds"] == 900


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (Rollout(interval="1s"), 3601),
        (Rollout(type="canary", interval="10m", bake="5m"), 2 * 600 + 300 + 3600),
        (Rollout(type="linear", size_percent=10, interval="45m"), 28_800),
    ],
)
def test_the_update_has_time_for_its_waits_and_for_instances_to_start(given, seconds):
    assert rollout.timeout(given) == seconds


def test_the_alarms_are_named():
    config = rollout.deployment_config(Rollout(), ["x", "y"])
    assert config["auto_rollback_configuration"] == {"alarms": [{"alarm_name": "x"}, {"alarm_name": "y"}]}
