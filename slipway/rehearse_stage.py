"""The endpoint of a rehearsal, in the copy of the local environment: what it is, what it bears, its next version.

Apart from `rehearse` since it is AWS's own calls alone, one question or one change each; when to ask is the play's.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from slipway.local import client
from slipway.rehearse_fault import Fault, bad_version

if TYPE_CHECKING:
    from slipway.rehearse import Plan

START_SECONDS = 300.0
CAPACITY_SECONDS = 2.0
CAPACITY_CLIENTS = 4
UNSETTLED = ("Creating", "Updating", "RollingBack")
NEW = "rehearsed"
_CONFIG_MEMBERS = ("ProductionVariants", "ShadowProductionVariants", "DataCaptureConfig", "KmsKeyId")
_ALARM_MEMBERS = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "Metrics",
)
_MODEL_MEMBERS = ("PrimaryContainer", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")


class Stage:
    """The endpoint in the copy."""

    def __init__(self, cloud: str, plan: Plan) -> None:
        self._cloud = cloud
        self._plan = plan
        self._sagemaker = client("sagemaker", cloud)
        self._scaling = client("application-autoscaling", cloud)

    def await_service(self) -> None:
        end = time.monotonic() + START_SECONDS
        while (described := self.describe())["EndpointStatus"] in UNSETTLED:
            if time.monotonic() > end:
                raise UserError(f"{self._plan.endpoint} did not start within {START_SECONDS:g} s")
            time.sleep(0.1)
        if described["EndpointStatus"] != "InService":
            raise UserError(
                f"{self._plan.endpoint} is {described['EndpointStatus']}: {described.get('FailureReason', '')}",
                next_step="mend it and deploy it again: slipway up",
            )

    def check(self) -> None:
        if "AsyncInferenceConfig" in self.describe():
            raise UserError(
                f"{self._plan.endpoint} is asynchronous, and a rehearsal asks real-time endpoints",
                next_step="give the name of another model",
            )

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = self._sagemaker.describe_endpoint(EndpointName=self._plan.endpoint)
        return described

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._cloud}/_slipway/status", timeout=30) as answer:  # noqa: S310 — loopback
            status = json.load(answer)
        (endpoint,) = (one for one in status["endpoints"] if one["name"] == self._plan.endpoint)
        return {**endpoint, "clock": status["server"]["clock"]}

    async def measure_capacity(self) -> float:
        """Requests a second that one replica answers to a few clients without pause. Raises UserError."""
        import aiohttp

        port = next(replica["port"] for variant in self.status()["variants"] for replica in variant["replicas"])
        url, headers = f"http://127.0.0.1:{port}/invocations", self.headers
        counts, failures = [0] * CAPACITY_CLIENTS, []

        async def ask(session: aiohttp.ClientSession, number: int, end: float) -> None:
            while time.perf_counter() < end:
                async with session.post(url, data=self._plan.body, headers=headers) as response:
                    content = await response.read()
                if response.status != 200:
                    failures.append(content.decode(errors="replace")[:300])
                    return
                counts[number] += 1

        async with aiohttp.ClientSession() as session:
            # What the first request has to do once is no part of it.
            for seconds in (0.3, CAPACITY_SECONDS):
                counts[:] = [0] * CAPACITY_CLIENTS
                end = time.perf_counter() + seconds
                await asyncio.gather(*(ask(session, number, end) for number in range(CAPACITY_CLIENTS)))
        if failures:
            raise UserError(
                f"{self._plan.endpoint} refuses the sample: {failures[0]}", next_step="give another with --sample FILE"
            )
        return max(1.0, sum(counts) / CAPACITY_SECONDS)

    @property
    def url(self) -> str:
        return f"{self._cloud}/endpoints/{self._plan.endpoint}/invocations"

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": self._plan.content_type, "accept": "application/json"}

    # --- policies -------------------------------------------------------------------------------------------------

    def _scaling_policies(self) -> list[dict[str, Any]]:
        found = self._scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        return list(found)

    def target(self) -> float | None:
        """Requests a second that the endpoint's scaling policy wants one replica to carry; None where none says so."""
        for policy in self._scaling_policies():
            config = policy.get("TargetTrackingScalingPolicyConfiguration", {})
            metric = config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType", "")
            if metric == "SageMakerVariantInvocationsPerInstance":
                return float(config["TargetValue"]) / 60
        return None

    def policies(self) -> dict[str, Any]:
        """What the endpoint was provisioned with."""
        targets = self._scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return {
            "deployment": self.describe().get("LastDeploymentConfig"),
            "instances": [[one["MinCapacity"], one["MaxCapacity"]] for one in targets],
            "scaling": [policy["PolicyName"] for policy in self._scaling_policies()],
        }

    # --- the new version ------------------------------------------------------------------------------------------

    def make_version(self) -> None:
        """A configuration beside the present one, of models that are made anew, with the fault where there is one."""
        sagemaker = self._sagemaker
        described = sagemaker.describe_endpoint_config(EndpointConfigName=self.describe()["EndpointConfigName"])
        config = {name: value for name, value in described.items() if name in _CONFIG_MEMBERS}
        for number, variant in enumerate(config["ProductionVariants"], start=1):
            found = sagemaker.describe_model(ModelName=variant["ModelName"])
            model = {name: value for name, value in found.items() if name in _MODEL_MEMBERS}
            if self._plan.fault is not None:
                model["PrimaryContainer"] = self._with_fault(found["PrimaryContainer"], self._plan.fault)
            variant["ModelName"] = f"{NEW}-{number}"
            sagemaker.create_model(ModelName=variant["ModelName"], **model)
        sagemaker.create_endpoint_config(EndpointConfigName=NEW, **config)

    def point_alarms(self) -> None:
        """Alarms of the deployment policy that watch the present configuration by its name watch the new one instead.

        The infra program does the same before it moves an endpoint.
        """
        deployment = self.describe().get("LastDeploymentConfig", {})
        names = [alarm["AlarmName"] for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
        if not names:
            return
        present, cloudwatch = self.describe()["EndpointConfigName"], client("cloudwatch", self._cloud)
        for alarm in cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]:
            queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
            dimensions = [one for metric in (alarm, *queries) for one in metric.get("Dimensions", [])]
            for dimension in dimensions:
                if (dimension["Name"], dimension["Value"]) == ("EndpointConfigName", present):
                    dimension["Value"] = NEW
            cloudwatch.put_metric_alarm(
                **{key: value for key, value in alarm.items() if key in _ALARM_MEMBERS and value not in ([], None)}
            )

    def _with_fault(self, container: dict[str, Any], fault: Fault) -> dict[str, Any]:
        address = container.get("ModelDataUrl")
        if address is None:
            raise UserError("a bad version is made of an artifact in one object of S3, and this model has a folder")
        bucket, _, key = address.removeprefix("s3://").partition("/")
        s3 = client("s3", self._cloud)
        artifact = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key=f"{NEW}/model.tar.gz", Body=bad_version(artifact, fault))
        return {**container, "ModelDataUrl": f"s3://{bucket}/{NEW}/model.tar.gz"}

    def update(self) -> bool:
        """Begins the rollout; False where AWS refuses it since the endpoint is being scaled. Raises UserError."""
        from botocore.exceptions import ClientError

        deployment = self.describe().get("LastDeploymentConfig")
        more = {"DeploymentConfig": deployment} if deployment else {}
        try:
            # The count that scaling came to is kept, as the infra program does.
            self._sagemaker.update_endpoint(
                EndpointName=self._plan.endpoint, EndpointConfigName=NEW, RetainAllVariantProperties=True, **more
            )
        except ClientError as error:
            said = error.response["Error"].get("Message", "")
            if "in-progress" in said:
                return False
            raise UserError(
                f"{self._plan.endpoint} cannot be updated: {said}",
                next_step="change deploy.rollout or deploy.instances in the spec, then: slipway up",
            ) from None
        return True
