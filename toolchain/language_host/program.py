"""Runs one Pulumi program in this process, and says how it ended by its exit code.

A script of the standard library and the SDK alone: the program's own Python runs it, which need not hold this project.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SHOWN = 32  # the exit code of a program that failed and whose error the engine has shown already
INTERRUPTED = 130


@dataclass(frozen=True)
class Settings:
    """What the engine tells of a run, apart from the configuration, which comes by the environment."""

    program: str
    arguments: list[str]
    project: str
    stack: str
    organization: str
    root_directory: str
    parallel: int
    dry_run: bool
    monitor: str
    engine: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main(settings: Settings) -> int:
    try:
        import pulumi
        import pulumi.runtime
    except ImportError as error:
        print(f"{sys.executable} cannot import the Pulumi SDK ({error})", file=sys.stderr)
        print(
            "next: install it there, or name another virtualenv under runtime.options in Pulumi.yaml", file=sys.stderr
        )
        return 1
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=settings.project,
            stack=settings.stack,
            organization=settings.organization,
            root_directory=settings.root_directory,
            parallel=settings.parallel,
            dry_run=settings.dry_run,
            monitor=settings.monitor,
            engine=settings.engine,
        )
    )
    main_file = _main_file(Path(settings.program))
    if not main_file.is_file():
        pulumi.log.error(f"{main_file} is missing: it is what runs, by `main` of Pulumi.yaml")
        return SHOWN
    sys.argv = [settings.program, *settings.arguments]
    if main_file == Path(settings.program):
        # A directory is put on the module path by runpy itself.
        sys.path.insert(0, str(main_file.parent))
    _wait_in_linear_time()
    # A deployment that fails leaves futures that nobody awaits. That is the SDK's way, and asyncio would complain.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def run() -> None:
        runpy.run_path(settings.program, run_name="__main__")

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max(settings.parallel, 1) * 4)
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(run))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return SHOWN
    except Exception as error:
        pulumi.log.error(f"the program failed:\n{_traceback(error, main_file)}")
        return SHOWN
    finally:
        executor.shutdown()
        loop.close()
    return 0


class _Patient:
    """The module `asyncio`, but that waiting for the first task to end is waiting for the first to fail, or for all."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def wait(tasks: Collection[asyncio.Task[Any]], *, return_when: str) -> Any:
        if return_when == asyncio.FIRST_COMPLETED:
            return_when = asyncio.FIRST_EXCEPTION
        return await asyncio.wait(tasks, return_when=return_when)


def _wait_in_linear_time() -> None:
    """The SDK looks at all outputs that it waits for each time that one is there: half a preview of 900 resources.

    Its loop wants nothing of those that went well, so it is given them all at once.
    """
    import pulumi.runtime.stack as stack

    stack.asyncio = _Patient()  # type: ignore[assignment, attr-defined]


def _main_file(program: Path) -> Path:
    return program / "__main__.py" if program.is_dir() or not program.suffix else program


def _traceback(error: Exception, main_file: Path) -> str:
    """The traceback from the program's first line on; whole where the program is not in it."""
    whole = first = error.__traceback__
    while first is not None and not _same(first.tb_frame.f_code.co_filename, main_file):
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first or whole))


def _same(name: str, path: Path) -> bool:
    return os.path.realpath(name) == str(path.resolve())


if __name__ == "__main__":
    # The folder of this script is the host's, not the program's.
    del sys.path[0]
    try:
        code = main(Settings(**json.loads(sys.argv[1])))
    except KeyboardInterrupt:
        # The engine interrupts its whole group when it is done or was interrupted itself; it has said so already.
        code = INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
