"""What AWS and its Pulumi provider get wrong or do not say, each held by a guard of ours that these tests need.

docs/aws.md tells each trap with its source. `test_trap_…` fails without its guard.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pulumi
import pytest
from built_models import write_model
from recording_engine import DEPRECATED, LOOP, Recorder, deploying

from infra import alarms, hosting, model_endpoint, rollout, scaling, update_hooks
from infra.live import LiveEndpoint, LiveVariant
from localcloud.cloudwatch import expressions
from model_build.capacity import Capacity, path_of
from model_build.deployment import Deploy, Rollout, RolloutAlarms
from model_build.hosting_rules import problems

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]

RANGE = {"instances": {"min": 1, "max": 4}}
TWO = {"instances": {"min": 2, "max": 2}}


@pytest.fixture
def project(tmp_path):
    return tmp_path


@pytest.fixture
def deploy(project, monkeypatch):
    yield from deploying(project, monkeypatch)


def said(**settings):
    return {".".join(map(str, key)): message for key, message in problems(Deploy.model_validate(settings))}


def runs(desired, *, settings="of before", configured=1):
    variants = {"AllTraffic": LiveVariant(desired, configured, "ml.c7i.large")}
    return {"news-dev": LiveEndpoint("news-dev-0a1b2c3", variants=variants, settings=settings)}


def variants(recorder):
    return recorder.one("EndpointConfiguration").inputs["productionVariants"]


# --- updates ----------------------------------------------------------------------------------------------------------


def test_trap_an_update_that_sagemaker_rolled_back_is_no_success_and_says_why(project, deploy):
    """terraform-provider-aws#46663: the provider reports a success; its record says what is live."""
    write_model(project, "news")
    reason = "One or more alarms rang: news-dev-5xx."
    live = {"news-dev": LiveEndpoint("news-dev-old", reason=reason)}
    with pytest.raises(pulumi.RunError, match=r"rolled the update back.* news-dev-old.*: One or more alarms rang"):
        deploy(stack="dev", recorder=Recorder(live_configuration="news-dev-old", running=live))


def test_trap_a_rollback_that_the_provider_never_noticed_fails_the_next_run_too(project, deploy):
    """terraform-provider-aws#48997: a hook after the update would not run when the next run updates nothing."""
    write_model(project, "news")
    recorder = Recorder(running={"news-dev": LiveEndpoint("news-dev-old")})
    for _ in range(2):
        with pytest.raises(pulumi.RunError, match="it still runs news-dev-old"):
            deploy(stack="dev", recorder=recorder)


def test_trap_an_update_keeps_the_instances_that_run(project, deploy):
    """terraform-provider-aws#48990: every update starts with `initial_instance_count` again."""
    write_model(project, "news", deploy=RANGE)
    made, _ = deploy(stack="dev", preview=True, recorder=Recorder(running=runs(3)))
    assert variants(made)[0]["initialInstanceCount"] == 3


def test_trap_a_scaled_out_endpoint_is_not_updated_for_its_scale_alone(project, deploy):
    """The count is part of the configuration: carried over on every run, every change of scale would be an update."""
    write_model(project, "news", deploy=RANGE)
    first, _ = deploy(stack="dev", recorder=Recorder())
    settings = first.one("EndpointConfiguration").inputs["tags"]["slipway:settings"]
    again, _ = deploy(stack="dev", preview=True, recorder=Recorder(running=runs(3, settings=settings)))
    assert again.one("EndpointConfiguration").inputs == first.one("EndpointConfiguration").inputs


def test_trap_every_setting_of_what_runs_is_in_the_tag_that_tells_a_change_of_scale():
    """One that is not would start an update with the old count, however many instances run."""
    plain = hosting.Wanted(Deploy.model_validate(RANGE), "d", "i").fingerprint()
    changed = [
        {"instance": "ml.c7i.xlarge"},
        {"environment": {"A": "1"}},
        {"variants": {"B": {"weight": 0.1}}},
        {"shadow": {"share": 0.1}},
        {"capture": {"percent": 1}},
        {"network": {"isolation": True}},
        {"endpoint": "async"},
        {"endpoint": "async", "asynchronous": {"concurrency": 2}},
        {"endpoint": "async", "asynchronous": {"notify": True}},
    ]
    marks = {hosting.Wanted(Deploy.model_validate(RANGE | one), "d", "i").fingerprint() for one in changed}
    marks |= {hosting.Wanted(Deploy.model_validate(RANGE), *other).fingerprint() for other in (("e", "i"), ("d", "j"))}
    surroundings = hosting.Surroundings(subnets=("subnet-1",), security_groups=("sg-1",))
    for further in ({"surroundings": surroundings}, {"encrypted": True}, {"shadow_image": "k"}):
        marks.add(hosting.Wanted(Deploy.model_validate(RANGE), "d", "i", **further).fingerprint())
    assert plain not in marks
    assert len(marks) == len(changed) + 5
    same = {"instances": {"min": 1, "max": 9}, "autoscaling": {"target": 5}, "rollout": "canary"}
    assert hosting.Wanted(Deploy.model_validate(same), "d", "i").fingerprint() == plain


