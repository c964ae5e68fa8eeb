"""The whole program on a recording engine: what it declares, from which inputs, in which order."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from built_models import write_model
from pulumi.runtime import rpc

from infra import model_endpoint, program

# Kept for as long as Python runs: the SDK holds on to it, and one that is dropped open is a warning.
LOOP = asyncio.new_event_loop()


@pytest.fixture(autouse=True)
def event_loop() -> None:
    """The SDK takes the thread's event loop, of which an earlier test that ran `asyncio.run` leaves none."""
    asyncio.set_event_loop(LOOP)


# The SDK warns about its own deprecated classes when its S3 module is imported, whether or not they are used.
pytestmark = pytest.mark.filterwarnings("ignore:aws.s3/:DeprecationWarning", "ignore:s3.BucketV2:DeprecationWarning")

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"


@dataclass
class Made:
    """One resource as the program asked for it; `request` is the engine's own message."""

    kind: str
    inputs: dict[str, Any]
    request: Any


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Says yes to everything, and keeps what it was asked."""

    live_configuration: str | None = None
    made: list[Made] = field(default_factory=list)

    def new_resource(self, args):
        outputs = dict(args.inputs)
        if args.typ == "aws:s3/bucket:Bucket":
            outputs |= {"bucket": f"{args.name}-0a1b2c3", "arn": f"arn:aws:s3:::{args.name}-0a1b2c3"}
        elif args.typ.startswith("aws:"):
            outputs.setdefault("name", f"{args.name}-0a1b2c3")
            outputs.setdefault("arn", f"arn:aws:mock:::{args.name}")
        if args.typ == "aws:sagemaker/endpoint:Endpoint" and self.live_configuration:
            outputs["endpointConfigName"] = self.live_configuration
        return f"{args.name}-id", outputs

    def call(self, args):
        assert args.token == "aws:index/getCallerIdentity:getCallerIdentity"
        assert "::aws::" in args.provider, "the account was asked for without the explicit provider"
        return {"accountId": ACCOUNT, "arn": "", "userId": "", "id": ""}

    @property
    def resources(self):
        return [made for made in self.made if made.request.type.startswith("aws:")]

    def of(self, kind):
        return [made for made in self.made if made.kind == kind]

    def one(self, kind):
        (made,) = self.of(kind)
        return made

    def needs(self, kind):
        """Kinds of the resources that the engine must make before the one of this kind, and remove after it."""
        return {urn.split("::")[2].split(":")[-1] for urn in self.one(kind).request.dependencies}


class Monitor(pulumi.runtime.mocks.MockMonitor):
    """Keeps the requests too: ordering, protection and replacement are options, which the mocks do not get to see."""

    def RegisterResource(self, request):
        response = super().RegisterResource(request)
        inputs = rpc.deserialize_properties(request.object)
        self.mocks.made.append(Made(request.type.split(":")[-1], inputs, request))
        return response


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    return tmp_path


@pytest.fixture
def deploy(project, monkeypatch):
    """Runs the program on a stack of the project; gives the recorder and the stack's outputs."""

    def run(stack="local", preview=False, recorder=None, **config):
        if stack != "local":
            monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
            config = {"account": ACCOUNT, **config}
        recorder = recorder or Recorder()
        pulumi.runtime.set_mocks(recorder, project="slipway", stack=stack, preview=preview, monitor=Monitor(recorder))
        pulumi.runtime.settings.SETTINGS.root_directory = str(project)
        config = {"region": "eu-west-1", **config}
        pulumi.runtime.set_all_config({f"slipway:{key}": value for key, value in config.items()})
        exported = {}
        monkeypatch.setattr(pulumi, "export", exported.__setitem__)

        @pulumi.runtime.test
        def whole():
            program.run()

        whole()
        return recorder, exported

    yield run
    pulumi.runtime.set_all_config({})


def value(output):
    seen = []

    @pulumi.runtime.test
    def resolve():
        return pulumi.Output.from_input(output).apply(seen.append)

    resolve()
    return seen[0]


def test_one_model_is_one_of_each_resource(project, deploy):
    write_model(project, "news")
    made, _ = deploy()
    bucket = """Bucket BucketPublicAccessBlock BucketOwnershipControls BucketPolicy BucketVersioning
        BucketServerSideEncryptionConfiguration BucketLifecycleConfiguration"""
    endpoint = "BucketObjectv2 Role RolePolicy Model EndpointConfiguration Endpoint"
    assert sorted(resource.kind for resource in made.resources) == sorted([*bucket.split(), *endpoint.split()])


