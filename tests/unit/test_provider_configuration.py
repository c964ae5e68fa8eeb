"""The provider's configuration: nothing but this machine, and nothing that would be ignored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.provider.configuration import ALWAYS, SERVICES, loopback_problem, read_configuration
from localcloud.provider.values import UNKNOWN

URL = "http://127.0.0.1:4566"
NAMES = ("applicationautoscaling", "iam", "s3", "sagemaker", "sts")


def given(url: str = URL, **settings: Any) -> dict[str, Any]:
    return {"region": "eu-central-1", "endpoints": json.dumps([dict.fromkeys(NAMES, url)]), **settings}


def reasons(settings: dict[str, Any]) -> list[str]:
    configuration, failures = read_configuration(settings)
    assert (configuration is None) == bool(failures)
    return [reason for _, reason in failures]


def test_the_sdks_json_strings_are_read():
    configuration, failures = read_configuration(
        given(
            defaultTags='{"tags": {"a": "b"}}',
            s3UsePathStyle="false",
            accessKey="A",
            secretKey="S",
            skipRegionValidation="true",
            version="0.0.1",
            __internal={},
        )
    )
    assert failures == []
    assert configuration is not None
    assert configuration.endpoints == dict.fromkeys(ALWAYS, URL)
    assert (configuration.access_key, configuration.secret_key, configuration.path_style) == ("A", "S", False)
    assert configuration.default_tags == {"a": "b"}
    assert "S" not in repr(configuration).replace("S3", "")


def test_addresses_of_services_that_not_every_program_uses_are_taken_where_they_are_given():
    every = [names[0] for names in SERVICES.values()]
    configuration, _ = read_configuration(given(endpoints=json.dumps([dict.fromkeys(every, URL)])))
    assert configuration is not None
    assert configuration.endpoints == dict.fromkeys(SERVICES, URL)


def test_one_address_may_be_spread_over_several_entries():
    entries = [{name: URL} for name in NAMES]
    assert reasons(given(endpoints=json.dumps(entries))) == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:4566", "http://localhost:4566", "https://x.localhost"],
)
def test_loopback_addresses_are_accepted(url: str):
    assert loopback_problem(url) == ""
    assert reasons(given(url)) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.eu-central-1.amazonaws.com",
        "http://10.0.0.1:4566",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://localhost.example.com",
        "http://[::ffff:8.8.8.8]",
        "http://0.0.0.0:4566",
        "ftp://127.0.0.1",
        "127.0.0.1:4566",
    ],
)
def test_any_other_address_is_refused(url: str):
    said = reasons(given(url))
    assert len(said) == len(NAMES)
    assert all("not on this machine" in one or "is not an http address" in one for one in said)


def test_an_address_of_a_service_that_is_not_used_is_looked_at_as_well():
    entries = [dict.fromkeys(NAMES, URL), {"lambda": "https://lambda.amazonaws.com"}]
    (said,) = reasons(given(endpoints=json.dumps(entries)))
    assert said.startswith("endpoints.lambda: 'https://lambda.amazonaws.com' is not on this machine")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_address_is_named(name: str):
    entries = [{other: URL for other in NAMES if other != name}]
    (said,) = reasons(given(endpoints=json.dumps(entries)))
    assert said.startswith(f"endpoints.{name}: is missing")


def test_no_addresses_at_all_are_refused():
    assert len(reasons({"region": "eu-central-1"})) == len(NAMES)
    assert reasons(given(endpoints=UNKNOWN))[0].startswith("endpoints: must be known before the update")


@pytest.mark.parametrize("setting", ["profile", "assumeRoles", "colour"])
def test_a_setting_that_would_be_ignored_is_refused(setting: str):
    (said,) = reasons(given(**{setting: "x"}))
    assert said.startswith(f"{setting}: is not a setting of the local aws provider; supported: accessKey, ")


def test_a_region_is_needed():
    settings = given()
    del settings["region"]
    assert reasons(settings) == ["region: is required; give it to aws.Provider(region=…)"]


def test_broken_json_is_told():
    assert reasons(given(defaultTags="{"))[0] == "defaultTags: is not JSON: '{'"
