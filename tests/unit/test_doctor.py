"""`slipway doctor`: each check, good and bad, on stubbed AWS clients whose answers botocore has validated."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from click.testing import CliRunner

from model_build.manifest import Deploy
from slipway import doctor
from slipway.commands.doctor import command
from slipway.stacks import StackFile

STACK = StackFile("prod", "eu-central-1", "123456789012", ())


class Manifest:
    """As much of a manifest as the checks of an account look at."""

    def __init__(self, **deploy: Any) -> None:
        self.deploy = Deploy.model_validate(deploy)

    def deployment(self, environment: str) -> Deploy:
        return self.deploy


class Clients:
    """boto3 clients that give prepared answers, and fail on any other request."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str], Any] = {}

    def __call__(self, service: str, region: str) -> Any:
        if (service, region) not in self.made:
            self.made[service, region] = boto3.client(
                service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x"
            )
        return self.made[service, region]

    def stub(self, service: str, region: str = STACK.region) -> Stubber:
        stubber = Stubber(self(service, region))
        stubber.activate()
        return stubber


@pytest.fixture
def clients() -> Clients:
    return Clients()


def findings(generator: Any) -> tuple[list[doctor.Finding], Any]:
    found = []
    while True:
        try:
            found.append(next(generator))
        except StopIteration as stop:
            return found, stop.value


def identity(date: datetime | None = None, account: str = STACK.account) -> dict[str, Any]:
    headers = {"date": format_datetime(date or datetime.now(UTC), usegmt=True)}
    return {
        "UserId": "AROAEXAMPLEEXAMPLE",
        "Account": account,
        "Arn": f"arn:aws:sts::{account}:assumed-role/deploy/me",
        "ResponseMetadata": {"HTTPHeaders": headers},
    }


def quota(instance: str, value: float) -> dict[str, Any]:
    return {"QuotaName": f"{instance} for endpoint usage", "QuotaCode": "L-0263FDBB", "Value": value}


def test_credentials_of_the_stacks_account_are_good_and_the_clock_agrees(clients: Clients) -> None:
    clients.stub("sts").add_response("get_caller_identity", identity())
    found, account = findings(doctor.credentials(STACK, clients))
    assert account == STACK.account
    assert [(finding.check, finding.state) for finding in found] == [("clock", "good"), ("credentials", "good")]


def test_credentials_of_another_account_are_a_problem_that_names_both(clients: Clients) -> None:
    clients.stub("sts").add_response("get_caller_identity", identity(account="999999999999"))
    found, account = findings(doctor.credentials(STACK, clients))
    assert account is None
    assert found[-1].state == "problem"
    assert "999999999999" in found[-1].detail and STACK.account in found[-1].detail


def test_credentials_that_aws_refuses_are_a_problem_with_the_way_to_log_in(clients: Clients) -> None:
    clients.stub("sts").add_client_error("get_caller_identity", "ExpiredToken", "The security token has expired")
    (finding,), account = findings(doctor.credentials(STACK, clients))
    assert account is None
    assert (finding.state, "has expired" in finding.detail) == ("problem", True)
    assert "aws sso login" in finding.next_step


@pytest.mark.parametrize(("minutes", "word"), [(6, "behind"), (-6, "ahead")])
def test_a_clock_that_is_minutes_off_is_a_problem_that_says_which_way(
    clients: Clients, minutes: int, word: str
) -> None:
    clients.stub("sts").add_response("get_caller_identity", identity(datetime.now(UTC) + timedelta(minutes=minutes)))
    found, _ = findings(doctor.credentials(STACK, clients))
    assert (found[0].check, found[0].state) == ("clock", "problem")
    assert word in found[0].detail


@pytest.mark.parametrize(("value", "state"), [(3, "problem"), (4, "warning"), (7, "warning"), (8, "good")])
def test_a_quota_must_hold_all_models_and_twice_that_for_an_update(clients: Clients, value: float, state: str) -> None:
    models: Any = {
        "a": Manifest(instance="ml.c7i.large", instances={"min": 1, "max": 3}),
        "b": Manifest(instance="ml.c7i.large"),
    }
    clients.stub("service-quotas").add_response(
        "list_service_quotas", {"Quotas": [quota("ml.c7i.large", value), quota("ml.m5.large", 1)]}
    )
    (finding,) = doctor.quotas(models, STACK, clients)
    assert (finding.check, finding.state) == ("quota ml.c7i.large", state)
    assert ("--desired-value 8" in finding.next_step) == (state != "good")


