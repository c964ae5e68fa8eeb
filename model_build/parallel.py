"""Builds several specs at once: nodes and then whole builds as tasks of `concurrent.futures` executors.

A node that candidates or specs share is one task, and a spec's build (measurements, gates, packing) is the task after
its nodes, which it finds in the cache. Builds stay on this machine, as what is measured is its; nodes can be made by a
Dask cluster instead, whose workers have the project at the same path, or whose results come through the shared cache.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build.errors import UserError
from model_build.progress import SILENT, Progress

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from model_build.build import Build, Outcome
    from model_build.shared_cache import Store
    from model_build.spec import Spec

    Messages = Queue[str | None]

PATIENCE = 10
"""Seconds that an interrupted process has to clean up."""


@dataclass(frozen=True)
class Job:
    """A spec to build, by its file."""

    path: Path
    root: Path
    store: Store | None


@dataclass(frozen=True)
class NodeTask:
    """The step of a candidate (both by position) whose node has this key."""

    job: Job
    candidate: int
    step: int
    key: str


@dataclass
class Plan:
    """Tasks by name, what each comes after, and whose specs need it. A spec's own task has its path as its name."""

    tasks: dict[str, NodeTask | Job] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    needed_by: dict[str, set[Path]] = field(default_factory=dict)


def build(
    specs: Mapping[Path, Spec], root: Path, jobs: int, progress: Progress, store: Store | None, scheduler: str | None
) -> tuple[dict[Path, Outcome], dict[Path, UserError]]:
    """Builds specs with `jobs` processes, and nodes on the Dask cluster at `scheduler` where one is given.

    The outcome, or what is wrong, for each spec's file. Raises UserError where the cluster cannot be used.
    """
    jobs_of = [Job(path, root, store) for path in sorted(specs, key=lambda path: -_weight(specs[path], root))]
    plan, failures = _plan(jobs_of, specs)
    outcomes: dict[Path, Outcome] = {}
    with _processes(jobs, progress) as local, _cluster(scheduler, local) as cluster:
        sorter = TopologicalSorter(plan.after)
        sorter.prepare()
        running: dict[Future[Any], str] = {}
        while sorter.is_active():
            for name in sorter.get_ready():
                task = plan.tasks[name]
                if plan.needed_by[name] <= failures.keys():
                    sorter.done(name)
                elif isinstance(task, Job):
                    running[local.submit(_finish, task)] = name
                else:
                    running[cluster.submit(_make, task)] = name
            for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                name = running.pop(future)
                task = plan.tasks[name]
                try:
                    result = future.result()
                except UserError as error:
                    failures |= {path: _of(path, error) for path in plan.needed_by[name] if path not in failures}
                except BrokenProcessPool:
                    raise UserError(
                        "a building process was killed", "is there enough memory? build with fewer at once: -j 1"
                    ) from None
                except Exception as error:
                    if cluster is local or isinstance(task, Job):
                        raise
                    raise UserError(  # what Dask itself raises, and what unpickling there does
                        f"the Dask cluster at {scheduler} failed: {type(error).__name__}: {error}",
                        "see its workers' logs; they need this environment's packages, Slipway among them",
                    ) from error
                else:
                    if isinstance(task, Job):
                        outcomes[task.path] = result
                    elif cluster is not local:
                        for line in result:
                            progress.note(f"{task.job.path.stem}: {line}")
                sorter.done(name)
    return outcomes, failures


def _weight(spec: Spec, root: Path) -> int:
    """Bytes of a spec's inputs: the heaviest begins first, as it is likely to end last."""
    from model_build.project_files import named_paths, resolve

    files = (resolve(named, root) for _, named in named_paths(spec))
    return sum(file.stat().st_size for file in files if file.is_file())


def _plan(jobs: Sequence[Job], specs: Mapping[Path, Spec]) -> tuple[Plan, dict[Path, UserError]]:
    """What is to be done. A search knows its nodes only as it goes, so it is one task."""
    from model_build import search

    plan = Plan()
    failures: dict[Path, UserError] = {}
    for job in jobs:
        spec, name = specs[job.path], str(job.path)
        last: set[str] = set()
        if not spec.optimize.auto:
            try:
                opened = _opened(job, spec, SILENT)
                candidates = opened.plan(search.starting(spec))
            except UserError as error:
                failures[job.path] = _of(job.path, error)
                continue
            for number, candidate in enumerate(candidates):
                if candidate.steps and opened.workshop.cache.find(candidate.steps[-1].key):
                    continue
                before: set[str] = set()
                for position, step in enumerate(candidate.steps):
                    plan.tasks.setdefault(step.key, NodeTask(job, number, position, step.key))
                    plan.after[step.key] = before
                    plan.needed_by.setdefault(step.key, set()).add(job.path)
                    before = {step.key}
                last |= before
        plan.tasks[name] = job
        plan.after[name] = last
        plan.needed_by[name] = {job.path}
    return plan, failures


