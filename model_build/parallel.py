"""Makes the nodes of one spec or several at once, each a task of a `concurrent.futures` executor.

A node that candidates or specs share is one task. Of several specs, a whole build (measurements, gates, packing) is the
task after its nodes, which it finds in the cache. Builds stay on this machine, as what is measured is its; nodes can be
made by a Dask cluster instead, whose workers have the project at the same path, or whose results come through the
shared cache.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from model_build import executors
from model_build.errors import UserError
from model_build.progress import SILENT, Progress

if TYPE_CHECKING:
    from model_build.build import Build, Outcome
    from model_build.cache import Cache
    from model_build.candidates import Candidate
    from model_build.spec import Spec, Step
    from stores.store import Store

T = TypeVar("T")


class KilledError(UserError):
    """A building process was killed: nothing more can be made."""


@dataclass(frozen=True)
class Job:
    """A spec to build, by its file."""

    path: Path
    root: Path
    store: Store | None
    said_as: str = ""
    """What stands before each line that a process says of it; nothing where it is built alone."""


@dataclass(frozen=True)
class NodeTask:
    """The last one of some steps, whose node has this key; the nodes before it are there."""

    job: Job
    given: tuple[Step, ...]
    key: str


@dataclass(frozen=True)
class Wanted:
    """A candidate whose nodes are to be made; `cache` tells which are there."""

    job: Job
    candidate: Candidate
    cache: Cache


@dataclass(frozen=True)
class Hands:
    """What nodes are made by."""

    executor: Executor
    at_once: int
    scheduler: str | None
    progress: Progress


def build(
    specs: Mapping[Path, Spec], root: Path, jobs: int, progress: Progress, store: Store | None, scheduler: str | None
) -> tuple[dict[Path, Outcome], dict[Path, UserError]]:
    """Builds specs with `jobs` processes, and nodes on the Dask cluster at `scheduler` where one is given.

    The outcome, or what is wrong, for each spec's file. Raises UserError where the cluster cannot be used. A search
    knows its nodes only as it goes: it is one task.
    """
    from model_build import search

    outcomes: dict[Path, Outcome] = {}
    failures: dict[Path, UserError] = {}
    planned: list[Wanted] = []
    left: Counter[Path] = Counter()
    finishing: dict[Future[Outcome], Path] = {}
    for path in sorted(specs, key=lambda path: -_weight(specs[path], root)):
        job, spec = Job(path, root, store, path.stem), specs[path]
        try:
            opened = _opened(job, spec, SILENT)
            candidates = [] if spec.optimize.auto else opened.plan(search.starting(spec))
        except UserError as error:
            failures[path] = _of(path, error)
            continue
        left[path] = len(candidates)
        planned += [Wanted(job, candidate, opened.workshop.cache) for candidate in candidates]
    preloaded = any(specs[path].source.format == "pytorch" for path in left)
    with (
        executors.processes(jobs, progress, preloaded=preloaded) as local,
        executors.cluster(scheduler, local, jobs) as (cluster, at_once),
    ):
        hands = Hands(cluster, at_once, scheduler, progress)
        alone = [Job(path, root, store, path.stem) for path, count in left.items() if not count]
        finishing = {local.submit(_finish, job): job.path for job in alone}
        for wanted, wrong in _made((one for one in planned if one.job.path not in failures), lambda: hands):
            path = wanted.job.path
            left[path] -= 1
            if wrong:
                failures.setdefault(path, _of(path, wrong))
            elif not left[path] and path not in failures:
                finishing[local.submit(_finish, wanted.job)] = path
        for future in as_completed(finishing):
            path = finishing[future]
            try:
                outcomes[path] = _result(future, None)
            except KilledError:
                raise
            except UserError as error:
                failures[path] = _of(path, error)
    return outcomes, failures


class Makers:
    """What makes the nodes of one spec that is built in this process. It begins when there is something to make."""

    def __init__(
        self,
        path: Path,
        spec: Spec,
        root: Path,
        jobs: int,
        progress: Progress,
        store: Store | None = None,
        scheduler: str | None = None,
    ) -> None:
        self.job = Job(path, root, store)
        self.jobs = jobs
        self.progress = progress
        self.scheduler = scheduler
        self.preloaded = spec.source.format == "pytorch"
        self._opened = ExitStack()
        self._begun: Hands | None = None

    def make(self, candidates: Iterable[Candidate], cache: Cache) -> Iterator[tuple[Candidate, UserError | None]]:
        """Each candidate once its nodes are there, or with what went wrong: in the order in which that is known.

        The next one is taken when something is free to begin it. Raises UserError where the cluster cannot be used.
        """
        for wanted, error in _made((Wanted(self.job, one, cache) for one in candidates), self._hands):
            yield wanted.candidate, error

    def _hands(self) -> Hands:
        if self._begun is None:
            local = self._opened.enter_context(executors.processes(self.jobs, self.progress, preloaded=self.preloaded))
            cluster, at_once = self._opened.enter_context(executors.cluster(self.scheduler, local, self.jobs))
            self._begun = Hands(cluster, at_once, self.scheduler, self.progress)
        return self._begun

    def close(self) -> None:
        """Ends the processes; they begin again if more is to be made."""
        self._begun = None
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, traceback)


def _made(work: Iterable[Wanted], hands: Callable[[], Hands]) -> Iterator[tuple[Wanted, UserError | None]]:
    """Each candidate once its nodes are there, or with what went wrong. A step that several share is one task.

    `hands` is asked when there is a first task; then the next candidate is taken from `work` where a hand is free.
    """
    coming = iter(work)
    begun: list[Wanted] = []
    there: set[str] = set()
    failed: dict[str, UserError] = {}
    running: dict[str, Future[list[str]]] = {}
    exhausted = False
    while True:
        for one in list(begun):
            steps = one.candidate.steps
            position = next((at for at, step in enumerate(steps) if step.key not in there), None)
            key = steps[position].key if position is not None else ""
            if position is None or key in failed:
                begun.remove(one)
                yield one, failed.get(key)
            elif key not in running:
                task = NodeTask(one.job, one.candidate.given[: position + 1], key)
                running[key] = hands().executor.submit(_make, task)
        if not exhausted and (not running or len(running) < hands().at_once):
            following = next(coming, None)
            if following is None:
                exhausted = True
            else:
                begun.append(following)
                there |= _found(following)
            continue
        if not running:
            return
        wait(running.values(), return_when=FIRST_COMPLETED)
        for key in [key for key, future in running.items() if future.done()]:
            try:
                for line in _result(running.pop(key), hands().scheduler):
                    hands().progress.note(line)
                there.add(key)
            except KilledError:
                raise
            except UserError as error:
                failed[key] = error


def _found(wanted: Wanted) -> set[str]:
    """The keys of a candidate's steps that need not be made: up to the last one that is in the cache."""
    keys = [step.key for step in wanted.candidate.steps]
    last = next((at for at in reversed(range(len(keys))) if wanted.cache.find(keys[at])), -1)
    return set(keys[: last + 1])


