import json
from pathlib import Path

import pulumi
import pytest
import yaml

from infra.settings import KEYS, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
LOCAL = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}


@pytest.fixture
def configure(tmp_path):
    """Sets the stack and its `slipway:` keys as the engine would."""

    def apply(stack, **config):
        pulumi.runtime.configure(pulumi.runtime.Settings(project="slipway", stack=stack, root_directory=str(tmp_path)))
        pulumi.runtime.set_all_config({f"slipway:{key}": value for key, value in config.items()})

    yield apply
    pulumi.runtime.set_all_config({})


def problems(environment):
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)
    return caught.value.problems


def test_a_stack_on_aws_is_read_into_one_frozen_object(configure, tmp_path):
    configure(
        "dev", region="eu-west-1", account="123456789012", tags='{"team": "search"}', models='["reviews"]', build=""
    )
    settings = read_settings({})
    assert (settings.stack, settings.region, settings.account) == ("dev", "eu-west-1", "123456789012")
    assert (settings.tags, settings.models) == ({"team": "search"}, ("reviews",))
    assert settings.build_directory == tmp_path / "build"
    assert settings.endpoint_url is None
    with pytest.raises(ValueError, match="frozen"):
        settings.region = "us-east-1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "[::1]"])
def test_the_local_stack_takes_a_loopback_endpoint(configure, host):
    configure("local", region="us-east-1")
    assert read_settings({"AWS_ENDPOINT_URL": f"http://{host}:4566"}).endpoint_url == f"http://{host}:4566"


def test_the_local_stack_without_a_local_aws_names_both_ways_to_start_it_and_the_line_to_run(configure):
    configure("local", region="us-east-1")
    (problem,) = problems({})
    assert "`make up`" in problem
    assert "`slipway local start`" in problem
    assert 'eval "$(.venv/bin/slipway env)"' in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:4566",
        "https://sagemaker.us-east-1.amazonaws.com",
        "http://127.0.0.1.evil.example",
        "ftp://127.0.0.1",
    ],
)
def test_the_local_stack_never_deploys_to_another_machine(configure, url):
    configure("local", region="us-east-1")
    (problem,) = problems({"AWS_ENDPOINT_URL": url})
    assert url in problem
    assert "this machine alone" in problem


def test_a_stack_on_aws_is_never_sent_to_the_local_aws_by_a_forgotten_variable(configure):
    configure("dev", region="us-east-1", account="123456789012")
    (problem,) = problems(LOCAL)
    assert "unset AWS_ENDPOINT_URL" in problem


def test_an_endpoint_inside_a_private_network_is_left_to_the_provider(configure):
    configure("dev", region="us-east-1", account="123456789012")
    assert read_settings({"AWS_ENDPOINT_URL": "https://vpce-1.example"}).endpoint_url is None


def test_a_stack_on_aws_must_name_its_account(configure):
    configure("prod", region="us-east-1", account="")
    (problem,) = problems({})
    assert "slipway:account" in problem
    assert "pulumi config set" in problem


def test_every_problem_is_told_at_once(configure):
    configure(
        "dev",
        region="Europe",
        account="12",
        tags="team",
        models="reviews",
        noncurrent_days="0",
        build="../b",
        regoin="x",
    )
    found = "\n".join(problems(LOCAL))
    for key in ("region", "account", "tags", "models", "noncurrent_days", "build", "regoin"):
        assert f"slipway:{key}: " in found
    assert "AWS_ENDPOINT_URL" in found
    assert len(problems(LOCAL)) == 8


def test_a_region_that_is_not_set_says_how_to_set_it(configure):
    configure("local")
    assert problems(LOCAL) == ["slipway:region: not set; run: pulumi config set slipway:region VALUE"]


@pytest.mark.parametrize("stack", ["Dev", "a" * 23, "dev-", "1dev"])
def test_a_stack_name_that_no_endpoint_can_bear_is_refused(configure, stack):
    configure(stack, region="us-east-1", account="123456789012")
    (problem,) = problems({})
    assert problem.startswith(f"stack '{stack}':")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({f"key{number}": "" for number in range(8)}, "at most 7"),
        ({"aws:owner": "x"}, "taken"),
        ({"slipway:model": "x"}, "taken"),
        ({"team": "a→b"}, "as AWS demands"),
    ],
)
def test_tags_that_aws_would_refuse_are_refused_first(configure, tags, said):
    configure("dev", region="us-east-1", account="123456789012", tags=json.dumps(tags))
    (problem,) = problems({})
    assert said in problem


