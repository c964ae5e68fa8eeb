"""Flags and variables of the server, the cores it counts, and its logs and metrics as text."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path

import pytest

from serving import settings
from serving.cores import cgroup_quota, share
from serving.errors import ModelError
from serving.logs import JsonFormatter
from serving.metrics import Histogram, Metrics


def read(*flags: str, **environment: str) -> settings.Settings:
    parser = argparse.ArgumentParser()
    settings.add_flags(parser)
    return settings.read(parser.parse_args(flags), environment)


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default() -> None:
    assert read().max_batch == 32
    assert read(SLIPWAY_MAX_BATCH="8").max_batch == 8
    assert read("--max-batch", "4", SLIPWAY_MAX_BATCH="8").max_batch == 4
    assert read(SLIPWAY_MAX_BODY_MB="1").max_body == 1024 * 1024
    assert read(SLIPWAY_OBJECTIVE_MS="250").objective == 0.25


def test_a_batch_transform_waits_long_and_takes_its_payload_unless_told_otherwise() -> None:
    batch = {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "50"}
    found = read(**batch)
    assert (found.request_seconds, found.objective, found.max_body_mb) == (3600, 3600, 50)
    assert read(SAGEMAKER_BATCH="true").max_body_mb == 6
    assert read("--max-body-mb", "7", **batch).max_body_mb == 7
    assert read(**batch, SLIPWAY_REQUEST_SECONDS="9").request_seconds == 9


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLIPWAY_MAX_BATCH": "0"}, "SLIPWAY_MAX_BATCH must be an integer of at least 1, not '0'"),
        ({"SLIPWAY_WORKERS": "-1"}, "SLIPWAY_WORKERS must be an integer of at least 0"),
        ({"SLIPWAY_REQUEST_SECONDS": "soon"}, "SLIPWAY_REQUEST_SECONDS must be an integer"),
        ({"SLIPWAY_METRICS": "all"}, "SLIPWAY_METRICS must be one of local, any, not 'all'"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read(**environment)


def test_a_bad_flag_is_named_as_it_was_written() -> None:
    with pytest.raises(ModelError, match="--max-pending must be an integer of at least 1"):
        read("--max-pending", "none")


def test_every_setting_and_metric_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/serving.md").read_text()
    names = [f"SLIPWAY_{one.name.upper()}" for one in dataclasses.fields(settings.Settings)]
    families = [line.split()[2] for line in Metrics().text([]).decode().splitlines() if line.startswith("# TYPE")]
    assert [name for name in names + families if f"`{name}" not in page] == []


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_control_group_is_read(files: dict[str, str], cores: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_quota(tmp_path) == cores


@pytest.mark.parametrize(
    ("cores", "threads", "workers", "at_once", "expected"),
    [
        (1, 0, 0, True, (1, 1)),
        (2, 0, 0, True, (1, 2)),
        (4, 0, 0, True, (1, 4)),
        (16, 0, 0, True, (4, 4)),
        (8, 0, 0, False, (8, 1)),
        (8, 4, 0, True, (4, 2)),
        (8, 0, 2, True, (4, 2)),
        (2, 8, 0, True, (8, 1)),
        (2, 3, 5, False, (3, 5)),
    ],
)
def test_runs_at_once_and_their_threads_share_the_cores(
    cores: int, threads: int, workers: int, at_once: bool, expected: tuple[int, int]
) -> None:
    assert share(cores, threads, workers, at_once=at_once) == expected


def test_a_log_record_is_one_line_of_json_with_its_traceback() -> None:
    try:
        raise ValueError("no\nluck")
    except ValueError:
        record = logging.LogRecord("serving", logging.ERROR, "f", 1, "a %s", ("message",), sys.exc_info())
    record.request = 7
    line = JsonFormatter().format(record)
    values = json.loads(line)
    assert "\n" not in line
    assert (values["level"], values["logger"], values["message"], values["request"]) == (
        "error", "serving", "a message", 7,
    )  # fmt: skip
    assert "Traceback" in values["exception"]
    assert values["time"].endswith("Z")


def test_metrics_are_in_the_openmetrics_format() -> None:
    metrics = Metrics()
    metrics.answered(200)
    metrics.answered(200)
    metrics.answered(503)
    metrics.refuse("queue")
    metrics.batch_requests.observe(3)
    lines = metrics.text([("slipway_ready", "Ready.", 1)]).decode().splitlines()
    assert lines[-1] == "# EOF"
    assert 'slipway_answers_total{status="200"} 2' in lines
    assert 'slipway_refused_total{reason="queue"} 1' in lines
    assert 'slipway_batch_requests_bucket{le="2"} 0' in lines
    assert 'slipway_batch_requests_bucket{le="4"} 1' in lines
    assert 'slipway_batch_requests_bucket{le="+Inf"} 1' in lines
    assert "slipway_ready 1" in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


def test_a_histogram_counts_each_value_once() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 9):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert (histogram.count, histogram.sum) == (4, 12)
