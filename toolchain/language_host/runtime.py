"""The calls of the engine: what it asks of a language runtime, as far as running programs and plugins needs it.

The rest (`pulumi new`, `package add`, `convert`) answers "unimplemented", and is for the official host.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2, json_format  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from toolchain.language_host import interpreter, program
from toolchain.language_host.processes import Processes

_DEPENDENCIES = Path(__file__).with_name("dependencies.py")
_ABOUT = "import platform; print(platform.python_version())"


class LanguageRuntime(language_pb2_grpc.LanguageRuntimeServicer):
    """The service. Method names and messages are the protocol's (`pulumi/language.proto`)."""

    def __init__(self, engine_address: str) -> None:
        self.engine_address = engine_address
        self.processes = Processes()

    def Handshake(self, request: Any, context: Any) -> language_pb2.LanguageHandshakeResponse:
        self.engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo()

    def GetRequiredPlugins(self, request: Any, context: Any) -> language_pb2.GetRequiredPluginsResponse:
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> language_pb2.GetRequiredPackagesResponse:
        # The engine would fetch what is named here; it finds what a program uses by itself as resources register.
        return language_pb2.GetRequiredPackagesResponse()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        # The engine refuses further resources, at which the program ends by itself.
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> language_pb2.RunResponse:
        """Runs the program as a process. What it prints goes through this process's own streams to the engine."""
        python = _interpreter(request.info, context)
        settings = program.Settings(
            program=str(Path(request.pwd, request.info.entry_point or request.program)),
            arguments=list(request.args),
            project=request.project,
            stack=request.stack,
            organization=request.organization or "organization",
            root_directory=request.info.root_directory,
            parallel=request.parallel,
            dry_run=request.dryRun,
            monitor=request.monitor_address,
            engine=self.engine_address,
        )
        # Configuration may hold secrets, and a command line can be read by every user of the machine.
        configuration = {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        command = [str(python.executable), "-u", program.__file__, settings.to_json()]
        child = self.processes.start(command, request.pwd, python.environment(os.environ) | configuration, piped=False)
        self._end_with_call(child, context)
        code = self.processes.wait(child)
        if code == 0:
            return language_pb2.RunResponse()
        if code == program.SHOWN:
            return language_pb2.RunResponse(bail=True)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return language_pb2.RunResponse(error=f"the program {how}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[language_pb2.RunPluginResponse]:
        """Runs a policy pack or a Python provider until the engine ends the call."""
        python = _interpreter(request.info, context)
        base = dict(entry.split("=", 1) for entry in request.env) or dict(os.environ)
        command = [str(python.executable), "-u", request.info.program_directory, *request.args]
        child = self.processes.start(command, request.pwd, python.environment(base), piped=True)
        self._end_with_call(child, context)
        for name, chunk in self.processes.stream(child):
            if name == "stdout":
                yield language_pb2.RunPluginResponse(stdout=chunk)
            else:
                yield language_pb2.RunPluginResponse(stderr=chunk)
        yield language_pb2.RunPluginResponse(exitcode=self.processes.wait(child))

    def _end_with_call(self, child: subprocess.Popen[bytes], context: Any) -> None:
        # gRPC calls back on the thread that serves everybody, so the waiting is done on another.
        ending = threading.Thread(target=self.processes.end, args=(child,), daemon=True)
        if not context.add_callback(ending.start):
            ending.start()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Installs nothing: the environment is the project's own, and made by its own command. Says which one it is."""
        python = _interpreter(request.info, context)
        said = f"nothing is installed by this language host; {request.directory} runs with {python.executable}\n"
        yield language_pb2.InstallDependenciesResponse(stdout=said.encode())

    def About(self, request: Any, context: Any) -> language_pb2.AboutResponse:
        python = _interpreter(request.info, context)
        version = _ask([str(python.executable), "-c", _ABOUT], context).strip()
        return language_pb2.AboutResponse(executable=str(python.executable), version=version)

    def GetProgramDependencies(self, request: Any, context: Any) -> language_pb2.GetProgramDependenciesResponse:
        python = _interpreter(request.info, context)
        which = ["--transitive"] if request.transitiveDependencies else []
        listed = json.loads(_ask([str(python.executable), str(_DEPENDENCIES), *which], context))
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in listed]
        )


def _interpreter(info: Any, context: Any) -> interpreter.Interpreter:
    try:
        return interpreter.choose(json_format.MessageToDict(info.options), Path(info.root_directory))
    except interpreter.InterpreterError as error:
        _abort(context, str(error))


def _ask(command: list[str], context: Any) -> str:
    """The output of a short-lived Python."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        _abort(context, f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _abort(context: Any, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
    raise AssertionError("abort raises")