def test_the_choice_of_a_plugin_belongs_to_the_local_cloud(configure):
    configure("local", region="us-east-1", plugin="official")
    assert read_settings(LOCAL).plugin == "official"
    configure("dev", region="us-east-1", account="123456789012", plugin="official")
    (problem,) = problems({})
    assert "pulumi config rm slipway:plugin" in problem


def test_pulumi_yaml_declares_exactly_the_keys_that_are_read():
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert sorted(declared) == sorted(KEYS)
    assert all(key["description"] for key in declared.values())


@pytest.mark.parametrize("stack", ["local", "dev", "staging", "prod"])
def test_every_shipped_stack_lets_no_default_provider_in(stack):
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    assert config["pulumi:disable-default-providers"] == ["aws"]
    assert {key.partition(":")[2] for key in config if key.startswith("slipway:")} <= set(KEYS)


def test_what_a_stack_may_have_beyond_the_least_is_read(configure):
    configure(
        "dev",
        region="us-east-1",
        account="123456789012",
        kms="true",
        subnets='["subnet-0a1b2c3d"]',
        security_groups='["sg-0a1b2c3d"]',
        access_logs="my-logs",
        object_lock_days="30",
        alarm_topic="arn:aws:sns:us-east-1:123456789012:ops",
        dashboards="false",
        monthly_budget="250.5",
        budget_emails='["ops@example.com"]',
    )
    settings = read_settings({})
    assert (settings.kms, settings.object_lock_days, settings.monthly_budget) == ("true", 30, 250.5)
    assert (settings.subnets, settings.security_groups) == (("subnet-0a1b2c3d",), ("sg-0a1b2c3d",))
    assert not settings.charted
    assert settings.watched


def test_alarms_and_dashboards_are_there_on_aws_and_not_on_this_machine(configure):
    configure("local", region="us-east-1")
    local = read_settings(LOCAL)
    assert not (local.watched or local.charted)
    configure("local", region="us-east-1", dashboards="true")
    assert read_settings(LOCAL).charted


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kms": "alias/mine"}, "slipway:kms: 'alias/mine' is neither true nor the ARN of a KMS key"),
        ({"alarm_topic": "ops"}, "slipway:alarm_topic: 'ops' is neither true nor the ARN of an SNS topic"),
        ({"subnets": '["vpc-1"]', "security_groups": '["sg-0a1b2c3d"]'}, "slipway:subnets.0: 'vpc-1' is no id"),
        ({"subnets": '["subnet-0a1b2c3d"]'}, "a network needs both"),
        ({"monthly_budget": "100"}, "nobody would be told"),
        ({"budget_emails": '["ops"]'}, "'ops' is no e-mail address"),
        ({"object_lock_days": "0"}, "slipway:object_lock_days"),
    ],
)
def test_what_aws_would_refuse_of_it_is_refused_first(configure, config, said):
    configure("dev", region="us-east-1", account="123456789012", **config)
    (problem,) = problems({})
    assert said in problem


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_that_is_rehearsed_in_the_local_cloud_keeps_the_rules_of_its_name(configure, stack):
    configure(stack, region="us-east-1", cloud="local")
    settings = read_settings(LOCAL)
    assert settings.local
    assert settings.endpoint_url == LOCAL["AWS_ENDPOINT_URL"]
    assert settings.production == (stack == "prod")
    configure(stack, region="us-east-1", cloud="local")
    (problem,) = problems({"AWS_ENDPOINT_URL": "https://sagemaker.us-east-1.amazonaws.com"})
    assert f"the stack '{stack}' deploys to this machine alone" in problem


def test_cloud_aws_is_what_it_is_without_saying_so_and_local_is_never_there(configure):
    configure("dev", region="us-east-1", cloud="aws", account="123456789012")
    assert not read_settings({}).local
    (problem,) = problems(LOCAL)
    assert "is on AWS" in problem
    configure("local", region="us-east-1", cloud="aws")
    assert any("slipway:cloud" in problem for problem in problems(LOCAL))
    configure("dev", region="us-east-1", cloud="moon", account="123456789012")
    assert any("slipway:cloud" in problem for problem in problems({}))


def test_a_pull_requests_stack_is_disposable_and_unwatched(configure):
    configure("pr-12", region="us-east-1", account="123456789012")
    settings = read_settings({})
    assert settings.preview and settings.disposable
    assert not (settings.watched or settings.charted or settings.production)
    for name in ("pr-0", "pr-x", "pr-1-2", "dev"):
        configure(name, region="us-east-1", account="123456789012")
        assert not read_settings({}).preview
