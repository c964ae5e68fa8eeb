"""The server: one socket on loopback, every handler behind it, and an orderly end of all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvicorn

from localcloud import daemon, emulation
from localcloud.autoscaling.scaler import Scaler
from localcloud.autoscaling.service import Autoscaling
from localcloud.clock import Clock
from localcloud.cloudwatch import service
from localcloud.cloudwatch.watch import TICK_SECONDS, Watch
from localcloud.errors import LocalCloudError
from localcloud.gateway import Gateway
from localcloud.page import StatusPage
from localcloud.persistence.journal import Journal
from localcloud.persistence.snapshot import Snapshot
from localcloud.sagemaker.artifacts import ArtifactStore
from localcloud.sagemaker.asynchronous import AsyncInference
from localcloud.sagemaker.control import ControlPlane
from localcloud.sagemaker.fleet import Workshop
from localcloud.sagemaker.invoking import Invoker
from localcloud.sagemaker.jobs import Machine
from localcloud.sagemaker.metrics import Metrics
from localcloud.sagemaker.replica import Program
from localcloud.sagemaker.runtime import Runtime
from localcloud.status import Status

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
    health_interval: float = 5.0
    request_weight: float = 1.0
    start_limit: float = math.inf
    # Forget what an earlier server of the directory kept.
    fresh: bool = False

    @property
    def state(self) -> Path:
        return self.directory / daemon.KEPT


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises LocalCloudError for a port or directory in use, or a bad speed."""
    clock = Clock(settings.speed)
    settings.directory.mkdir(parents=True, exist_ok=True)
    with daemon.hold(settings.directory):
        if settings.fresh and settings.state.exists():
            shutil.rmtree(settings.state)
        with _listener(settings) as listener:
            import uvloop

            uvloop.run(_serve(settings, clock, listener))


def _listener(settings: Settings) -> socket.socket:
    """On the port asked for, else the one that clients know from before, where it is free."""
    kept = settings.state / "port"
    if settings.port is None and kept.is_file() and kept.read_text().isdecimal():
        with contextlib.suppress(LocalCloudError):
            return bind(int(kept.read_text()))
    return bind(settings.port)


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
        watch = Watch(clock)
        starts = asyncio.Semaphore(max(2, os.cpu_count() or 1))
        workshop = Workshop(
            artifacts,
            program,
            session,
            starts,
            watch=watch,
            health_interval=settings.health_interval,
            start_limit=settings.start_limit,
        )
        machine = Machine(settings.directory / "processing", f"http://{HOST}:{port}")
        control = ControlPlane(workshop, settings.directory / "endpoints", machine)
        metrics = Metrics(watch, settings.metrics_interval, settings.request_weight)
        scaler = Scaler(watch, control.find_endpoint)
        invoker = Invoker(session, metrics)
        asynchronous = AsyncInference(invoker)
        ending = asyncio.Event()
        about = {
            "pid": os.getpid(),
            "nonce": secrets.token_hex(16),
            "port": port,
            "started": time.time(),
            "speed": clock.speed,
        }

        status = Status(about, clock, control, scaler, asynchronous)
        moto = emulation.application(Journal(settings.state))
        service.install(watch)
        snapshot = Snapshot(settings.state / "hosting.json", control, scaler)
        requests, endpoints = emulation.replay(), snapshot.restore()
        if requests or endpoints:
            log.info("as before: %d requests were done again, %d endpoints start", requests, endpoints)
        workshop.changed = snapshot.touch
        (settings.state / "port").write_text(str(port))
        gateway = Gateway(
            moto=moto,
            moto_services=emulation.SERVICES,
            control=snapshot.kept(control),
            runtime=Runtime(control, invoker, asynchronous),
            page=StatusPage(about, status, ending.is_set),
            autoscaling=snapshot.kept(Autoscaling(scaler, clock, control.scales_to_zero)),
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

        def end() -> None:
            ending.set()
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)

        def beat(moment: float) -> None:
            # In this order: what happened is measured, then judged, then acted on.
            metrics.observe(control.endpoints(), moment)
            asynchronous.tick(moment)
            for endpoint in control.endpoints():
                if endpoint.capture is not None:
                    endpoint.capture.flush(clock.now())
            watch.tick(moment)
            scaler.tick(moment)

        beating = asyncio.create_task(clock.every(TICK_SECONDS, beat))
        daemon.write_state(settings.directory, {**about, "endpoint": f"http://{HOST}:{port}"})
        log.info("the local AWS serves on http://%s:%d (status: http://%s:%d/_slipway/)", HOST, port, HOST, port)
        try:
            await server.serve(sockets=[listener])
        finally:
            (settings.directory / daemon.STATE_FILE).unlink(missing_ok=True)
            beating.cancel()
            snapshot.close()
            await asyncio.gather(*(region.transforms.close() for region in control.regions.values()))
            await asyncio.gather(*(region.processing.close() for region in control.regions.values()))
            await asyncio.gather(*(endpoint.close() for endpoint in control.endpoints()))
            log.info("stopped")