@pytest.mark.parametrize("broken", ["stale", "missing", "unset endpoint"])
def test_no_resource_is_made_when_something_is_wrong(project, deploy, monkeypatch, broken):
    write_model(project, "good")
    write_model(project, "bad")
    if broken == "stale":
        (project / "specs/bad.yaml").write_text("changed: true\n")
    elif broken == "missing":
        (project / "build/bad/manifest.json").unlink()
    else:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
    recorder = Recorder()
    with pytest.raises(pulumi.RunError, match="nothing was deployed, because of one problem:\n"):
        deploy(recorder=recorder)
    assert [made.kind for made in recorder.made if made.kind != "Stack"] == []


def test_the_artifact_is_uploaded_under_its_digest_and_the_model_reads_it_there(project, deploy):
    digest = write_model(project, "news").artifact.sha256
    made, _ = deploy()
    stored = made.one("BucketObjectv2").inputs
    assert stored["key"] == f"news/{digest}.tar.gz"
    assert stored["source"].path == str(project / "build/news/model.tar.gz")
    container = made.one("Model").inputs["primaryContainer"]
    assert container["modelDataUrl"] == f"s3://{stored['bucket']}/{stored['key']}"


def test_a_container_gets_the_image_and_environment_of_its_spec(project, deploy):
    write_model(project, "news", deploy={"image": "slim:1", "environment": {"THREADS": "2"}})
    container = deploy()[0].one("Model").inputs["primaryContainer"]
    assert container["image"] == "763104351884.dkr.ecr.eu-west-1.amazonaws.com/slim:1"
    assert container["environment"] == {"THREADS": "2"}


def test_the_endpoint_keeps_its_name_and_nothing_else_has_a_fixed_one(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev")
    assert made.one("Endpoint").inputs["name"] == "news-dev"
    for kind in ("Model", "EndpointConfiguration", "Role", "RolePolicy", "Bucket"):
        assert not {"name", "bucket"} & set(made.one(kind).inputs), kind
    assert made.one("Endpoint").request.deleteBeforeReplace


def test_the_variant_is_always_called_the_same_and_starts_with_the_minimum(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 2, "max": 6}, "instance": "ml.c7i.xlarge"})
    (variant,) = deploy()[0].one("EndpointConfiguration").inputs["productionVariants"]
    assert (variant["variantName"], variant["initialInstanceCount"]) == ("AllTraffic", 2)
    assert variant["instanceType"] == "ml.c7i.xlarge"
    assert variant["modelName"].startswith("news-local")


def test_a_range_of_instances_scales_on_invocations_per_instance(project, deploy):
    scaling = {"target": 900, "scale_in_cooldown": 400, "scale_out_cooldown": 30}
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 4}, "autoscaling": scaling})
    made, _ = deploy(stack="dev")
    target = made.one("Target").inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (1, 4)
    assert target["resourceId"] == "endpoint/news-dev/variant/AllTraffic"
    assert target["scalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    policy = made.one("Policy").inputs
    assert policy["policyType"] == "TargetTrackingScaling"
    assert policy["targetTrackingScalingPolicyConfiguration"] == {
        "targetValue": 900,
        "predefinedMetricSpecification": {"predefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "scaleInCooldown": 400,
        "scaleOutCooldown": 30,
    }


def test_a_fixed_count_has_no_autoscaling(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 2, "max": 2}})
    made, _ = deploy()
    assert made.of("Target") == made.of("Policy") == []


def test_what_is_needed_comes_first_and_goes_last(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}})
    made, _ = deploy(stack="dev")
    hardening = "BucketPolicy BucketPublicAccessBlock BucketServerSideEncryptionConfiguration BucketVersioning"
    assert set(hardening.split()) <= made.needs("BucketObjectv2")
    assert {"Role", "RolePolicy", "BucketObjectv2"} <= made.needs("Model")
    assert "Model" in made.needs("EndpointConfiguration")
    assert "EndpointConfiguration" in made.needs("Endpoint")
    assert "Endpoint" in made.needs("Target")
    assert "Target" in made.needs("Policy")


def test_a_policy_is_replaced_so_that_the_running_model_keeps_its_artifact_until_the_endpoint_moved(project, deploy):
    write_model(project, "news")
    assert list(deploy()[0].one("RolePolicy").request.replaceOnChanges) == ["policy"]


