"""The plugin's gRPC face: Pulumi's provider protocol on a thread pool, each call a thin shell around plain functions.

On the raw protocol and not on `pulumi.provider.experimental`: that one runs every call on one event loop, so a wait
for one endpoint would hold all others up; it puts tracebacks into users' messages; and it cannot say that a resource
was created but does not work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import any_pb2, empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from localcloud.provider import VERSION, lifecycle
from localcloud.provider.checking import check
from localcloud.provider.cloud import CONNECTIONS, Cloud
from localcloud.provider.configuration import missing_endpoint, read_configuration
from localcloud.provider.declarations import Resource
from localcloud.provider.diffing import Change, Difference, diff
from localcloud.provider.errors import InitializationFailed, ProviderError
from localcloud.provider.functions import invoke
from localcloud.provider.messages import EngineMessages
from localcloud.provider.resources import RESOURCES
from localcloud.provider.schema import schema_text
from localcloud.provider.values import Values, contains_unknown, from_struct, to_struct

MESSAGE_LIMIT = 400 * 1024 * 1024  # bytes, the engine's own
GRACE = 2.0  # seconds for calls in progress when the process is told to end


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One configured provider; the engine starts a process for each."""

    def __init__(self, engine: str = "") -> None:
        """`engine` is the address at which the engine takes messages; empty for none."""
        self._cloud: Cloud | None = None
        self._messages = EngineMessages(engine)

    @property
    def cloud(self) -> Cloud:
        if self._cloud is None:
            raise ProviderError("the local aws provider was not configured")
        return self._cloud

    # --- the plugin itself

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=schema_text())

    def Cancel(self, request: Any, context: Any) -> Any:
        if self._cloud is not None:
            self._cloud.cancelled.set()
        return empty_pb2.Empty()

    # --- its configuration

    def CheckConfig(self, request: Any, context: Any) -> Any:
        _, failures = read_configuration(from_struct(request.news))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        """Only another region is another provider, whose resources lie elsewhere; a new port is the same one."""
        before, after = from_struct(request.old_inputs), from_struct(request.news)
        changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        replaces = ["region"] if "region" in changed else []
        return provider_pb2.DiffResponse(changes=some, diffs=changed, replaces=replaces)

    def Configure(self, request: Any, context: Any) -> Any:
        with _reported(context):
            configuration, failures = read_configuration(from_struct(request.args))
            if configuration is None:
                raise ProviderError("\n".join(reason for _, reason in failures))
            self._cloud = Cloud(configuration, self._messages.warn)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    # --- resources

    def Check(self, request: Any, context: Any) -> Any:
        with _reported(context):
            resource = _resource(request.urn)
            name = request.urn.rpartition("::")[2]
            inputs, failures = check(
                resource,
                name,
                from_struct(request.olds),
                from_struct(request.news),
                request.randomSeed,
                self.cloud.region,
            )
            if resource.service not in self.cloud.configuration.endpoints:
                failures.append(missing_endpoint(resource.service))
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=_failures(failures))

    def Diff(self, request: Any, context: Any) -> Any:
        with _reported(context):
            difference = diff(
                _resource(request.urn),
                from_struct(request.old_inputs),
                from_struct(request.olds),
                from_struct(request.news),
                self.cloud.default_tags,
            )
        return _diff_response(difference, request.ignoreChanges)

    def Create(self, request: Any, context: Any) -> Any:
        with _reported(context) as cannot_initialize:
            resource, inputs = _resource(request.urn), from_struct(request.properties)
            if request.preview or contains_unknown(inputs):
                state = lifecycle.preview_create(self.cloud, resource, inputs)
                return provider_pb2.CreateResponse(properties=to_struct(state))
            try:
                identifier, state = lifecycle.create(self.cloud, resource, inputs)
            except InitializationFailed as failure:
                state = lifecycle.recorded_state(self.cloud, resource, failure.identifier, inputs)
                cannot_initialize(failure, state, inputs)
        return provider_pb2.CreateResponse(id=identifier, properties=to_struct(state))

    def Read(self, request: Any, context: Any) -> Any:
        with _reported(context) as cannot_initialize:
            resource = _resource(request.urn)
            found = lifecycle.read(
                self.cloud, resource, request.id, from_struct(request.properties), from_struct(request.inputs)
            )
            if found is None:
                return provider_pb2.ReadResponse()
            identifier, inputs, state = found
            reason = lifecycle.trouble(self.cloud, resource, identifier)
            if reason:
                cannot_initialize(InitializationFailed(reason, identifier), state, inputs)
        return provider_pb2.ReadResponse(id=identifier, properties=to_struct(state), inputs=to_struct(inputs))

    def Update(self, request: Any, context: Any) -> Any:
        with _reported(context) as cannot_initialize:
            resource, inputs = _resource(request.urn), from_struct(request.news)
            old = from_struct(request.olds)
            if request.preview or contains_unknown(inputs):
                state = lifecycle.preview_update(self.cloud, resource, old, inputs)
                return provider_pb2.UpdateResponse(properties=to_struct(state))
            try:
                state = lifecycle.update(self.cloud, resource, request.id, old, inputs)
            except InitializationFailed as failure:
                state = lifecycle.recorded_state(self.cloud, resource, failure.identifier, inputs)
                cannot_initialize(failure, state, inputs)
        return provider_pb2.UpdateResponse(properties=to_struct(state))

    def Delete(self, request: Any, context: Any) -> Any:
        with _reported(context):
            lifecycle.delete(self.cloud, _resource(request.urn), request.id, from_struct(request.properties))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with _reported(context):
            result = invoke(self.cloud, request.tok, from_struct(request.args))
        return provider_pb2.InvokeResponse(**{"return": to_struct(result)})


