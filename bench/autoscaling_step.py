"""The local AWS at speed 1 under a step of traffic: what `bench.autoscaling` measures in real time.

Its replicas take 200 ms for each request and any number at a time (`python -m bench.autoscaling_step --port N …` is
one), so that the requests under way are the rate times 200 ms, whatever this machine is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

SERVICE_SECONDS = 0.2
WARM_UP_SECONDS = 12.0
"""Of calm traffic, so that a whole point of ten seconds is calm before the step."""
PATIENCE_SECONDS = 60.0
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Stage:
    """A local AWS of its own, for the time of a `with` block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Stage:
        from localcloud import daemon

        replica = f"{sys.executable} -m bench.autoscaling_step"
        self._server = daemon.start(self._directory, arguments=("--port", "0", "--serving-command", replica))
        self._sagemaker, s3 = self._client("sagemaker"), self._client("s3")
        self._scaling = self._client("application-autoscaling")
        s3.create_bucket(Bucket="models")
        s3.put_object(Bucket="models", Key="model.tar.gz", Body=_empty_archive())
        role = self._client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        self._sagemaker.create_model(
            ModelName="m",
            ExecutionRoleArn=role,
            PrimaryContainer={
                "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1",
                "ModelDataUrl": "s3://models/model.tar.gz",
            },
        )
        variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.c7i.large"}
        self._sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        from localcloud import daemon

        daemon.stop(self._directory)

    def _client(self, service: str) -> Any:
        import boto3

        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self._server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 — any does
        )

    def step(self, name: str, calm: float, steep: float, target: float, phase: float) -> float:
        """Seconds from the step to the decision. The step comes `phase` seconds into one of the clock's tens."""
        from localcloud.traffic.arrivals import Curve, Phase, arrivals
        from localcloud.traffic.open_loop import OpenLoop

        self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="c")
        while self._sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] != "InService":
            time.sleep(0.05)
        resource: dict[str, Any] = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{name}/variant/v",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        self._scaling.register_scalable_target(**resource, MinCapacity=1, MaxCapacity=4)
        metric = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        self._scaling.put_scaling_policy(
            **resource,
            PolicyName="follow",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            },
        )
        over = threading.Event()
        load = OpenLoop(f"{self._server.endpoint}/endpoints/{name}/invocations", b"{}", {})
        # At speed 1 the clock's tens are the wall's.
        now = time.time()
        rise = now + WARM_UP_SECONDS + (phase - (now + WARM_UP_SECONDS)) % 10
        curve = Curve([Phase("step", 1e6, calm, to=steep, at=rise - now)])
        thread = threading.Thread(target=lambda: asyncio.run(load.run(arrivals(curve, 1, 1, even=True), over.is_set)))
        thread.start()
        try:
            while time.time() < rise + PATIENCE_SECONDS:
                answer = self._scaling.describe_scaling_activities(
                    ServiceNamespace="sagemaker", ResourceId=resource["ResourceId"]
                )
                if answer["ScalingActivities"]:
                    decided: float = answer["ScalingActivities"][-1]["StartTime"].timestamp()
                    return decided - rise
                time.sleep(0.2)
        finally:
            over.set()
            thread.join()
            while self._sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] != "InService":
                time.sleep(0.05)
            self._sagemaker.delete_endpoint(EndpointName=name)
        return PATIENCE_SECONDS


def _empty_archive() -> bytes:
    import io
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz"):
        pass
    return packed.getvalue()


def replica() -> None:
    """Serves until the parent goes: every answer after 200 ms, any number at a time."""
    from aiohttp import web

    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--exit-with-parent", action="store_true")
    options = parser.parse_args()

    async def ping(_: web.Request) -> web.Response:
        return web.Response()

    async def invocations(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(SERVICE_SECONDS)
        return web.json_response({})

    async def serve() -> None:
        application = web.Application()
        application.add_routes([web.get("/ping", ping), web.post("/invocations", invocations)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, options.host, options.port).start()
        print(json.dumps({"event": "ready", "port": runner.addresses[0][1]}), flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        await runner.cleanup()

    asyncio.run(serve())


if __name__ == "__main__":
    replica()
