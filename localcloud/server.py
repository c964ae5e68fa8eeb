"""The server: one socket on loopback, every handler behind it, and an orderly end of all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn

from localcloud import daemon, emulation
from localcloud.autoscaling_tags import AutoscalingTags
from localcloud.clock import Clock
from localcloud.cloudwatch import service
from localcloud.cloudwatch.watch import TICK_SECONDS, Watch
from localcloud.errors import LocalCloudError
from localcloud.gateway import Gateway
from localcloud.page import StatusPage
from localcloud.sagemaker.artifacts import ArtifactStore
from localcloud.sagemaker.control import ControlPlane
from localcloud.sagemaker.fleet import Workshop
from localcloud.sagemaker.metrics import Metrics
from localcloud.sagemaker.replica import Program
from localcloud.sagemaker.runtime import Runtime

log = logging.getLogger(__name__)

HOST = daemon.HOST
DEFAULT_PORT = 4566


@dataclass(frozen=True)
class Settings:
    directory: Path
    port: int | None = None
    program: Program | None = None
    metrics_interval: float = 5.0
    speed: float = 1.0


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises LocalCloudError for a port or directory in use, or a bad speed."""
    clock = Clock(settings.speed)
    settings.directory.mkdir(parents=True, exist_ok=True)
    with daemon.hold(settings.directory), bind(settings.port) as listener:
        import uvloop

        uvloop.run(_serve(settings, clock, listener))


def bind(port: int | None) -> socket.socket:
    """A listening socket on loopback: the port asked for, else 4566, else any free one. Raises LocalCloudError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, DEFAULT_PORT if port is None else port))
        # Listening already here: two sockets can be bound to one port, only one can listen.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        if port is None:
            return bind(0)
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else "needs more rights than yours"
        raise LocalCloudError(
            f"port {port} {why}; choose another with --port, or leave --port out for a free one"
        ) from None
    return listener


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after its own shutdown, before replicas are stopped.
        yield


async def _serve(settings: Settings, clock: Clock, listener: socket.socket) -> None:
    port: int = listener.getsockname()[1]
    program = settings.program or Program.serving()
    artifacts = ArtifactStore(settings.directory / "artifacts")
    artifacts.discard_leftovers()
    # Replicas close idle connections after a few seconds; ours are given up before.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        workshop = Workshop(artifacts, program, session, asyncio.Semaphore(max(2, os.cpu_count() or 1)))
        control = ControlPlane(workshop, settings.directory / "endpoints")
        watch = Watch(clock)
        metrics = Metrics(watch, settings.metrics_interval)
        about = {
            "pid": os.getpid(),
            "nonce": secrets.token_hex(16),
            "port": port,
            "started": time.time(),
            "speed": clock.speed,
        }

        def status() -> dict[str, Any]:
            endpoints = [endpoint.snapshot() for endpoint in control.endpoints()]
            return {
                "server": {**about, "clock": clock.now()},
                "endpoints": sorted(endpoints, key=lambda endpoint: endpoint["name"]),
            }

        moto = emulation.application()
        service.install(watch)
        gateway = Gateway(
            moto=moto,
            moto_services=emulation.SERVICES,
            control=control,
            runtime=Runtime(control, session, metrics),
            page=StatusPage(about, status),
            autoscaling_tags=AutoscalingTags(),
        )
        server = _Uvicorn(
            uvicorn.Config(
                gateway,
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                timeout_keep_alive=75,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)

        def beat(moment: float) -> None:
            # In this order: what happened is measured, then judged.
            metrics.observe(control.endpoints(), moment)
            watch.tick(moment)

        beating = asyncio.create_task(clock.every(TICK_SECONDS, beat))
        daemon.write_state(settings.directory, {**about, "endpoint": f"http://{HOST}:{port}"})
        log.info("the local AWS serves on http://%s:%d (status: http://%s:%d/_slipway/)", HOST, port, HOST, port)
        try:
            await server.serve(sockets=[listener])
        finally:
            (settings.directory / daemon.STATE_FILE).unlink(missing_ok=True)
            beating.cancel()
            await asyncio.gather(*(endpoint.close() for endpoint in control.endpoints()))
            log.info("stopped")
