import pytest

from infra import scaling
from infra.live import LiveEndpoint, LiveVariant
from model_build.deployment import Deploy


def deployed(**settings):
    return Deploy.model_validate(settings)


def live(desired, configured=1, settings=None, digest="d"):
    return LiveEndpoint(
        "c", variants={"AllTraffic": LiveVariant(desired, configured)}, settings=settings, digest=digest
    )


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 1, False), (2, 2, False), (1, 2, True)])
def test_only_a_range_scales(least, most, expected):
    assert scaling.scales(deployed(instances={"min": least, "max": most})) is expected


def test_a_timetable_scales_too_and_a_serverless_endpoint_never():
    timetable = {"schedule": [{"cron": "0 8 ? * MON-FRI *", "min": 2}]}
    assert scaling.scales(deployed(autoscaling=timetable))
    assert not scaling.scales(deployed(endpoint="serverless", instances={"min": 1, "max": 3}))


def test_a_new_configuration_starts_with_the_minimum():
    assert scaling.initial_count(deployed(instances={"min": 2, "max": 12}), None, "s", "d") == 2


@pytest.mark.parametrize(("desired", "count"), [(1, 2), (5, 5), (40, 12)])
def test_an_update_starts_with_what_runs_within_the_range(desired, count):
    deploy = deployed(instances={"min": 2, "max": 12})
    assert scaling.initial_count(deploy, live(desired, settings="before"), "s", "d") == count


def test_where_only_the_scale_changed_the_configuration_stays_as_it_is():
    deploy = deployed(instances={"min": 1, "max": 4})
    assert scaling.initial_count(deploy, live(3, configured=1, settings="s"), "s", "d") == 1


@pytest.mark.parametrize(("digest", "count"), [("d", 1), ("other", 3)])
def test_a_configuration_of_before_the_tag_is_told_by_its_artifact(digest, count):
    deploy = deployed(instances={"min": 1, "max": 4})
    assert scaling.initial_count(deploy, live(3, settings=None, digest=digest), "s", "d") == count


def test_a_fixed_count_is_what_the_spec_says():
    assert scaling.initial_count(deployed(instances={"min": 2, "max": 2}), live(5), "s", "d") == 2


def test_an_endpoint_that_slept_or_failed_starts_with_one():
    deploy = deployed(endpoint="async", instances={"min": 0, "max": 4})
    assert scaling.initial_count(deploy, None, "s", "d") == 1
    assert scaling.initial_count(deploy, live(0, settings="before"), "s", "d") == 1
    assert scaling.initial_count(deploy, LiveEndpoint("c", "Failed"), "s", "d") == 1


def test_the_target_is_the_metrics_own_the_specs_or_what_a_load_test_found():
    assert scaling.target(deployed(), None) == 600
    assert scaling.target(deployed(endpoint="async"), None) == 5
    assert scaling.target(deployed(autoscaling={"target": 90}), None) == 90
    assert scaling.target(deployed(autoscaling={"target": "auto"}), 1234) == 1234


def test_each_metric_is_tracked_as_aws_names_it():
    def specification(**settings):
        config = scaling.tracking(deployed(**settings), "news-dev", 5)
        (found,) = (config[key] for key in config if key.endswith("specification"))
        return found

    assert specification() == {"predefined_metric_type": "SageMakerVariantInvocationsPerInstance"}
    assert specification(autoscaling={"metric": "concurrency", "target": 5}) == {
        "predefined_metric_type": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }
    assert specification(endpoint="async") == {
        "namespace": "AWS/SageMaker",
        "metric_name": "ApproximateBacklogSizePerInstance",
        "statistic": "Average",
        "dimensions": [{"name": "EndpointName", "value": "news-dev"}],
    }
    of_processor = {"namespace": "/aws/sagemaker/Endpoints", "name": "CPUUtilization"}
    assert specification(autoscaling={"metric": of_processor, "target": 60})["dimensions"] == [
        {"name": "EndpointName", "value": "news-dev"},
        {"name": "VariantName", "value": "AllTraffic"},
    ]


def test_steps_ring_above_the_target_and_their_bounds_meet():
    steps = [{"above": 100, "add": 1}, {"above": 400, "add": 3}]
    (found,) = scaling.step_policies(deployed(autoscaling={"steps": steps}), "news-dev", 600)
    assert (found.alarm["threshold"], found.alarm["metric_name"]) == (700, "InvocationsPerInstance")
    assert found.policy["step_adjustments"] == [
        {"metric_interval_lower_bound": "0", "metric_interval_upper_bound": "300", "scaling_adjustment": 1},
        {"metric_interval_lower_bound": "300", "scaling_adjustment": 3},
    ]


def test_high_resolution_steps_are_judged_every_ten_seconds():
    given = {"metric": "concurrency", "target": 4, "steps": [{"above": 0, "add": 2}]}
    (found,) = scaling.step_policies(deployed(autoscaling=given), "news-dev", 4)
    assert (found.alarm["period"], found.alarm["metric_name"]) == (10, "ConcurrentRequestsPerModel")


@pytest.mark.parametrize(
    ("settings", "woken"),
    [
        ({"instances": {"min": 0, "max": 2}}, True),
        ({"instances": {"min": 1, "max": 2}}, False),
        (
            {
                "instances": {"min": 1, "max": 2},
                "autoscaling": {"schedule": [{"cron": "0 20 * * ? *", "min": 0, "max": 0}]},
            },
            True,
        ),
    ],
)
def test_what_may_sleep_is_woken_by_a_backlog(settings, woken):
    found = scaling.step_policies(deployed(endpoint="async", **settings), "news-dev", 5)
    assert [policy.alarm["metric_name"] for policy in found] == ["HasBacklogWithoutCapacity"] * woken


def test_a_timetable_becomes_scheduled_actions_with_their_time_zone():
    timetable = [
        {"cron": "0 8 ? * MON-FRI *", "timezone": "Europe/Berlin", "min": 2, "max": 8},
        {"at": "2027-01-04T06:00:00", "min": 1},
    ]
    assert scaling.scheduled_actions(deployed(autoscaling={"schedule": timetable}), "news-dev") == {
        "news-dev-schedule-0": {
            "schedule": "cron(0 8 ? * MON-FRI *)",
            "timezone": "Europe/Berlin",
            "scalable_target_action": {"min_capacity": 2, "max_capacity": 8},
        },
        "news-dev-schedule-1": {
            "schedule": "at(2027-01-04T06:00:00)",
            "timezone": "UTC",
            "scalable_target_action": {"min_capacity": 1},
        },
    }
