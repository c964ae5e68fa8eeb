"""The status page in a real browser: it draws what happens, and its form predicts. Skipped where no Chromium is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import wait_for

pytestmark = pytest.mark.contract

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud"), (*FAKE, "--speed", "60")) as cloud:
        yield cloud


class Browser:
    """One page of a headless Chromium, by its debugging protocol."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            self._address = next(one for one in json.load(answer) if one["type"] == "page")["webSocketDebuggerUrl"]

    def command(self, method: str, **parameters: Any) -> Any:
        async def send() -> Any:
            async with aiohttp.ClientSession() as session, session.ws_connect(self._address, max_msg_size=0) as socket:
                await socket.send_json({"id": 1, "method": method, "params": parameters})
                while True:
                    message = await socket.receive_json()
                    if message.get("id") == 1:
                        return message["result"]

        return asyncio.run(send())

    def run(self, script: str) -> Any:
        result = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"]
        return result.get("value")


@pytest.fixture
def browser(cloud: Cloud, tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH: install one to test the status page")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                "--window-size=1200,1400",
                f"--user-data-dir={profile}",
                f"{cloud.server.endpoint}/_slipway/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            known = Path(profile) / "DevToolsActivePort"
            wait_for(lambda: known.exists() and known.read_text().strip(), "the browser")
            browser = Browser(int(known.read_text().split()[0]))
            wait_for(lambda: browser.run("document.readyState") == "complete", "the page")
            yield browser
        finally:
            process.terminate()
            process.wait(30)


def test_the_page_shows_endpoints_rollouts_and_scaling_as_they_happen_and_predicts(
    cloud: Cloud, browser: Browser
) -> None:
    cloud.endpoint("shown", fake_model(answer="from the page", delay=0.01), count=2)
    wait_for(lambda: browser.run("document.querySelector('#endpoint-shown .status')?.textContent") == "InService", "it")
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            cloud.invoke("shown")

    worker = threading.Thread(target=load)
    worker.start()
    try:
        scaling = cloud.client("application-autoscaling")
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/shown/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        scaling.register_scalable_target(**target, MinCapacity=3, MaxCapacity=4)
        text = "document.querySelector('#endpoint-shown')?.innerText ?? ''"
        wait_for(lambda: "2 → 3: minimum capacity was set to 3" in browser.run(text), "the scaling decision")
        wait_for(lambda: cloud.describe("shown")["EndpointStatus"] == "InService", "the end of the scaling")
        cloud.model("shown-2", fake_model(answer="new"))
        cloud.config("shown-2", "shown-2", 3)
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 900,
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
        }
        cloud.sagemaker.update_endpoint(
            EndpointName="shown",
            EndpointConfigName="shown-2",
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
        )
        wait_for(lambda: "the canary bakes" in browser.run(text), "the rollout's stage")
        wait_for(lambda: "33 % of the traffic" in browser.run(text), "the canary's share")
        lines = "document.querySelectorAll('#endpoint-shown svg.spark polyline').length"
        wait_for(lambda: browser.run(lines) >= 3, "lines of requests, errors and latency")
        if folder := os.environ.get("SLIPWAY_SCREENSHOTS"):
            time.sleep(1)
            taken = browser.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            import base64

            (Path(folder) / "status-page.png").write_bytes(base64.b64decode(taken["data"]))
    finally:
        stop.set()
        worker.join()
    browser.run(
        "document.querySelector('#endpoint-shown details').open = true;"
        "document.querySelector('#endpoint-shown textarea').value = '{}';"
        "document.querySelector('#endpoint-shown form').requestSubmit()"
    )
    answer = "document.querySelector('#endpoint-shown .answer').textContent"
    wait_for(lambda: browser.run(answer).startswith("200 in"), "the prediction")
    assert '"answer": "from the page"' in browser.run(answer) or '"answer": "new"' in browser.run(answer)
    assert (
        browser.run(
            "performance.getEntriesByType('resource').filter((e) => !e.name.startsWith(location.origin)).length"
        )
        == 0
    )


def test_the_events_are_a_stream_of_the_status_and_logs_are_readable(cloud: Cloud) -> None:
    cloud.endpoint("logged", fake_model(answer=1))
    with urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = [stream.readline() for _ in range(5)]
    first = next(line for line in lines if line.startswith(b"data: "))
    names = {endpoint["name"] for endpoint in json.loads(first[len(b"data: ") :])["endpoints"]}
    assert "logged" in names
    (replica,) = cloud.replicas("logged")
    with urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/logs/{replica['id']}") as log:
        assert log.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/logs/..%2Fserver.log")


def test_an_open_stream_does_not_hold_the_server_up_when_it_stops(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        stream = urllib.request.urlopen(f"{cloud.server.endpoint}/_slipway/events")
        stream.readline()
        began = time.monotonic()
    assert time.monotonic() - began < 4, "less than uvicorn's patience with open connections"
    stream.close()