def _resource(urn: str) -> Resource:
    # URN: urn:pulumi:STACK::PROJECT::PARENT_TYPE$TYPE::NAME
    token = urn.split("::")[2].rpartition("$")[2]
    if token not in RESOURCES:
        raise ProviderError(
            f"{token}: this resource type is not implemented by the local aws provider; "
            f"supported: {', '.join(sorted(RESOURCES))}"
        )
    return RESOURCES[token]


def _failures(failures: Iterable[tuple[str, str]]) -> list[Any]:
    return [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in failures]


def _diff_response(difference: Difference, ignored: Iterable[str]) -> Any:
    ignored = tuple(ignored)
    changes = [change for change in difference.changes if not _is_ignored(change.path, ignored)]
    replacing = sorted({_first(change.path) for change in changes if change.replaces})
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=replacing,
        diffs=sorted({_first(change.path) for change in changes}),
        detailedDiff={change.path: _property_diff(change) for change in changes},
        hasDetailedDiff=True,
        deleteBeforeReplace=bool(replacing) and difference.delete_before_replace,
    )


def _property_diff(change: Change) -> Any:
    kind = change.kind.upper() + ("_REPLACE" if change.replaces else "")
    return provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.Kind.Value(kind), inputDiff=change.of_input)


def _first(path: str) -> str:
    return path.replace("[", ".").partition(".")[0]


def _is_ignored(path: str, ignored: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith((one + ".", one + "[")) for one in ignored)


@contextmanager
def _reported(context: Any) -> Iterator[Callable[[InitializationFailed, Values, Values], None]]:
    """Turns errors into the protocol's: a message, or a resource to record together with what is wrong with it."""

    def cannot_initialize(failure: InitializationFailed, state: Values, inputs: Values) -> None:
        details = any_pb2.Any()
        details.Pack(
            provider_pb2.ErrorResourceInitFailed(
                id=failure.identifier,
                properties=to_struct(state),
                inputs=to_struct(inputs),
                reasons=[failure.reason],
            )
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=failure.reason, details=[details])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, failure.reason)

    try:
        yield cannot_initialize
    except ProviderError as error:
        context.abort(grpc.StatusCode.UNKNOWN, str(error))


def main() -> int:
    """Serves until the engine ends the process, or is gone itself."""
    # Before the engine hears of us: once it knows the port it may be killed, and we would watch who adopted us.
    engine = os.getppid()
    _forget_the_environment()
    # The engine ends its plugins by SIGINT and kills them 5 s later. A terminal's ^C does not come here: the engine
    # starts plugins in process groups of their own, and says Cancel where a wait has to stop.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server = grpc.server(
        futures.ThreadPoolExecutor(CONNECTIONS, "call"),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ],
    )
    # The engine's own address is the one argument that it starts plugins with.
    provider = Provider(sys.argv[1] if len(sys.argv) > 1 else "")
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)  # the engine reads it
    threading.Thread(target=_watch_parent, args=(engine, ended), daemon=True).start()
    ended.wait()
    server.stop(GRACE).wait()
    return 0


def _forget_the_environment() -> None:
    """The endpoint and the keys come from the provider's configuration, and from nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def _watch_parent(parent: int, ended: threading.Event) -> None:
    """An engine that was killed cannot end its plugins; they would stay for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    ended.set()
