"""A local AWS for contract tests: a server of their own on a free port, plain boto3 clients, and tiny artifacts."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from processes import wait_for

from localcloud import daemon

FAKE_SERVING = Path(__file__).with_name("localcloud_fake_serving.py")
FAKE = (
    "--serving-command",
    f"{sys.executable} {FAKE_SERVING}",
    "--metrics-interval",
    "0.2",
    "--health-interval",
    "0.5",
    "--port",
    "0",
)
REAL = ("--port", "0")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/inference:1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def fake_model(**behaviour: Any) -> bytes:
    """An artifact for the fake serving program; see its docstring."""
    return archive({"behaviour.json": json.dumps(behaviour).encode()})


class Cloud:
    """A running server and its clients. Names are the test's own, so that tests can share a server."""

    def __init__(self, server: daemon.Server, directory: Path, arguments: tuple[str, ...] = FAKE) -> None:
        self.server = server
        self.directory = directory
        self.arguments = arguments

    def restart(self) -> None:
        """Kills the server and starts it again on its port; clients go on as they are."""
        os.kill(self.server.pid, signal.SIGKILL)
        wait_for(lambda: not daemon.is_held(self.directory), "the end of the server")
        rest = [argument for argument in self.arguments if argument not in ("--port", "0")]
        self.server = daemon.start(self.directory, port=self.server.port, arguments=tuple(rest))

    def client(self, service: str, region: str = "us-east-1") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}),
        )

    @cached_property
    def s3(self) -> Any:
        client = self.client("s3")
        client.create_bucket(Bucket="models")
        return client

    @cached_property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        return self.client("sagemaker-runtime")

    @cached_property
    def role(self) -> str:
        role = self.client("iam").create_role(RoleName="execution", AssumeRolePolicyDocument=json.dumps(TRUST))
        return str(role["Role"]["Arn"])

    def model(self, name: str, artifact: bytes, **environment: str) -> None:
        key = f"{name}/model.tar.gz"
        self.s3.put_object(Bucket="models", Key=key, Body=artifact)
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://models/{key}", "Environment": environment},
        )

    def config(self, name: str, model: str, count: int = 1) -> None:
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InitialInstanceCount": count,
            "InstanceType": "ml.c7i.large",
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def endpoint(self, name: str, artifact: bytes, count: int = 1, **environment: str) -> dict[str, Any]:
        """Model, configuration and endpoint of one name; returns when the endpoint is no longer being created."""
        self.model(name, artifact, **environment)
        self.config(name, name, count)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        return self.settled(name)

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return answer

    def settled(self, name: str) -> dict[str, Any]:
        def done() -> dict[str, Any] | None:
            answer = self.describe(name)
            return answer if answer["EndpointStatus"] in ("InService", "Failed") else None

        result: dict[str, Any] = wait_for(done, f"endpoint {name} settling")
        return result

    def invoke(self, name: str, body: bytes = b"{}", **more: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.load(self.runtime.invoke_endpoint(EndpointName=name, Body=body, **more)["Body"])
        return answer

    def variants(self, name: str) -> list[dict[str, Any]]:
        import urllib.request

        with urllib.request.urlopen(f"{self.server.endpoint}/_slipway/status") as answer:
            status = json.load(answer)
        found = next(endpoint for endpoint in status["endpoints"] if endpoint["name"] == name)
        return list(found["variants"])

    def replicas(self, name: str) -> list[dict[str, Any]]:
        return [replica for variant in self.variants(name) for replica in variant["replicas"]]

    def restarts(self, name: str) -> int:
        return sum(variant["restarts"] for variant in self.variants(name))


@contextmanager
def running(directory: Path, arguments: tuple[str, ...] = FAKE) -> Iterator[Cloud]:
    server = daemon.start(directory, arguments=arguments)
    try:
        yield Cloud(server, directory, arguments)
    finally:
        daemon.stop(directory)