def test_trap_another_instance_type_registers_scaling_anew_after_it_was_released(project, deploy):
    """AWS, "Update endpoints that use auto scaling": refused while the variant is a scalable target."""
    write_model(project, "news", deploy=RANGE)
    made, _ = deploy(stack="dev")
    bound = made.one("Endpoint").request.hooks
    assert (list(bound.before_update), list(bound.on_error)) == (
        ["await-alarms", "release-scaling"],
        ["restore-scaling"],
    )
    target = made.one("Target").request
    assert target.replacement_trigger.string_value == "ml.c7i.large"
    # Deleted after its replacement was made, it would take the new registration along.
    assert target.deleteBeforeReplace


def test_trap_an_update_right_after_a_rollback_waits_for_the_alarm_that_still_rings(project, deploy, monkeypatch):
    """AWS, PutMetricAlarm: an alarm keeps its state when it is changed, and would roll the mended version back too."""
    write_model(project, "news", deploy=TWO | {"rollout": "canary"})
    made, _ = deploy(stack="dev")
    assert "await-alarms" in made.one("Endpoint").request.hooks.before_update
    inputs = made.one("Endpoint").inputs
    assert update_hooks.rollback_alarms(inputs) == ["news-dev-latency", "news-dev-5xx", "news-dev-model-errors"]
    monkeypatch.setattr(update_hooks, "POLL_SECONDS", 0)
    ringing = [["news-dev-5xx"], ["news-dev-5xx"], []]
    account = SimpleNamespace(ringing=lambda names: ringing.pop(0))
    LOOP.run_until_complete(update_hooks.until_quiet(account, "news-dev", ["news-dev-5xx"]))
    assert ringing == []
    # One that does not end, of another cause, keeps nobody from deploying the remedy.
    monkeypatch.setattr(update_hooks, "QUIET_SECONDS", -1)
    account = SimpleNamespace(ringing=lambda names: names)
    LOOP.run_until_complete(update_hooks.until_quiet(account, "news-dev", ["news-dev-5xx"]))


def test_trap_an_artifact_that_is_deployed_again_after_a_failed_update_is_not_deleted_with_it(project, deploy):
    """A replaced object is deleted by its key, also where that very key was uploaded anew in the meantime."""
    write_model(project, "news", artifact=b"one")
    first, _ = deploy(stack="dev")
    write_model(project, "news", artifact=b"two")
    second, _ = deploy(stack="dev")
    urns = {made.one("BucketObjectv2").request.name for made in (first, second)}
    assert len(urns) == 2


def test_trap_scaling_is_back_where_the_update_to_another_instance_type_was_rolled_back(project, deploy):
    """Released for the update, and nothing but the guard knows that the update never happened."""
    write_model(project, "news", deploy=RANGE)
    recorder = Recorder(live_configuration="news-dev-old", running={"news-dev": LiveEndpoint("news-dev-old")})
    with pytest.raises(pulumi.RunError, match="rolled the update back"):
        deploy(stack="dev", recorder=recorder)
    assert recorder.restored == ["news-dev"]
    assert recorder.of("Target") == []


def test_trap_a_configuration_has_no_fixed_name_and_goes_after_the_endpoint_has_moved(project, deploy):
    """terraform-provider-aws#48993, #40048: replaced under its own name, or deleted first, it breaks the update."""
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    for kind in ("EndpointConfiguration", "Model"):
        assert "name" not in made.one(kind).inputs
        assert not made.one(kind).request.deleteBeforeReplace


# --- rollouts ---------------------------------------------------------------------------------------------------------


def test_trap_alarms_and_rollback_are_there_from_the_first_deployment(project, deploy):
    """Adding auto_rollback_configuration later replaces the endpoint: minutes without service."""
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    config = made.one("Endpoint").inputs["deploymentConfig"]
    named = [alarm["alarmName"] for alarm in config["autoRollbackConfiguration"]["alarms"]]
    assert named == ["news-dev-latency", "news-dev-5xx", "news-dev-model-errors"]
    assert {made.inputs["name"] for made in made.of("MetricAlarm")} == set(named)
    assert "MetricAlarm" in made.needs("Endpoint")