def _result(future: Future[T], scheduler: str | None) -> T:
    """What a task gave. Raises UserError, also for a process that was killed and for what a cluster fails with."""
    try:
        return future.result()
    except UserError:
        raise
    except BrokenProcessPool:
        raise KilledError(
            "a building process was killed", "is there enough memory? build with fewer at once: -j 1"
        ) from None
    except Exception as error:
        if scheduler is None:
            raise
        raise UserError(  # what Dask itself raises, and what unpickling there does
            f"the Dask cluster at {scheduler} failed: {type(error).__name__}: {error}",
            "see its workers' logs; they need this environment's packages, Slipway among them",
        ) from error


def _weight(spec: Spec, root: Path) -> int:
    """Bytes of a spec's inputs: the heaviest begins first, as it is likely to end last."""
    from model_build.project_files import named_paths, resolve

    files = (resolve(named, root) for _, named in named_paths(spec))
    return sum(file.stat().st_size for file in files if file.is_file())


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

    with executors.working(job.said_as) as progress:
        spec = loading.load(job.path, job.root)
        return build.build(spec, job.root, path=job.path, progress=progress, store=job.store)


def _make(task: NodeTask) -> list[str]:
    """The task of a node, in another process or on another machine.

    Returns what was done, a line for each step, where nothing could be told of it while it was.
    """
    from model_build import loading

    job = task.job
    if not job.path.is_file():
        raise UserError(
            f"worker {platform.node()} has no {job.path}",
            "let the workers see the project at the path that it has here",
        )
    with executors.working(job.said_as) as progress:
        spec = loading.load(job.path, job.root)
        opened = _opened(job, spec, progress)
        (candidate,) = opened.plan([task.given])
        if candidate.steps[-1].key != task.key:
            raise UserError(
                f"worker {platform.node()} would make another {candidate.steps[-1].label}: the project's files, the "
                "installed packages or the kind of CPU differ from this machine's",
                "make them alike, or build without --scheduler",
            )
        opened.workshop.model(candidate.steps)
        if progress is not SILENT:
            return []
        before = f"{job.path.stem}: "
        made = [step for step in opened.workshop.steps if not step["cached"]]
        where = f"process {os.getpid()} on {platform.node()}"
        return [f"{before}{step['step']}  {step['seconds']:.1f} s, {where}" for step in made]
