"""`slipway batch`: what an endpoint runs, on many records at once: a batch transform job, on AWS or on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.console import Console

if TYPE_CHECKING:
    from slipway.batch_data import Inputs
    from slipway.batch_job import Cloud, State


@click.command()
@click.argument("name")
@click.option("--env", "environment", default="local", show_default=True, help="Environment (stack) of the endpoint.")
@click.option("--input", "source", required=True, help="s3://BUCKET/PREFIX/, or a file or folder, which is uploaded.")
@click.option("--output", "target", required=True, help="s3://BUCKET/PREFIX/, or a folder that outputs are brought to.")
@click.option("--content-type", help="Of a record; by the files' endings where it is not given.")
@click.option("--split", type=click.Choice(["line", "none"]), help="A record is a line, or a file. JSON Lines: line.")
@click.option(
    "--strategy",
    type=click.Choice(["multi-record", "single-record"]),
    help="Records of a request: as many as fit, or one. JSON Lines: multi-record.",
)
@click.option("--assemble", type=click.Choice(["line", "none"]), help="What follows each answer. Lines: line.")
@click.option("--accept", help="Content type of the answers. JSON Lines of JSON Lines, else JSON.")
@click.option("--join", is_flag=True, help="Write each record with its answer as SageMakerOutput.")
@click.option("--input-filter", metavar="PATH", help="What of a record the model gets, for instance $.request.")
@click.option("--output-filter", metavar="PATH", help="What is written, for instance $['id','SageMakerOutput'].")
@click.option("--instances", type=click.IntRange(1), default=1, show_default=True, help="That share the files.")
@click.option("--instance", metavar="TYPE", help="Their type; the endpoint's, if not given.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Requests at once to an instance; 1, if not given.")
@click.option("--max-payload", type=click.IntRange(1, 100), default=6, show_default=True, help="MB of a request.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether to stay until the job has ended.")
@click.pass_obj
def command(
    root: Path,
    /,
    name: str,
    environment: str,
    source: str,
    target: str,
    content_type: str | None,
    wait: bool,
    **given: Any,
) -> None:
    """Run the deployed model NAME over files: each gets an output of its name with `.out` behind it.

    Takes exactly the artifact that the endpoint runs, in a batch transform job of its own; the endpoint is not asked.
    A file of JSON Lines has a request on each line, and its output an answer on each. Any other file is a request.
    ^C stops the job. On AWS the spec has to say `deploy: {batch: {}}`.

    \b
      slipway batch news-topics --input texts.jsonl --output answers/
      slipway batch fashion --input photos/ --output labels/ --max-concurrent 4
      slipway batch news-topics --env prod --input s3://texts/new/ --output s3://texts/done/ --join
    """
    from model_build import loading
    from model_build.errors import UserError
    from slipway import batch, batch_data, batch_job, environments

    console = Console()
    (path,) = loading.find([name], root)
    granted = loading.load(path, root).deployment(environment).batch
    local = environments.is_local(root, environment)

    def client(service: str) -> Any:
        return environments.client(root, environment, service)

    control, s3 = client("sagemaker"), client("s3")
    model = batch.deployed(control, f"{name}-{environment}")
    job = batch.job_name(name, environment)
    own = f"s3://{model.bucket}/batch/{name}/{job}"
    remote = target if batch_data.is_address(target) else f"{own}/output/"
    read = source if batch_data.is_address(source) else f"{own}/input/"
    if not local:
        batch.require_granted(name, granted, model, environment, read, remote)
    files = {} if batch_data.is_address(source) else batch_data.local_files(Path(source))
    inputs = _named(read, files) if files else batch_data.found(s3, source)
    kind = batch.kind_of(list(inputs.sizes), content_type)
    if remote != target:
        batch_data.require_free(Path(target), inputs.outputs())
    options = batch.Options(**given)
    types = control.meta.service_model.shape_for("TransformInstanceType").enum
    request = batch.request(job, model, inputs.uri, remote, kind, options, types)
    if files:
        with console.step(f"upload {len(files)} file(s) to {inputs.uri}"):
            batch_data.uploaded(s3, files, inputs.bucket, inputs.prefix)
    cloud = batch_job.Cloud(control, client("logs"), every=0.3 if local else 5.0)
    batch_job.start(cloud, request)
    click.echo(f"{job}: artifact {model.digest[:12]} of {model.endpoint} on {_resources(request)}", err=True)
    if local and granted is None:
        click.echo(f"(on AWS, specs/{name}.yaml needs `batch: {{}}` under deploy for this)", err=True)
    if not wait:
        click.echo(job)
        click.echo(
            f"outputs come to {remote}; how far it is: aws sagemaker describe-transform-job --transform-job-name {job}",
            err=True,
        )
        return
    run = _Run(name, cloud, s3, job, inputs, remote, console)
    found = run.followed()
    outputs = run.written()
    if remote != target:
        with console.step(f"bring {len(outputs)} output(s) to {target}"):
            batch_data.brought(s3, remote, list(outputs), Path(target))
    if found["TransformJobStatus"] != "Completed":
        if outputs:
            click.echo(f"{len(outputs)} of {len(inputs.sizes)} outputs are in {target}", err=True)
        if found["TransformJobStatus"] == "Failed":
            raise batch_job.failure(cloud, name, found)
        raise UserError(f"{job} was stopped by somebody", "start it again")
    click.echo(_ending(outputs, target, found, _price(found, control, local)))


def _named(address: str, files: Mapping[str, Path]) -> Inputs:
    """Files of this machine as they will be below an address."""
    from slipway.batch_data import Inputs, split

    bucket, prefix = split(address)
    return Inputs(bucket, prefix, {f"{prefix}{name}": path.stat().st_size for name, path in files.items()})


def _resources(request: Mapping[str, Any]) -> str:
    resources = request["TransformResources"]
    return f"{resources['InstanceCount']} × {resources['InstanceType']}"


@dataclass(frozen=True)
class _Run:
    """A job that was started, and its data."""

    model: str
    cloud: Cloud
    s3: Any
    job: str
    inputs: Inputs
    remote: str
    console: Console

    def written(self) -> dict[str, int]:
        from slipway.batch_data import written

        return written(self.s3, self.remote, self.inputs.outputs())

    def followed(self) -> dict[str, Any]:
        """The ended job; ^C stops it, and says so."""
        from slipway import batch_job

        last = ""

        def show(state: State) -> None:
            nonlocal last
            if str(state) != last:
                last = str(state)
                self.console.note(last)

        try:
            with self.console.step(f"{len(self.inputs.sizes)} file(s), {_size(self.inputs.sizes)}"):
                return batch_job.follow(self.cloud, self.job, len(self.inputs.sizes), self.written, show)
        except KeyboardInterrupt:
            click.echo(f"stopping {self.job} …", err=True)
            status = batch_job.stop(self.cloud, self.job)
            done = f"{len(self.written())} of {len(self.inputs.sizes)} outputs are in {self.remote}"
            click.echo(f"{self.job} is {status}; {done}", err=True)
            raise


def _size(sizes: Mapping[str, int]) -> str:
    return f"{sum(sizes.values()) / 1e6:.2f} MB"


def _price(found: Mapping[str, Any], control: Any, local: bool) -> str:
    from slipway.batch_job import cost

    return "nothing to pay: it ran on this machine" if local else cost(found, control.meta.region_name)


def _ending(outputs: Mapping[str, int], target: str, found: Mapping[str, Any], price: str) -> str:
    from slipway.batch_job import seconds

    return (
        f"{len(outputs)} output(s), {_size(outputs)}, in {target}\n"
        f"{seconds(found):.1f} s of {_resources(found)}; {price}"
    )
