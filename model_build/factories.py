"""Calls the project's own Python: the factories that a spec names.

Apart since the measuring process needs it too: it imports nothing beside the standard library and the errors.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_build.errors import UserError

# Imported while a project is open but not a part of it, even where the project is Slipway's own checkout.
_OURS = {"model_build", "serving"}


@contextmanager
def opened(root: Path) -> Iterator[None]:
    """Puts the project root on `sys.path`. Its modules are forgotten at the end, so that an edited one is read anew."""
    root = root.resolve()
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] not in _OURS and _belongs(sys.modules[name], root):
                del sys.modules[name]


def call(name: str, args: Mapping[str, Any], root: Path, key: str) -> Any:
    """The result of factory `module:function`, called within `opened`. Raises UserError for whatever it raises.

    `key` is the spec's key of the factory, for the message.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(**args)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the project's code may raise anything
        raise UserError(
            f"{key}: {name} failed at {_place(error, root.resolve())}: {last_line(error)}",
            f"mend {name}, then build again",
        ) from error


def last_line(error: BaseException) -> str:
    """`TypeError: …`, as the last line of a traceback says it."""
    lines = [line for line in "".join(traceback.format_exception_only(error)).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _place(error: BaseException, root: Path) -> str:
    """`file:line` of the innermost frame in the project, else of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(Path(error.filename), root)}:{error.lineno}"
    own = [frame for frame in frames if _is_own(Path(frame.filename), root)]
    frame = (own or list(frames))[-1]
    return f"{_shown(Path(frame.filename), root)}:{frame.lineno}"


def _is_own(file: Path, root: Path) -> bool:
    if not file.is_relative_to(root):
        return False
    parts = file.relative_to(root).parts
    return parts[0] not in _OURS and not any(part.startswith(".") or part == "site-packages" for part in parts)


def _shown(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def _belongs(module: Any, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    # A folder without __init__.py has paths alone. Kept, it would go on leading into this project.
    files = [file] if isinstance(file, str) else list(getattr(module, "__path__", ()))
    return any(_is_own(Path(one), root) for one in files)