def test_a_role_is_bound_to_the_account_and_to_one_artifact(project, deploy):
    digest = write_model(project, "news").artifact.sha256
    made, _ = deploy(stack="dev")
    assert made.one("Role").inputs["path"] == "/slipway/dev/"
    trust = json.loads(made.one("Role").inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    granted = json.loads(made.one("RolePolicy").inputs["policy"])["Statement"]
    reading = [item["Resource"] for item in granted if item["Action"] == "s3:GetObject"]
    assert reading == [f"arn:aws:s3:::slipway-dev-0a1b2c3/news/{digest}.tar.gz"]


def test_the_bucket_is_closed_encrypted_versioned_and_tidied(project, deploy):
    made, _ = deploy(noncurrent_days="14")
    block = made.one("BucketPublicAccessBlock").inputs
    assert [
        block[key] for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ] == [True] * 4
    assert made.one("BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    assert made.one("BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    (encryption,) = made.one("BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert encryption["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    statement = json.loads(made.one("BucketPolicy").inputs["policy"])["Statement"][0]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    uploads, versions = made.one("BucketLifecycleConfiguration").inputs["rules"]
    assert uploads["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert versions["noncurrentVersionExpiration"] == {"noncurrentDays": 14}


def test_only_the_local_bucket_goes_with_what_is_in_it(project, deploy):
    assert deploy()[0].one("Bucket").inputs["forceDestroy"] is True
    assert deploy(stack="dev")[0].one("Bucket").inputs["forceDestroy"] is False


def test_production_protects_what_clients_and_rollbacks_stand_on_and_nothing_that_is_replaced(project, deploy):
    write_model(project, "news", environments={"prod": {"instances": {"min": 2, "max": 4}}})
    made, _ = deploy(stack="prod")
    protected = {resource.kind for resource in made.resources if resource.request.protect}
    assert protected == {"Bucket", "Endpoint"}
    assert not [resource for resource in deploy(stack="dev")[0].made if resource.request.protect]


def test_the_local_stack_uses_the_local_plugin_and_the_loopback_endpoint_for_every_service(project, deploy):
    made, _ = deploy()
    provider = made.one("aws")
    assert provider.request.version == "0.0.1"
    (endpoints,) = json.loads(provider.inputs["endpoints"])
    assert {"s3", "iam", "sts", "sagemaker", "applicationautoscaling"} <= set(endpoints)
    assert set(endpoints.values()) == {"http://127.0.0.1:4566"}


def test_a_stack_on_aws_uses_the_real_plugin_for_its_own_account_and_region_only(project, deploy):
    made, _ = deploy(stack="dev", tags='{"team": "search"}')
    provider = made.one("aws")
    assert provider.request.version != "0.0.1"
    assert "endpoints" not in provider.inputs
    assert provider.inputs["region"] == "eu-west-1"
    assert json.loads(provider.inputs["allowedAccountIds"]) == [ACCOUNT]
    assert json.loads(provider.inputs["defaultTags"]) == {"tags": {"team": "search", "slipway:stack": "dev"}}


def test_every_resource_uses_the_explicit_provider(project, deploy):
    write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}})
    made, _ = deploy()
    without = [resource.kind for resource in made.resources if not resource.request.provider.endswith("::aws::aws-id")]
    assert without == []


def test_every_resource_that_can_be_tagged_says_which_model_it_belongs_to(project, deploy):
    digest = write_model(project, "news", deploy={"instances": {"min": 1, "max": 2}}).artifact.sha256
    made, _ = deploy()
    for kind in ("BucketObjectv2", "Model", "EndpointConfiguration"):
        assert made.one(kind).inputs["tags"] == {"slipway:model": "news", "slipway:digest": digest}
    for kind in ("Role", "Endpoint", "Target"):
        assert made.one(kind).inputs["tags"] == {"slipway:model": "news"}


def test_the_outputs_name_every_endpoint_and_what_runs_on_it(project, deploy):
    digests = {name: write_model(project, name).artifact.sha256 for name in ("fashion", "news")}
    _, outputs = deploy(stack="dev")
    assert value(outputs["endpoints"]) == {"fashion": "fashion-dev", "news": "news-dev"}
    assert value(outputs["bucket"]) == "slipway-dev-0a1b2c3"
    assert outputs["region"] == "eu-west-1"
    assert outputs["models"]["news"] == {
        "digest": digests["news"],
        "candidate": "export_onnx → quantize_dynamic",
        "instance": "ml.c7i.large",
    }


def test_an_update_that_sagemaker_rolled_back_fails_the_program(project, deploy):
    write_model(project, "news")
    with pytest.raises(pulumi.RunError, match="rolled the update back; it still runs news-dev-old"):
        deploy(stack="dev", recorder=Recorder(live_configuration="news-dev-old"))


def test_a_preview_does_not_ask_whether_an_endpoint_moved(project, deploy):
    write_model(project, "news")
    made, _ = deploy(stack="dev", preview=True, recorder=Recorder(live_configuration="news-dev-old"))
    assert made.of("Endpoint")


def test_an_endpoint_that_moved_passes():
    model_endpoint.require_moved("news-dev", "new", "new")


# The SDK itself brings YAML along; what counts is what the program adds to it.
SCRIPT = (
    "import sys, pulumi, pulumi_aws; before = set(sys.modules); import infra.program; print(*set(sys.modules) - before)"
)


def test_the_program_imports_neither_torch_nor_yaml_nor_anything_that_reads_specs():
    loaded = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in loaded if name.startswith("model_build")} == {"model_build", "model_build.manifest"}
    assert not {"torch", "yaml", "onnx", "onnxruntime", "numpy", "boto3", "moto"} & set(loaded)
