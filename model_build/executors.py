"""What makes things for `parallel`: processes of this machine, or the workers of a Dask cluster.

Apart from `parallel`, which knows specs and nodes. This knows processes: how they begin, are interrupted and end, and
how what they say reaches the terminal.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.progress import SILENT, Progress

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    Messages = Queue[str | None]

PATIENCE = 10
"""Seconds that an interrupted process has to clean up."""
PRELOADED = "model_build.preloaded"

_messages: Messages | None = None
"""In a process of ours: where lines for the terminal go."""
_busy = False


@contextmanager
def processes(count: int, progress: Progress, *, preloaded: bool) -> Iterator[Executor]:
    """Processes of this machine, which end with this one, however it ends.

    Where they are `preloaded`, PyTorch is imported once for all of them, beginning now.
    """
    starting: AbstractContextManager[BaseContext] = (
        _forking() if preloaded else nullcontext(multiprocessing.get_context("spawn"))
    )
    with starting as context:
        messages: Messages = context.Queue()
        executor = ProcessPoolExecutor(count, context, _begin, (messages,))
        listener = threading.Thread(target=_listen, args=(messages, progress), daemon=True)
        listener.start()
        try:
            yield executor
        except BaseException:
            running = list((executor._processes or {}).values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            deadline = time.monotonic() + PATIENCE
            for process in running:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.is_alive():
                    process.kill()
            raise
        finally:
            executor.shutdown(cancel_futures=True)
            messages.put(None)
            listener.join()
            messages.close()
            messages.join_thread()


@contextmanager
def _forking() -> Iterator[BaseContext]:
    """Processes are forked from one that has imported PyTorch and done nothing: this one may have threads by then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()
    try:
        yield context
    finally:
        # Left to itself it would end with this process, and after it has imported everything.
        server: Any = forkserver._forkserver
        os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


def _listen(messages: Messages, progress: Progress) -> None:
    while (line := messages.get()) is not None:
        progress.note(line)


def _begin(messages: Messages) -> None:
    """What a new process does first."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C goes to all processes of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _interrupt)
    # One that ends gives back locks that libraries made in it, and is not to be interrupted at that.
    multiprocessing.util.Finalize(None, signal.signal, (signal.SIGTERM, signal.SIG_IGN), exitpriority=100)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # there is one in a process of a pool
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _interrupt(*_: object) -> None:
    """Lets a task clean up; a process without one ends."""
    raise KeyboardInterrupt if _busy else SystemExit(1)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def cluster(address: str | None, local: Executor, count: int) -> Iterator[tuple[Executor, int]]:
    """What makes nodes, and how many at once: a Dask cluster's workers, or the `count` processes of this machine.

    Raises UserError.
    """
    if address is None:
        yield local, count
        return
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UserError("--scheduler needs Dask's 'distributed'", "pip install distributed") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"there is no Dask scheduler at {address}: {error}", "start one: dask scheduler, or leave out --scheduler"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(f"the Dask scheduler at {address} has no worker", f"start one: dask worker {address}")
        executor = client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        try:
            yield executor, sum(client.nthreads().values())  # type: ignore[no-untyped-call]
        except BaseException:
            executor.shutdown(wait=False)
            raise


@contextmanager
def working(name: str) -> Iterator[Progress]:
    """Encloses a task in a process of ours, and gives what its steps are told to. `name` stands before each line."""
    global _busy
    _busy = True
    try:
        yield Relay(name, _messages.put) if _messages else SILENT
    finally:
        _busy = False


class Relay:
    """Tells the first process of steps: a line each, as several processes' steps are not within each other."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.before = f"{name}: " if name else ""
        self.say = say

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        started = time.monotonic()
        outcome = "✗"
        try:
            yield
            outcome = "✓"
        finally:
            self.note(f"{outcome} {title}  {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        self.say(self.before + text)
