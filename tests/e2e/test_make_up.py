"""The newcomer's path in a copy of this checkout: `make up`, again, killed, changed, taken down.

The tests run in order on one copy, since each stage stands on the one before, as a person's would.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from newcomer import Checkout
from processes import alive

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

MODELS = (
    "addresses",
    "announcers",
    "fashion",
    "fashion-scenes",
    "news-topics",
    "penguins",
    "phrasebook",
    "sentences",
    "spoken-digits",
)


def _wait(condition: Any, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


def test_make_up_ends_with_a_real_prediction_from_each_model(checkout: Checkout) -> None:
    said = checkout.run("make", "up").stdout
    for model in MODELS:
        assert f"{model}-local" in said.replace("\n", ""), said
    runtime = checkout.client("sagemaker-runtime")
    text = "The striker scored twice as the champions won the cup final in extra time."
    answer = runtime.invoke_endpoint(
        EndpointName="news-topics-local", ContentType="application/json", Body=json.dumps({"inputs": text})
    )
    best = json.loads(answer["Body"].read())[0]
    assert best["label"].startswith("sport"), best
    assert best["score"] > 0.5
    # The answer depends on the input: another text has another topic.
    text = "The central bank raised interest rates after inflation and quarterly profits surprised investors."
    answer = runtime.invoke_endpoint(
        EndpointName="news-topics-local", ContentType="application/json", Body=json.dumps({"inputs": text})
    )
    assert json.loads(answer["Body"].read())[0]["label"] == "business"


def test_a_second_make_up_does_no_work_that_is_done(checkout: Checkout) -> None:
    before = {path: path.stat().st_mtime_ns for path in (checkout.root / "build").glob("*/model.tar.gz")}
    replicas = sorted(checkout.replicas())
    said = checkout.run("make", "up").stdout
    assert {path: path.stat().st_mtime_ns for path in (checkout.root / "build").glob("*/model.tar.gz")} == before
    assert sorted(checkout.replicas()) == replicas
    assert re.search(r"^Resources:\n\s+\d+ unchanged\n", said, flags=re.MULTILINE), said


def test_plain_pulumi_previews_refreshes_and_shows_outputs(checkout: Checkout) -> None:
    checkout.shell("pulumi preview -s local --expect-no-changes --non-interactive")
    checkout.shell("pulumi refresh -s local --yes --skip-preview --expect-no-changes --non-interactive")
    endpoints = json.loads(checkout.shell("pulumi stack output endpoints -s local --json 2>/dev/null").stdout)
    assert endpoints == {model: f"{model}-local" for model in MODELS}


def test_an_edited_spec_stops_pulumi_until_it_is_built(checkout: Checkout) -> None:
    spec = checkout.root / "specs" / "fashion.yaml"
    spec.write_text(spec.read_text() + "\n# a remark\n")
    refused = checkout.shell("pulumi preview -s local --non-interactive", check=False)
    assert refused.returncode != 0
    assert "slipway build fashion" in refused.stdout
    assert "Traceback" not in refused.stdout
    checkout.run(".venv/bin/slipway", "build", "fashion")
    checkout.shell("pulumi preview -s local --expect-no-changes --non-interactive")


def test_a_killed_local_aws_leaves_no_replica_and_make_up_heals_it(checkout: Checkout) -> None:
    assert len(checkout.replicas()) >= len(MODELS)
    port = checkout.server()["port"]
    os.kill(checkout.server()["pid"], signal.SIGKILL)
    assert _wait(lambda: not checkout.replicas()), checkout.replicas()
    with socket.socket() as taken:
        # Somebody else takes its port meanwhile, so that it comes up on another one than the state knows.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        checkout.run("make", "up")
    assert checkout.server()["port"] != port
    names = {endpoint["EndpointName"] for endpoint in checkout.client("sagemaker").list_endpoints()["Endpoints"]}
    assert names == {f"{model}-local" for model in MODELS}


def test_a_make_up_killed_in_the_middle_of_pulumi_can_be_run_again(checkout: Checkout) -> None:
    checkout.shell("pulumi destroy -s local --yes --skip-preview --non-interactive")
    with (checkout.root / "killed.log").open("wb") as log:
        running = subprocess.Popen(
            ["make", "up"], cwd=checkout.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        # The endpoints are being made: some operation is under way in the engine.
        began = _wait(lambda: bool(checkout.client("sagemaker").list_endpoints()["Endpoints"]), seconds=120)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(30)
    assert began, (checkout.root / "killed.log").read_text()
    checkout.run("make", "up")
    for model in MODELS:
        described = checkout.client("sagemaker").describe_endpoint(EndpointName=f"{model}-local")
        assert described["EndpointStatus"] == "InService"
    checkout.shell("pulumi preview -s local --expect-no-changes --non-interactive")


def test_make_down_leaves_no_process_and_no_resource(checkout: Checkout) -> None:
    server = checkout.server()
    checkout.run("make", "down")
    assert _wait(lambda: not checkout.replicas())
    assert _wait(lambda: not alive(server["pid"]))
    with pytest.raises(EndpointConnectionError):
        boto3.client(
            "sagemaker",
            endpoint_url=server["endpoint"],
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        ).list_endpoints()
    # Nothing to take down is not an error.
    checkout.run("make", "down")
