from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from localcloud_rig import FAKE, Cloud, fake_model, running
from processes import alive, wait_for

from localcloud import daemon
from localcloud.errors import LocalCloudError

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud")) as cloud:
        yield cloud


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_start_returns_the_server_that_runs_and_stop_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    server = daemon.start(tmp_path, progress=said.append, arguments=FAKE)
    try:
        assert daemon.status(tmp_path) == server
        assert daemon.start(tmp_path, progress=said.append) == server
        assert (server.port, server.endpoint) == (server.port, f"http://127.0.0.1:{server.port}")
        state = json.loads((tmp_path / "server.json").read_text())
        assert (state["pid"], state["port"]) == (server.pid, server.port)
        assert server.log.read_text().count("serves on") == 1
        assert said[-1] == f"the local AWS runs already on {server.endpoint}"
        monkeypatch.setattr(daemon, "_newest_code", lambda: server.started + 1)
        daemon.start(tmp_path, progress=said.append)
        assert said[-1].startswith("it runs older code than this checkout's")
        with pytest.raises(LocalCloudError, match=f"already runs on port {server.port}.*slipway local stop"):
            daemon.start(tmp_path, port=server.port + 1)
    finally:
        assert daemon.stop(tmp_path)
    assert not alive(server.pid)
    assert daemon.status(tmp_path) is None
    assert not (tmp_path / "server.json").exists()
    assert not daemon.stop(tmp_path)


def test_a_taken_port_is_told_with_the_next_step(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(LocalCloudError, match=rf"^port {taken_port} is taken by another program; choose another"):
        daemon.start(tmp_path, port=taken_port)
    assert daemon.status(tmp_path) is None


def test_a_start_that_fails_shows_the_last_lines_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match=r"(?s)ended with exit code 2.*server\.log.*--no-such-option"):
        daemon.start(tmp_path, arguments=("--no-such-option",))


@pytest.mark.parametrize("pid", [2**22 + 1, os.getpid()])
def test_a_stale_state_is_replaced_whether_its_process_is_gone_or_anothers(
    tmp_path: Path, taken_port: int, pid: int
) -> None:
    stale = {"pid": pid, "port": taken_port, "endpoint": f"http://127.0.0.1:{taken_port}", "started": 1, "nonce": "x"}
    (tmp_path / "server.json").write_text(json.dumps(stale))
    assert daemon.status(tmp_path) is None
    assert not daemon.stop(tmp_path)
    (tmp_path / "server.json").write_text(json.dumps(stale))
    server = daemon.start(tmp_path, arguments=FAKE)
    try:
        assert server.pid != pid
    finally:
        daemon.stop(tmp_path)


def test_a_killed_server_leaves_no_replica_and_can_be_started_again(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        cloud.endpoint("orphan", fake_model(answer=1), count=2)
        pids = [replica["pid"] for replica in cloud.replicas("orphan")]
        os.kill(cloud.server.pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in pids), "the end of the replicas")
        assert (tmp_path / "server.json").exists()
        again = daemon.start(tmp_path, arguments=FAKE)
        assert again.pid != cloud.server.pid


def test_a_stopped_server_stops_its_replicas(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        cloud.endpoint("stopped", fake_model(answer=1), count=2)
        pids = [replica["pid"] for replica in cloud.replicas("stopped")]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


def test_a_second_server_on_one_directory_is_refused(cloud: Cloud) -> None:
    command = [sys.executable, "-m", "localcloud", "--data", str(cloud.directory), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "another local AWS runs on this directory" in second.stderr
    assert "Traceback" not in second.stderr


def test_only_loopback_names_are_answered(cloud: Cloud) -> None:
    port = cloud.server.port
    for host in ("127.0.0.1", f"localhost:{port}", f"models.localhost:{port}", "[::1]"):
        assert get(port, "/_slipway/health", Host=host)[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert get(port, "/_slipway/health", Host=host)[0] == 403
    assert get(port, "/", Origin="https://evil.example")[0] == 403
    assert get(port, "/_slipway/health", Origin=f"http://localhost:{port}")[0] == 200


def test_the_server_listens_on_loopback_alone(cloud: Cloud) -> None:
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == cloud.server.port
    ]
    assert [address.rpartition(":")[0] for address in listening] == ["0100007F"]


def test_the_status_page_and_its_json_are_served(cloud: Cloud) -> None:
    status, page = get(cloud.server.port, "/_slipway/")
    assert status == 200 and b"/_slipway/events" in page
    cloud.endpoint("paged", fake_model(answer=1))
    cloud.invoke("paged")
    document = json.loads(get(cloud.server.port, "/_slipway/status")[1])
    (endpoint,) = (endpoint for endpoint in document["endpoints"] if endpoint["name"] == "paged")
    assert (endpoint["status"], endpoint["invocations"], endpoint["errors"]) == ("InService", 1, 0)
    (replica,) = endpoint["variants"][0]["replicas"]
    assert alive(replica["pid"]) and replica["state"] == "Healthy" and Path(replica["log"]).is_file()


def test_motos_own_switches_are_not_served(cloud: Cloud) -> None:
    cloud.s3.put_object(Bucket="models", Key="kept", Body=b"kept")
    assert get(cloud.server.port, "/moto-api/reset")[0] == 404
    assert cloud.s3.get_object(Bucket="models", Key="kept")["Body"].read() == b"kept"


def test_large_objects_pass_through_s3_whole(cloud: Cloud) -> None:
    content = os.urandom(1 << 20) * 24
    cloud.s3.put_object(Bucket="models", Key="large", Body=content)
    assert cloud.s3.get_object(Bucket="models", Key="large")["Body"].read() == content
    assert cloud.s3.get_object(Bucket="models", Key="large", Range="bytes=5-9")["Body"].read() == content[5:10]


def test_buckets_in_the_host_name_reach_the_same_objects(cloud: Cloud) -> None:
    cloud.s3.put_object(Bucket="models", Key="hosted", Body=b"hosted")
    signed = cloud.s3.generate_presigned_url("get_object", Params={"Bucket": "models", "Key": "hosted"})
    query = signed.partition("?")[2]
    for host in ("models.localhost", "models.s3.localhost"):
        assert get(cloud.server.port, f"/hosted?{query}", Host=host) == (200, b"hosted")
    assert get(cloud.server.port, "/hosted", Host="models.localhost")[0] == 403


def test_scalable_targets_policies_and_their_tags_are_kept(cloud: Cloud) -> None:
    cloud.endpoint("e", fake_model(answer=1))
    scaling = cloud.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/e/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    arn = scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)["ScalableTargetARN"]
    policy = {
        "TargetValue": 600.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    scaling.put_scaling_policy(
        **target, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=policy
    )
    (found,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert found["TargetTrackingScalingPolicyConfiguration"] == policy
    scaling.tag_resource(ResourceARN=arn, Tags={"a": "1", "b": "2"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["b"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"a": "1"}
    scaling.deregister_scalable_target(**target)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scaling.list_tags_for_resource(ResourceARN=arn)


def test_the_caller_is_who_the_local_account_is(cloud: Cloud) -> None:
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
