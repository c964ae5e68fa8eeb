"""`slipway loadtest` on a hosted endpoint: it climbs, finds the instance's limit, and names what it loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from localcloud_rig import IMAGE, Cloud, fake_model, running

from model_build.errors import UserError
from slipway import loadtest

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("localcloud")) as cloud:
        yield cloud


def hosted(cloud: Cloud, name: str, artifact: bytes) -> str:
    """An endpoint whose artifact lies under its digest; gives the digest."""
    digest = hashlib.sha256(artifact).hexdigest()
    cloud.s3.put_object(Bucket="models", Key=f"{name}/{digest}.tar.gz", Body=artifact)
    cloud.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=cloud.role,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}/{digest}.tar.gz"},
    )
    cloud.config(name, name)
    cloud.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert cloud.settled(name)["EndpointStatus"] == "InService"
    return digest


def test_an_endpoint_is_loaded_level_by_level_and_the_evidence_names_its_artifact(cloud: Cloud) -> None:
    digest = hosted(cloud, "slow", fake_model(answer="yes", delay=0.05))
    loaded = loadtest.target(cloud.sagemaker, "slow")
    assert loaded == loadtest.Target("slow", digest, "ml.c7i.large", 1)
    sign = loadtest.signer(cloud.runtime, "slow", b"{}", "application/json")
    levels = loadtest.climb(sign, seconds=1.0, max_clients=2, max_p95_ms=None)
    # Each answer takes 50 ms, so a client cannot get more than twenty a second: the requests really waited for it.
    for level in levels:
        assert level.errors == 0
        assert 0 < level.rps <= 20 * level.clients
        assert level.p50_ms >= 50
    assert loadtest.capacity(loaded, loadtest.knee(levels), "slow", "dev").artifact == digest


def test_an_endpoint_that_answers_with_errors_is_told_with_what_it_said(cloud: Cloud) -> None:
    hosted(cloud, "broken", fake_model(status=500, body="no such layer"))
    sign = loadtest.signer(cloud.runtime, "broken", b"{}", "application/json")
    with pytest.raises(UserError, match="no such layer"):
        loadtest.climb(sign, seconds=1.0, max_clients=2, max_p95_ms=None)


def test_an_endpoint_that_is_not_there_is_one_message(cloud: Cloud) -> None:
    with pytest.raises(UserError, match="nowhere"):
        loadtest.target(cloud.sagemaker, "nowhere")
