"""The process: serves the language runtime on a loopback port, tells the engine which, and ends when it should."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2_grpc

from toolchain.language_host.runtime import LanguageRuntime

# Each running program and plugin holds a thread, since the engine waits on its call for as long as it runs.
THREADS = 64
MESSAGE_BYTES = 400 * 1024 * 1024  # as the engine and the SDK set it
PARENT_SECONDS = 2.0


def main() -> None:
    """Runs until the engine interrupts it, which is how it says goodbye, or is gone."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    # The engine's address is the last argument, after flags of logging and tracing.
    runtime = LanguageRuntime(engine_address=sys.argv[-1] if len(sys.argv) > 1 else "")
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_send_message_length", MESSAGE_BYTES)],
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(runtime, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # A killed engine says no goodbye; then the parent changes, and programs and plugins must not outlive it.
    while not stop.wait(PARENT_SECONDS) and os.getppid() == parent:
        pass
    runtime.processes.end()
    server.stop(grace=1).wait()