def _opened(job: Job, spec: Spec, progress: Progress) -> Build:
    """The build of a spec up to where its keys are known."""
    from model_build.build import Build
    from model_build.inputs import Inputs
    from model_build.shared_cache import SharedCache

    inputs = Inputs(spec, job.root, job.path)
    shared = SharedCache(job.store, progress) if job.store else None
    return Build(spec, job.root, inputs, inputs.build_key(), progress, shared)


def _of(path: Path, error: UserError) -> UserError:
    """An error that names its spec."""
    if error.message.startswith(f"{path.stem}: "):
        return error
    return UserError(f"{path.stem}: {error.message}", error.next_step)


def _finish(job: Job) -> Outcome:
    """The task of a whole spec, in another process."""
    from model_build import build, loading

    with _working(job) as progress:
        spec = loading.load(job.path, job.root)
        return build.build(spec, job.root, path=job.path, progress=progress, store=job.store)


def _make(task: NodeTask) -> list[str]:
    """The task of a node, in another process or on another machine. Returns what was done, a line for each step."""
    from model_build import loading, search

    job = task.job
    if not job.path.is_file():
        raise UserError(
            f"worker {platform.node()} has no {job.path}",
            "let the workers see the project at the path that it has here",
        )
    with _working(job) as progress:
        spec = loading.load(job.path, job.root)
        opened = _opened(job, spec, progress)
        steps = opened.plan(search.starting(spec))[task.candidate].steps[: task.step + 1]
        if steps[-1].key != task.key:
            raise UserError(
                f"worker {platform.node()} would make another {steps[-1].label}: the project's files, the installed "
                "packages or the kind of CPU differ from this machine's",
                "make them alike, or build without --scheduler",
            )
        opened.workshop.model(steps)
        made = [step for step in opened.workshop.steps if not step["cached"]]
        return [f"{step['step']}  {step['seconds']:.1f} s, process {os.getpid()} on {platform.node()}" for step in made]


# -- executors


_messages: Messages | None = None
"""In a process of ours: where lines for the terminal go."""
_busy = False


@contextmanager
def _processes(jobs: int, progress: Progress) -> Iterator[Executor]:
    """Processes of this machine, which end with this one, however it ends."""
    # Not forked: threads of the libraries below do not survive it.
    context = multiprocessing.get_context("spawn")
    messages: Messages = context.Queue()
    executor = ProcessPoolExecutor(jobs, context, _begin, (messages,))
    listener = threading.Thread(target=_listen, args=(messages, progress), daemon=True)
    listener.start()
    try:
        yield executor
    except BaseException:
        processes = list((executor._processes or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in processes:
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


def _listen(messages: Messages, progress: Progress) -> None:
    while (line := messages.get()) is not None:
        progress.note(line)


def _begin(messages: Messages) -> None:
    """What a new process does first."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C goes to all processes of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _interrupt)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  # there is one in a process of a pool
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _interrupt(*_: object) -> None:
    """Lets a task clean up; a process without one ends at once."""
    if _busy:
        raise KeyboardInterrupt
    os._exit(1)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _cluster(address: str | None, local: Executor) -> Iterator[Executor]:
    """What makes nodes: a Dask cluster's workers, or the processes of this machine. Raises UserError."""
    if address is None:
        yield local
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
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise


# -- progress


@contextmanager
def _working(job: Job) -> Iterator[Progress]:
    global _busy
    _busy = True
    try:
        yield Relay(job.path.stem, _messages.put) if _messages else SILENT
    finally:
        _busy = False


class Relay:
    """Tells the first process of a spec's steps: a line each, as several specs' steps are not within each other."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self.say = say

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        started = time.monotonic()
        outcome = "✗"
        try:
            yield
            outcome = "✓"
        finally:
            self.say(f"{self.name}: {outcome} {title}  {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        self.say(f"{self.name}: {text}")