def test_trap_no_setting_changes_which_alarms_there_are():
    """The list of alarms cannot be changed either without replacing the endpoint."""
    of_kinds = [
        rollout.deployment_config(Rollout(type=kind), [alarms.name("e", one) for one in alarms.KINDS["realtime"]])
        for kind in ("all-at-once", "canary", "linear", "rolling")
    ]
    assert len({json.dumps(config["auto_rollback_configuration"]) for config in of_kinds}) == 1


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"rollout": "canary"}, "rollout"),
        ({"rollout": "linear"}, "rollout"),
        ({"rollout": "rolling"}, "rollout"),
        ({"rollout": {"type": "linear", "size_percent": 9}, "instances": {"min": 2, "max": 2}}, "rollout.size_percent"),
        (
            {"rollout": {"type": "rolling", "size_percent": 4}, "instances": {"min": 2, "max": 2}},
            "rollout.size_percent",
        ),
        ({"rollout": "canary", "instances": {"min": 2, "max": 2}, "variants": {"B": {"weight": 1}}}, "rollout"),
    ],
)
def test_trap_parts_that_aws_refuses_are_refused_when_the_spec_is_checked(settings, key):
    """botocore: canary at most 50 %, linear 10 to 50 %, and one instance has no parts."""
    assert key in said(**settings)


def test_trap_a_canary_at_low_traffic_is_not_rolled_back_for_one_failed_request():
    """kortix-ai/suna#3408: without a minimum of requests, one error of two is 50 %."""
    alarm = alarms.alarm(
        "5xx",
        endpoint="e",
        endpoint_kind="realtime",
        limits=RolloutAlarms(),
        measured_p95_ms=1,
        variants=["AllTraffic"],
        configuration="c",
    )
    tree = expressions.parse(alarm["metric_queries"][-1]["expression"])
    few = expressions.evaluate(tree, {"e0": {0: 1.0}, "n0": {0: 2.0}}, [0])
    many = expressions.evaluate(tree, {"e0": {0: 50.0}, "n0": {0: 100.0}}, [0])
    assert few[0] <= alarm["threshold"] < many[0]


def test_trap_an_update_is_judged_by_the_new_instances_alone(project, deploy):
    """A canary of a tenth whose every third request fails is 3 % of all: the dimension tells the fleets apart."""
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    configuration = "news-dev-0a1b2c3"
    for alarm in made.of("MetricAlarm"):
        for query in alarm.inputs["metricQueries"][:-1]:
            assert query["metric"]["dimensions"]["EndpointConfigName"] == configuration
        assert any(urn.split("::")[-2].endswith("EndpointConfiguration") for urn in alarm.request.dependencies)


def test_trap_sagemaker_may_read_the_alarms_that_roll_back(project, deploy):
    """AWS, "Auto-Rollback Configuration": the execution role needs cloudwatch:DescribeAlarms."""
    write_model(project, "news")
    granted = json.loads(deploy(stack="dev")[0].one("RolePolicy").inputs["policy"])["Statement"]
    (found,) = [one for one in granted if one["Action"] == "cloudwatch:DescribeAlarms"]
    assert found["Resource"] == ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:news-dev-*"]


def test_trap_the_variants_name_is_constant_and_no_other_may_have_it():
    """AWS, "deployment-guardrails-exclusions": the names of before and after must be the same."""
    names = {hosting.production_variants(Deploy.model_validate(one), "m", 1)[0]["variant_name"] for one in (
        {}, {"instance": "ml.m5.large"}, {"endpoint": "serverless"}, {"endpoint": "async"}
    )}  # fmt: skip
    assert names == {"AllTraffic"}
    assert "variants.AllTraffic" in said(variants={"AllTraffic": {"weight": 1}})


@pytest.mark.parametrize(
    "settings", [{"endpoint": "serverless"}, TWO | {"variants": {"B": {"weight": 1, "instances": 2}}}]
)
def test_trap_rolling_updates_exclude_serverless_and_several_variants(settings):
    assert "rollout" in said(rollout="rolling", **settings)


# --- scaling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["invocations", "concurrency"])
def test_trap_an_async_endpoint_scales_on_its_backlog(metric):
    """philschmid/terraform-aws-sagemaker-huggingface#9: AWS publishes no InvocationsPerInstance of it."""
    assert "autoscaling.metric" in said(endpoint="async", autoscaling={"metric": metric, "target": 5})
    tracked = scaling.tracking(Deploy(endpoint="async"), "e", 5)["customized_metric_specification"]
    assert tracked["metric_name"] == "ApproximateBacklogSizePerInstance"


