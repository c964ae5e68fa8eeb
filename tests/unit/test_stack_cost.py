"""Cost, budgets and our own image in the whole program, under Pulumi's mocks."""

import json
from pathlib import Path

import pulumi
import pytest
from built_models import write_model
from recording_engine import ACCOUNT, DEPRECATED, deploying

from infra import own_image, prices, stack_cost
from infra.prices import Part, RegionPrices, Table
from infra.settings import Settings

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]


@pytest.fixture
def project(tmp_path):
    return tmp_path


@pytest.fixture
def deploy(project, monkeypatch):
    yield from deploying(project, monkeypatch)


@pytest.fixture(autouse=True)
def priced(monkeypatch):
    """Prices of this test's own, so that a refresh of the committed table changes nothing here."""
    part = {"date": "2026-01-02", "source": "a test"}
    region = RegionPrices(
        instances=Part(**part, prices={"ml.c7i.large": 0.1}), storage_months=Part(**part, prices={"s3": 0.02})
    )
    monkeypatch.setattr(stack_cost, "committed", lambda: Table(regions={"eu-west-1": region}))


def test_the_stack_says_what_each_model_and_all_of_them_cost(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 3}})
    write_model(project, "fashion", deploy={"instance": "ml.p9.large"})
    _, outputs = deploy(stack="dev")
    told = outputs["cost"]
    assert told["models"]["news"]["min"] == 73
    assert told["models"]["news"]["max"] == 219
    assert told["models"]["fashion"]["min"] == "unknown"
    assert told["total"]["max"] == "unknown"


def test_a_model_over_its_budget_stops_the_program_with_the_figures(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 3}, "budget": {"monthly_usd": 100}})
    with pytest.raises(
        pulumi.RunError, match=r"specs/news.yaml: deploy.budget: costs \$219.00 a month at most \(min \$73"
    ):
        deploy(stack="dev")


def test_traffic_that_fits_the_budget_lets_it_through(project, deploy):
    settings = {
        "instances": {"min": 1, "max": 3},
        "traffic": {"requests_per_minute": 100},
        "budget": {"monthly_usd": 80},
    }
    write_model(project, "news", deploy=settings)
    assert deploy(stack="dev")[1]["cost"]["models"]["news"]["expected"] == 73


def test_a_budget_of_a_model_whose_price_is_unknown_stops_the_program_too(project, deploy):
    write_model(project, "news", deploy={"instance": "ml.p9.large", "budget": {"monthly_usd": 1e9}})
    with pytest.raises(pulumi.RunError, match=r"unknown \(no price of ml.p9.large in eu-west-1"):
        deploy(stack="dev")


def test_a_broken_price_table_makes_costs_unknown_and_breaks_no_deployment(project, monkeypatch):
    from infra.manifests import find_models

    write_model(project, "news")
    settings = Settings(stack="dev", root=project, region="eu-west-1", account=ACCOUNT)
    monkeypatch.setattr(stack_cost, "committed", lambda: prices.read(Path("/nonexistent")))
    (cost,) = stack_cost.of_models(find_models(settings, []), settings).values()
    assert cost.maximum is None
    assert "restore it from git" in cost.reasons[0]


def test_our_own_image_brings_a_repository_and_is_pulled_from_it_by_the_digest_of_the_code(project, deploy):
    write_model(project, "news", deploy={"image": "own"})
    made, _ = deploy(stack="dev")
    repository = made.one("Repository").inputs
    assert repository["name"] == "slipway-serving-dev"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["encryptionConfigurations"] == [{"encryptionType": "KMS"}]
    assert len(json.loads(made.one("LifecyclePolicy").inputs["policy"])["rules"]) == 2
    uri = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/slipway-serving-dev:{own_image.tag()}"
    assert made.one("Model").inputs["primaryContainer"]["image"] == uri
    granted = json.loads(made.one("RolePolicy").inputs["policy"])["Statement"]
    (pull,) = [item for item in granted if item["Sid"] == "PullImage"]
    assert pull["Resource"] == f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/slipway-serving-dev"


def test_without_a_model_that_wants_it_there_is_no_repository(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    assert made.of("Repository") == made.of("LifecyclePolicy") == []


def test_our_repository_is_protected_in_production_alone(project, deploy):
    write_model(project, "news", deploy={"image": "own", "instances": {"min": 2, "max": 2}})
    assert deploy(stack="prod")[0].one("Repository").request.protect
    assert not deploy(stack="dev")[0].one("Repository").request.protect
