"""The whole program of `infra` on a recording engine, which says yes to everything and keeps what it was asked.

Shared by the tests of the program and those of its traps. Each test module has its own fixtures of these functions.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import rpc

from infra import program
from infra.live import LiveEndpoint

ACCOUNT = "123456789012"

# Kept for as long as Python runs: the SDK holds on to it, and one that is dropped open is a warning.
LOOP = asyncio.new_event_loop()

# The SDK warns about its own deprecated classes when its S3 module is imported, whether or not they are used.
DEPRECATED = ("ignore:aws.s3/:DeprecationWarning", "ignore:s3.BucketV2:DeprecationWarning")


@dataclass
class Made:
    """One resource as the program asked for it; `request` is the engine's own message."""

    kind: str
    inputs: dict[str, Any]
    request: Any


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Says yes to everything, and keeps what it was asked. `running` are the account's live endpoints."""

    live_configuration: str | None = None
    running: dict[str, LiveEndpoint] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "aws:s3/bucket:Bucket":
            outputs |= {"bucket": f"{args.name}-0a1b2c3", "arn": f"arn:aws:s3:::{args.name}-0a1b2c3"}
        elif args.typ.startswith("aws:"):
            outputs.setdefault("name", f"{args.name}-0a1b2c3")
            outputs.setdefault("arn", f"arn:aws:mock:::{args.name}")
        if args.typ == "aws:sagemaker/endpoint:Endpoint" and self.live_configuration:
            outputs["endpointConfigName"] = self.live_configuration
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        assert args.token == "aws:index/getCallerIdentity:getCallerIdentity"
        assert "::aws::" in args.provider, "the account was asked for without the explicit provider"
        return {"accountId": ACCOUNT, "arn": "", "userId": "", "id": ""}

    @property
    def resources(self) -> list[Made]:
        return [made for made in self.made if made.request.type.startswith("aws:")]

    def of(self, kind: str) -> list[Made]:
        return [made for made in self.made if made.kind == kind]

    def one(self, kind: str) -> Made:
        (made,) = self.of(kind)
        return made

    def needs(self, kind: str) -> set[str]:
        """Kinds of the resources that the engine must make before the one of this kind, and remove after it."""
        return {urn.split("::")[2].split(":")[-1] for urn in self.one(kind).request.dependencies}


@dataclass
class RecordedAccount:
    """The live account: what the recorder says that runs."""

    recorder: Recorder

    def endpoints(self, names: list[str]) -> dict[str, LiveEndpoint]:
        return {name: found for name, found in self.recorder.running.items() if name in names}

    def endpoint(self, name: str) -> LiveEndpoint | None:
        return self.recorder.running.get(name)

    def restore_scaling(self, name: str) -> None:
        self.recorder.restored.append(name)


class Monitor(pulumi.runtime.mocks.MockMonitor):
    """Keeps the requests too: ordering, protection and replacement are options, which the mocks do not get to see."""

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        inputs = rpc.deserialize_properties(request.object)
        self.mocks.made.append(Made(request.type.split(":")[-1], inputs, request))
        return response


def deploying(project: Path, monkeypatch: Any) -> Iterator[Any]:
    """A function that runs the program on a stack of the project, and gives the recorder and the stack's outputs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    # The SDK takes the thread's event loop, of which an earlier test that ran `asyncio.run` leaves none.
    asyncio.set_event_loop(LOOP)

    def run(stack: str = "local", preview: bool = False, recorder: Recorder | None = None, **config: str) -> Any:
        if stack != "local":
            monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
            config = {"account": ACCOUNT, **config}
        known = recorder or Recorder()
        monkeypatch.setattr(program, "Account", lambda settings: RecordedAccount(known))
        pulumi.runtime.set_mocks(known, project="slipway", stack=stack, preview=preview, monitor=Monitor(known))
        pulumi.runtime.settings.SETTINGS.root_directory = str(project)
        config = {"region": "eu-west-1", **config}
        pulumi.runtime.set_all_config({f"slipway:{key}": value for key, value in config.items()})
        exported: dict[str, Any] = {}
        monkeypatch.setattr(pulumi, "export", exported.__setitem__)

        @pulumi.runtime.test
        def whole() -> None:
            program.run()

        whole()
        return known, exported

    yield run
    pulumi.runtime.set_all_config({})


def value(output: Any) -> Any:
    """What an output comes to."""
    seen: list[Any] = []

    @pulumi.runtime.test
    def resolve() -> Any:
        return pulumi.Output.from_input(output).apply(seen.append)

    resolve()
    return seen[0]