@pytest.mark.parametrize("kind", ["realtime", "serverless"])
def test_trap_only_an_async_endpoint_scales_to_zero(kind):
    assert "instances.min" in said(endpoint=kind, instances={"min": 0, "max": 1})
    assert "instances.min" not in said(endpoint="async", instances={"min": 0, "max": 1})


def test_trap_an_endpoint_that_sleeps_is_woken_by_a_policy_of_its_own(project, deploy):
    """Backlog of each instance is not published where there is none, so that target tracking never begins."""
    write_model(project, "news", deploy={"endpoint": "async", "instances": {"min": 0, "max": 2}})
    made, _ = deploy(stack="dev")
    (wake,) = [alarm for alarm in made.of("MetricAlarm") if alarm.inputs["name"] == "news-dev-wake"]
    assert wake.inputs["metricName"] == "HasBacklogWithoutCapacity"
    (action,) = wake.inputs["alarmActions"]
    assert action.endswith("news-dev-wake")


def evidence(project, manifest, **changes):
    found = {
        "name": manifest.name,
        "artifact": manifest.artifact.sha256,
        "instance": "ml.c7i.large",
        "environment": "staging",
        "max_rps": 40,
        "concurrency": 4,
        "latency_p50_ms": 20,
        "latency_p95_ms": 60,
        "measured": "2026-11-24",
    }
    path = path_of(manifest.name, project)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Capacity.model_validate(found | changes).to_json())


def test_trap_a_target_comes_from_evidence_of_this_very_artifact_and_instance_type(project, deploy):
    manifest = write_model(project, "news", deploy=RANGE | {"autoscaling": {"target": "auto"}})
    evidence(project, manifest)
    made, _ = deploy(stack="dev")
    tracked = made.one("Policy").inputs["targetTrackingScalingPolicyConfiguration"]
    assert tracked["targetValue"] == 40 * 0.5 * 60
    for changed, about in (
        ({"artifact": "a" * 64}, "of another artifact"),
        ({"instance": "ml.c7i.xlarge"}, "on ml.c7i.xlarge, and ml.c7i.large is asked for"),
        ({"environment": "local"}, "on this machine"),
    ):
        evidence(project, manifest, **changed)
        with pytest.raises(pulumi.RunError, match=rf"{about}.*slipway loadtest news --env ENV"):
            deploy(stack="dev")
    path_of("news", project).unlink()
    with pytest.raises(pulumi.RunError, match="there is no capacity evidence"):
        deploy(stack="dev")


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_trap_every_instance_has_a_startup_limit(project, deploy):
    """amazon-sagemaker-examples#3432: a bad artifact keeps an endpoint in Creating for an hour."""
    write_model(project, "news", deploy={"shadow": {"share": 0.1}})
    write_model(project, "fashion", deploy={"variants": {"B": {"weight": 0.5}}})
    made, _ = deploy(stack="dev")
    found = [
        variant
        for configuration in made.of("EndpointConfiguration")
        for key in ("productionVariants", "shadowProductionVariants")
        for variant in configuration.inputs.get(key, [])
    ]
    assert len(found) == 4
    assert {variant["containerStartupHealthCheckTimeoutInSeconds"] for variant in found} == {600}


def test_trap_the_deploying_role_may_deregister_scaling():
    """AWS, "endpoint-delete-with-scaling": without it everything works until an endpoint is to be deleted."""
    page = (Path(__file__).parents[2] / "docs/aws.md").read_text()
    policy = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    assert "application-autoscaling:DeregisterScalableTarget" in actions


@pytest.mark.parametrize(
    ("instance", "key"),
    [("ml.c7i.large", True), ("ml.c5d.large", False), ("ml.g5.xlarge", False), ("ml.m5.large", True)],
)
def test_trap_no_key_goes_to_instances_with_disks_of_their_own(project, deploy, instance, key):
    """CreateEndpointConfig, KmsKeyId: refused for Nitro instances with local storage."""
    write_model(project, "news", deploy={"instance": instance})
    arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
    made, _ = deploy(stack="dev", kms=arn)
    assert made.one("EndpointConfiguration").inputs.get("kmsKeyArn") == (arn if key else None)


def test_a_live_endpoint_as_wanted_passes_every_run():
    class Same:
        def endpoint(self, _name):
            return LiveEndpoint("wanted")

    model_endpoint.require_moved(Same(), "news-dev", "wanted", "wanted")
