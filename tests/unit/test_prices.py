"""The price table, and its refresh against a stub of the Price List API that checks every request as botocore does."""

import json
from datetime import date

import boto3
import pytest
from botocore.stub import Stubber

from infra import price_refresh, prices
from infra.prices import Part, RegionPrices, Table, TableError
from slipway import cli

TODAY = date(2026, 11, 24)


def product(price, unit="Hrs", tiers=(), **attributes):
    dimensions = {
        f"tier{index}": {"unit": unit, "beginRange": begin, "pricePerUnit": {"USD": usd}}
        for index, (begin, usd) in enumerate(tiers or [("0", price)])
    }
    return json.dumps(
        {"product": {"attributes": attributes}, "terms": {"OnDemand": {"T": {"priceDimensions": dimensions}}}}
    )


def hosting(name, price):
    return product(price, component="Hosting", instanceName=name, usagetype=f"EU-Host:{name}")


SAGEMAKER = [
    hosting("ml.c7i.xlarge", "0.2400"),
    product("9.9", component="Training", instanceName="ml.c7i.large", usagetype="EU-Train:ml.c7i.large"),
    product("0.00008", unit="seconds", usagetype="EU-ServerlessInf:Mem-4GB"),
    product("0", component="Hosting", instanceName="ml.free.large"),
    product("0.016", unit="GB", component="Hosting", usagetype="EU-Hst:Data-Bytes-Out"),
]
SECOND_PAGE = [
    product("0.1200", component="Hosting", instanceType="ml.c7i.large-Hosting", usagetype="EU-Host:ml.c7i.large")
]
STORAGE = [
    product("", unit="GB-Mo", tiers=[("512000", "0.021"), ("0", "0.0230")], usagetype="EU-TimedStorage-ByteHrs"),
    product("0.01", unit="GB-Mo", usagetype="EU-TimedStorage-SIA-ByteHrs"),
]


def term(field, value):
    return {"Type": "TERM_MATCH", "Field": field, "Value": value}


@pytest.fixture
def pricing():
    """A real client whose answers are queued; it sends nothing."""
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield client, stub


def queue(stub, region, sagemaker=SAGEMAKER, second=SECOND_PAGE, storage=STORAGE):
    wanted = {"ServiceCode": "AmazonSageMaker", "Filters": [term("regionCode", region)], "FormatVersion": "aws_v1"}
    stub.add_response("get_products", {"PriceList": sagemaker, "NextToken": "more"}, wanted)
    stub.add_response("get_products", {"PriceList": second}, wanted | {"NextToken": "more"})
    filters = [term("regionCode", region), term("volumeType", "Standard")]
    stub.add_response(
        "get_products",
        {"PriceList": storage},
        {"ServiceCode": "AmazonS3", "Filters": filters, "FormatVersion": "aws_v1"},
    )


def test_a_refresh_reads_every_page_and_takes_hosting_alone(pricing):
    client, stub = pricing
    queue(stub, "eu-west-1")
    table = price_refresh.refreshed(Table(regions={}), ["eu-west-1"], client, TODAY)
    found = table.region("eu-west-1")
    assert dict(found.instances.prices) == {"ml.c7i.large": 0.12, "ml.c7i.xlarge": 0.24}
    assert dict(found.serverless_seconds.prices) == {"4096": 0.00008}
    assert dict(found.storage_months.prices) == {"s3": 0.023}
    assert found.instances.date == TODAY
    assert "Price List API" in found.instances.source
    stub.assert_no_pending_responses()


def test_other_regions_keep_their_prices_and_dates_and_the_refreshed_one_keeps_nothing_old(pricing):
    client, stub = pricing
    old = Part(date="2020-01-01", source="old", prices={"ml.m4.large": 1})
    storage = Part(date="2020-01-01", source="old", prices={"s3": 1})
    before = Table(
        regions={
            "us-east-1": RegionPrices(instances=old),
            "eu-west-1": RegionPrices(instances=old, storage_months=storage),
        }
    )
    queue(stub, "eu-west-1", storage=[])
    table = price_refresh.refreshed(before, ["eu-west-1"], client, TODAY)
    assert table.region("us-east-1") == before.region("us-east-1")
    assert table.region("eu-west-1").of("instances", "ml.m4.large") is None
    assert table.region("eu-west-1").storage_months is None


def test_a_region_that_aws_does_not_list_is_refused(pricing):
    client, stub = pricing
    queue(stub, "xx-nowhere-1", [], [], [])
    with pytest.raises(ValueError, match="lists nothing for the region 'xx-nowhere-1'"):
        price_refresh.refreshed(Table(regions={}), ["xx-nowhere-1"], client, TODAY)


def test_a_table_survives_being_written_and_read(tmp_path):
    path = tmp_path / "prices.json"
    table = Table(regions={"a": RegionPrices(instances=Part(date=TODAY, source="x", prices={"ml.c7i.large": 0.1}))})
    path.write_text(table.to_json())
    assert prices.read(path) == table


@pytest.mark.parametrize("price", [0, -1, "free", float("inf")])
def test_a_price_of_nothing_is_no_price(price):
    with pytest.raises(ValueError, match="prices"):
        Part(date=TODAY, source="x", prices={"ml.c7i.large": price})


def test_a_table_that_is_broken_or_gone_says_how_to_mend_it(tmp_path):
    with pytest.raises(TableError, match="restore it from git"):
        prices.read(tmp_path / "gone.json")
    (tmp_path / "prices.json").write_text('{"regions": {"a": {"instances": {"prices": {"x": 0}}}}}')
    with pytest.raises(TableError, match="slipway prices refresh"):
        prices.read(tmp_path / "prices.json")


def test_the_committed_table_says_of_every_part_where_it_is_from_and_is_written_as_a_refresh_writes_it():
    table = prices.committed()
    for region in table.regions.values():
        for kind in prices.KINDS:
            part = getattr(region, kind)
            assert part is None or (len(part.source) > 20 and part.prices and part.date <= date.today())
    assert table.region("us-east-1").of("instances", "ml.c7i.large") is not None
    assert prices.TABLE.read_text() == table.to_json()


def project(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {slipway:region: eu-west-1}\n")
    (tmp_path / "infra/tables").mkdir(parents=True)
    (tmp_path / "infra/tables/prices.json").write_text("{}")
    return tmp_path


def test_the_command_writes_the_table_of_the_checkout(pricing, tmp_path, monkeypatch, capsys):
    client, stub = pricing
    queue(stub, "eu-west-1")
    monkeypatch.setattr(boto3, "client", lambda service, region_name: client)
    root = project(tmp_path)
    assert cli.run(["--root", str(root), "prices", "refresh", "--region", "eu-west-1"]) == 0
    assert prices.read(root / "infra/tables/prices.json").region("eu-west-1").of("instances", "ml.c7i.large") == 0.12
    assert "✓ eu-west-1: 2 instance types" in capsys.readouterr().out


def test_the_command_says_what_is_missing_where_aws_does_not_answer(pricing, tmp_path, monkeypatch, capsys):
    client, stub = pricing
    stub.add_client_error("get_products", "AccessDeniedException", "no")
    monkeypatch.setattr(boto3, "client", lambda service, region_name: client)
    root = project(tmp_path)
    assert cli.run(["--root", str(root), "prices", "refresh", "--region", "eu-west-1"]) == 1
    said = capsys.readouterr().err
    assert "AccessDenied" in said
    assert "pricing:GetProducts" in said
    assert (root / "infra/tables/prices.json").read_text() == "{}"
