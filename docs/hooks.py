"""MkDocs hooks: pages that lie elsewhere in the repository, pages that nobody lists by hand, links as a forge has them.

Every page is written for the repository, where links are relative to the file; the site follows from that.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "toolchain/README.md": "toolchain.md",
    "examples/NOTICE.md": "notice.md",
}
"""File of the repository → page of the site."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Fills the sections of the navigation whose pages come and go with the code; what nobody listed comes last."""
    for folder, section in (("spec", "Every key"), ("adr", "Decisions")):
        pages = [f"{folder}/{path.name}" for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
        entry = next(one for one in _entries(config.nav) if section in one)
        entry[section] = pages
    listed = {page for one in _entries(config.nav) for page in one.values() if isinstance(page, str)}
    more = sorted({path.name for path in (ROOT / "docs").glob("*.md")} - listed)
    config.nav += [{"More": more}] if more else []
    return config


def _entries(nav: list[Any]) -> Iterator[dict[str, Any]]:
    for entry in nav:
        if isinstance(entry, dict):
            yield entry
            for inner in entry.values():
                yield from _entries(inner if isinstance(inner, list) else [])


def on_files(files: Files, config: Any) -> Files:
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links of the repository into links of the site; what the site lacks, source code for one, is only named."""
    here = page.file.src_uri
    source = {one: other for other, one in ELSEWHERE.items()}.get(here, f"docs/{here}")

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, hash_mark, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return found[0]
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        on_site = ELSEWHERE.get(meant, meant.removeprefix("docs/") if meant.startswith("docs/") else None)
        if on_site is None and (ROOT / meant).exists():
            return text
        goal = posixpath.relpath(on_site or meant, posixpath.dirname(here) or ".")
        return f"[{text}]({goal}{hash_mark}{anchor})"

    return LINK.sub(link, markdown)
