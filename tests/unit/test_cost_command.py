"""`slipway cost` as a user sees it: figures of each environment, reasons, budgets, exit codes."""

import json

import pytest

from infra import prices
from infra.prices import Part, RegionPrices, Table
from slipway import cli

SPEC = """name: model
task: tensor
tensor: {{inputs: {{x: {{shape: [2]}}}}}}
source: {{onnx: {{path: model.onnx}}}}
optimize: {{candidates: [[]]}}
deploy:
  instances: {{min: 1, max: 2}}
{deploy}
environments:
  prod:
    deploy:
      instances: {{min: 2, max: 4}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    part = {"date": "2026-01-02", "source": "a test"}
    region = RegionPrices(
        instances=Part(**part, prices={"ml.c7i.large": 0.1}), storage_months=Part(**part, prices={"s3": 0.02})
    )
    monkeypatch.setattr(prices, "committed", lambda: Table(regions={"eu-west-1": region}))
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    for name, where in (("dev", "eu-west-1"), ("prod", "eu-west-1"), ("local", "us-east-1")):
        (tmp_path / f"Pulumi.{name}.yaml").write_text(f"config: {{slipway:region: {where}}}\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"x")
    return tmp_path


def cost(project, *arguments, deploy=""):
    (project / "specs/model.yaml").write_text(SPEC.format(deploy=deploy))
    return cli.run(["--root", str(project), "cost", *arguments])


def test_every_environment_but_local_is_told_with_its_own_range(project, capsys):
    assert cost(project) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["dev", "model", "$73.00", "unknown", "$146.00", "–"] in lines
    assert ["prod", "model", "$146.00", "unknown", "$292.00", "–"] in lines
    assert not [line for line in lines if line and line[0] == "local"]


def test_what_is_unknown_is_said_and_so_are_the_days_of_the_prices(project, capsys):
    cost(project, "--env", "dev")
    said = capsys.readouterr().out
    assert "unknown: the traffic is not stated: give deploy.traffic" in said
    assert "Prices of eu-west-1 (dev), read: instances 2026-01-02" in said


def test_a_budget_that_is_exceeded_exits_1_and_names_model_environment_and_figures(project, capsys):
    assert cost(project, deploy="  budget: {monthly_usd: 200}") == 1
    said = capsys.readouterr()
    assert "model in prod: costs $292.00 a month at most" in said.err
    assert "model in dev" not in said.err
    assert "$200.00" in said.out


def test_a_region_without_prices_is_unknown_and_refused_where_there_is_a_budget(project, capsys):
    assert cost(project, "--env", "local") == 0
    assert "no price of ml.c7i.large in us-east-1" in capsys.readouterr().out
    assert cost(project, "--env", "local", deploy="  budget: {monthly_usd: 1000000}") == 1
    assert "what the model costs is unknown (no price of ml.c7i.large in us-east-1" in capsys.readouterr().err


def test_programs_get_one_object(project, capsys):
    assert cost(project, "model", "--env", "prod", "--json", deploy="  traffic: {requests_per_minute: 1700}") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["environments"]["prod"]["models"]["model"] == {"min": 146, "expected": 219, "max": 292}
    assert told["environments"]["prod"]["prices"]["instances"] == "2026-01-02"
    assert told["over_budget"] == []


def test_an_environment_without_a_stack_or_a_region_is_a_clear_message(project, capsys):
    assert cost(project, "--env", "nowhere") == 1
    assert "there is no stack 'nowhere'" in capsys.readouterr().err
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    assert cost(project, "--env", "dev") == 1
    assert "pulumi config set slipway:region" in capsys.readouterr().err


def test_a_stack_that_holds_some_models_is_told_those(project, capsys):
    (project / "Pulumi.dev.yaml").write_text("config: {slipway:region: eu-west-1, slipway:models: [other]}\n")
    assert cost(project, "--env", "dev") == 0
    assert "model" not in capsys.readouterr().out.splitlines()[1]