def test_an_instance_type_that_the_region_lacks_is_a_problem(clients: Clients) -> None:
    models: Any = {"a": Manifest(instance="ml.c7i.large")}
    clients.stub("service-quotas").add_response("list_service_quotas", {"Quotas": [quota("ml.m5.large", 4)]})
    (finding,) = doctor.quotas(models, STACK, clients)
    assert (finding.state, "offers no ml.c7i.large" in finding.detail) == ("problem", True)


def test_quotas_that_may_not_be_read_are_skipped_with_the_permission_that_is_missing(clients: Clients) -> None:
    models: Any = {"a": Manifest(instance="ml.c7i.large")}
    clients.stub("service-quotas").add_client_error("list_service_quotas", "AccessDeniedException", "not authorized")
    (finding,) = doctor.quotas(models, STACK, clients)
    assert (finding.state, finding.next_step) == (
        "skipped",
        "allow servicequotas:ListServiceQuotas to see them",
    )


@pytest.mark.parametrize("there", [True, False])
def test_an_image_is_looked_up_in_its_own_registry_and_region(clients: Clients, there: bool) -> None:
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/slim:7"
    failure = {"failureCode": "ImageNotFound", "failureReason": "Requested image not found"}
    clients.stub("ecr", "eu-west-1").add_response(
        "batch_get_image",
        {"images": [{"repositoryName": "team/slim"}] if there else [], "failures": [] if there else [failure]},
        {"registryId": "123456789012", "repositoryName": "team/slim", "imageIds": [{"imageTag": "7"}]},
    )
    models: Any = {"a": Manifest(image=image)}
    (finding,) = doctor.images(models, STACK, clients)
    assert finding.state == ("good" if there else "problem")
    assert there or "Requested image not found" in finding.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config: {}\n", ["slipway:region is not set", "slipway:account is not set"]),
        (
            'config: {"slipway:region": nowhere, "slipway:account": 12}\n',
            ["slipway:region is 'nowhere', which cannot be", "slipway:account is '12', which cannot be"],
        ),
        ("config: [\n", ["cannot be read"]),
    ],
)
def test_a_stack_file_that_lacks_something_is_told_key_by_key(tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text(text)
    found, stack = findings(doctor.configuration(tmp_path, "prod"))
    assert stack is None
    assert len(found) == len(said)
    for finding, words in zip(found, said, strict=True):
        assert finding.state == "problem" and words in finding.detail and finding.next_step


def test_a_stack_without_a_file_says_how_to_make_it(tmp_path: Path) -> None:
    (finding,), stack = findings(doctor.configuration(tmp_path, "prod"))
    assert (stack, finding.next_step) == (None, "pulumi stack init prod")


def test_a_region_without_sagemaker_is_a_warning() -> None:
    (known,), (unknown,) = doctor._served("eu-central-1"), doctor._served("xx-nowhere-1")
    assert (known.state, unknown.state) == ("good", "warning")


def test_models_that_are_not_built_are_each_a_problem_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "specs" / f"{name}.yaml").write_text("name: x\n")
    found, models = findings(doctor.built(tmp_path, "local"))
    assert models == {}
    assert [(finding.state, finding.next_step) for finding in found] == [
        ("problem", "slipway build one"),
        ("problem", "slipway build two"),
    ]


def test_a_shell_that_points_at_the_local_aws_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    (finding,) = doctor.detached()
    assert finding.state == "problem"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert list(doctor.detached()) == []


def test_the_command_exits_1_with_a_problem_and_tells_all_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--json"], obj=tmp_path)
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    (finding,) = [finding for finding in told["findings"] if finding["check"] == "models"]
    assert finding == {
        "check": "models",
        "state": "problem",
        "detail": "there are no specs",
        "next_step": "write one: slipway init NAME",
    }
