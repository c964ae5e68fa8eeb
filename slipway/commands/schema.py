"""`slipway schema`: writes what is made from the spec's models, or checks that it is up to date."""

from __future__ import annotations

from pathlib import Path

import click

from model_build.errors import UserError

SCHEMA = Path("specs/spec.schema.json")
REFERENCE = Path("docs/spec.md")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a file is out of date.")
@click.pass_obj
def command(root: Path, check: bool) -> None:
    """Write specs/spec.schema.json, which editors complete specs with, and the tables of docs/spec.md."""
    from model_build import reference, schema

    page = root / REFERENCE
    made = {root / SCHEMA: schema.text(schema.spec_schema())}
    if page.is_file():  # a project that only uses Slipway need not have its documentation
        made[page] = reference.update(page.read_text("utf-8"))
    changed = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    names = ", ".join(path.relative_to(root).as_posix() for path in changed)
    if changed and check:
        raise UserError(f"out of date against the code: {names}", next_step="run: slipway schema")
    for path in changed:
        path.parent.mkdir(exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    click.echo(f"✓ wrote {names}" if changed else "✓ schema and docs are up to date")
