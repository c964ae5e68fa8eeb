import json

import pytest

from infra import dashboards
from model_build.deployment import Deploy


def board(arns=(), **settings):
    return json.loads(dashboards.body("news-dev", Deploy.model_validate(settings), "eu-west-1", arns))


def titles(found):
    return [widget["properties"]["title"] for widget in found["widgets"]]


def test_a_real_time_endpoint_shows_traffic_errors_latency_load_and_instances():
    assert titles(board()) == [
        "Requests a minute",
        "Errors a minute",
        "Model latency, µs",
        "Load of an instance",
        "Utilization, %",
        "Instances",
    ]


def test_an_async_endpoint_shows_its_backlog_and_a_serverless_one_its_cold_starts():
    assert titles(board(endpoint="async"))[:2] == ["Backlog", "Requests a minute"]
    assert "Cold starts, µs" in titles(board(endpoint="serverless"))
    assert "Instances" not in titles(board(endpoint="serverless"))


def test_alarms_are_shown_where_there_are_some():
    (widget,) = [one for one in board(["arn:1"])["widgets"] if one["type"] == "alarm"]
    assert widget["properties"]["alarms"] == ["arn:1"]
    assert not [one for one in board()["widgets"] if one["type"] == "alarm"]


def test_every_variant_has_its_lines_and_the_shadow_too():
    metrics = board(shadow={"share": 0.1})["widgets"][0]["properties"]["metrics"]
    assert [line[5] for line in metrics] == ["AllTraffic", "Shadow"]
    assert [line[-1]["label"] for line in metrics] == ["AllTraffic requests", "Shadow requests"]


@pytest.mark.parametrize("kind", ["realtime", "serverless", "async"])
def test_no_two_graphs_lie_on_each_other(kind):
    places = [(one["x"], one["y"]) for one in board(["arn:1"], endpoint=kind)["widgets"]]
    assert len(set(places)) == len(places)
    assert all(x in (0, 12) and y % 6 == 0 for x, y in places)
