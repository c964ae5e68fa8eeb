"""`slipway schema`: writes what is made from the spec's models, or checks that it is up to date."""

from __future__ import annotations

from pathlib import Path

import click

from model_build.errors import UserError

SCHEMA = Path("specs/spec.schema.json")
DOCS = Path("docs")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a file is out of date.")
@click.pass_obj
def command(root: Path, check: bool) -> None:
    """Write specs/spec.schema.json, which editors complete specs with, and the generated pages of docs/: a page for
    each key of a spec, and the passes."""
    from model_build import reference, schema

    docs = root / DOCS
    made = {root / SCHEMA: schema.text(schema.spec_schema())}
    orphans = []
    if (docs / "spec.md").is_file():  # a project that only uses Slipway need not have its documentation
        made |= reference.pages(docs)
        orphans = reference.orphans(docs)
    changed = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    names = ", ".join(path.relative_to(root).as_posix() for path in changed)
    if changed and check:
        raise UserError(f"out of date against the code: {names}", next_step="run: slipway schema")
    if orphans:
        gone = ", ".join(path.relative_to(root).as_posix() for path in orphans)
        raise UserError(f"pages of keys that a spec has no longer: {gone}", next_step="delete them, and links to them")
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    click.echo(f"✓ wrote {names}" if changed else "✓ schema and docs are up to date")
