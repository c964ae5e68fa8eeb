"""A broken version under load: the canary is rolled back, the old version fails no request, `pulumi up` fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from built_models import write_model
from infra_project import INPUT, Project, expected, project
from localcloud_rig import REAL
from processes import wait_for

from localcloud.traffic.arrivals import Curve, Phase, arrivals
from localcloud.traffic.open_loop import OpenLoop
from slipway.rehearse_fault import bad_version
from toolchain.engine import Engine

pytestmark = pytest.mark.contract

DEPLOY = {
    "instances": {"min": 2, "max": 2},
    "rollout": {"type": "canary", "size_percent": 50, "interval": "10m"},
}


@contextmanager
def load(made: Project, rate: float) -> Iterator[OpenLoop]:
    """An open-loop client beside the block; it ends when every request was answered."""
    url = f"{made.cloud.server.endpoint}/endpoints/news-local/invocations"
    client = OpenLoop(url, json.dumps({"inputs": [INPUT]}).encode(), {"content-type": "application/json"})
    curve, over = Curve([Phase("steady", 1.0, rate)]), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(client.run(arrivals(curve, 1.0, 1), over.is_set)))
    thread.start()
    try:
        yield client
    finally:
        over.set()
        thread.join()


def test_a_canary_of_a_broken_version_is_rolled_back_and_pulumi_up_fails(tmp_path: Path, engine: Engine) -> None:
    with project(tmp_path / "project", engine, (*REAL, "--speed", "60")) as made:
        good = made.artifact("news", 1)
        write_model(made.root, "news", artifact=good, deploy=DEPLOY)
        made.up()
        before = made.cloud.describe("news-local")["EndpointConfigName"]
        old = {replica["id"] for replica in made.cloud.replicas("news-local")}
        write_model(made.root, "news", artifact=bad_version(good, "errors"), deploy=DEPLOY)
        with load(made, 60) as client:
            code, said = made.run("up", "--yes", "--skip-preview", "--stack", "local")
            answered = len(client.answers)
            wait_for(lambda: len(client.answers) > answered + 60, "answers after the rollback")
        assert code != 0
        assert "rolled the update back" in said
        described = made.cloud.describe("news-local")
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", before)
        assert "is in ALARM state" in described["FailureReason"]
        failed = [answer for answer in client.answers if not answer.good]
        assert failed, "the canary took requests"
        # Each failure is a prediction of the broken version's; the old replicas are those of before, and answer.
        assert {json.loads(answer.said)["OriginalStatusCode"] for answer in failed} == {500}
        assert all(answer.good for answer in client.answers[answered:])
        assert {replica["id"] for replica in made.cloud.replicas("news-local")} == old
        assert made.cloud.restarts("news-local") == 0
        for replica in made.cloud.replicas("news-local"):
            assert "Traceback" not in Path(replica["log"]).read_text()
        assert made.predict("news-local") == pytest.approx(expected())
