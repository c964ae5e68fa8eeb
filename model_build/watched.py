"""Which files and folders can change what a spec builds: what `stat_index` looks at for it.

Apart from `stat_index`, which must not import specs, and from `inputs`, which reads what is only named here.
"""

from __future__ import annotations

import os
from pathlib import Path

from model_build.project_files import factories, input_files, is_installed, module_file, named_paths, resolve, walk
from model_build.spec import Spec
from model_build.stat_index import IGNORED


def watched(spec: Spec, root: Path, path: Path | None = None) -> tuple[list[str], list[str]]:
    """Files and folders, relative to the root where they are below it.

    Folders are those that are read as a whole, with all below them, and those on the way to a file: a new file there
    can be found before the one that was used. The root itself is one where a module is looked for.
    """
    own, *others = input_files(spec, root, path).values()
    packaged = [resolve(named, root) for _, named in named_paths(spec) if named.startswith("pkg:")]
    whole = [place for _, named in named_paths(spec) if (place := resolve(named, root)).is_dir()]
    modules = [module_file(factory.factory.partition(":")[0], root) for _, factory in factories(spec)]
    whole += [
        file.parent
        for file in modules
        if file and file.is_relative_to(root) and file.parent != root and not is_installed(file, root)
    ]
    folders = {folder for place in whole for folder in _below(place)} | ({root} if modules else set())
    folders |= {parent for file in others for parent in file.parents if parent.is_relative_to(root) and parent != root}
    files = {own, *others, *(file for place in packaged for file in walk(place))}
    return sorted(_shown(file, root) for file in files), sorted(_shown(folder, root) for folder in folders)


def _below(place: Path) -> list[Path]:
    """A folder and all in it, those without files too."""
    found = []
    for folder, subfolders, _ in os.walk(place):
        subfolders[:] = [name for name in subfolders if name not in IGNORED and name[0] != "."]
        found.append(Path(folder))
    return found


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
