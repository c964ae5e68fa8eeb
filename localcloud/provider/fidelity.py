"""docs/provider-fidelity.md, written from the declarations: `python -m localcloud.provider.fidelity [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from localcloud.provider.configuration import SERVICES, SETTINGS
from localcloud.provider.declarations import Property, Resource
from localcloud.provider.functions import FUNCTIONS
from localcloud.provider.resources import RESOURCES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "provider-fidelity.md"

INTRODUCTION = f"""# What the local `aws` provider does

Written by `python -m localcloud.provider.fidelity` from `localcloud/provider/resources/`; change it there.

On the `local` stack an `aws` provider plugin of this project, version 0.0.1, stands in for AWS's own. The program is
the same, and so are the resources of `pulumi_aws`; this page says how far the likeness goes. What is not listed as
implemented is refused by `pulumi preview` with a message that names what is supported. Nothing is silently ignored.

## As upstream

- A change of a property marked **replaces** makes a new resource, before the old one is deleted, unless the program
  fixed its name; every other change is made in place.
- A missing name is the logical name, a hyphen and seven hexadecimal digits; it is kept for the resource's life.
- Missing properties get upstream's defaults. `tagsAll` is the provider's `defaultTags` and the resource's `tags`.
- Policy documents are compared by meaning: order, and one string or a list of it, make no difference.
- `refresh` sees what was changed or removed behind Pulumi's back, and `up` repairs it. `import` takes the ids given
  below.
- A resource that exists but does not work is recorded with the reason, and the next `up` mends it.

## Other than upstream

- Every endpoint must be a loopback address, and every service needs one: {", ".join(sorted(SERVICES))}.
- Environment variables and files of the AWS tools are not read.
- There is one region: the provider's. A resource's `region` may only repeat it.
- An endpoint update that SageMaker rolled back fails with AWS's reason. Upstream reports a success
  (hashicorp/terraform-provider-aws#46663).
- A failed endpoint is deleted and created again by the next `up`, in place of a replacement.
- An endpoint or bucket that a killed run left behind, under the fixed name and with the very tags that are wanted (a
  bucket: with none), is taken over instead of being in the way.
- Names are checked against AWS's own limits (63 characters for SageMaker), where upstream lets AWS refuse them.
- `deploymentConfig` of an endpoint is sent as it is; the local hosting refuses what it does not emulate.

## The provider's settings

{", ".join(f"`{name}`" for name in sorted(SETTINGS))}.

## Functions

{", ".join(f"`{token}`" for token in FUNCTIONS)}.

## Resources
"""


def page() -> str:
    return INTRODUCTION + "".join(f"\n{_section(token, resource)}" for token, resource in sorted(RESOURCES.items()))


def _section(token: str, resource: Resource) -> str:
    lines = [f"### {token}", "", f"Import id: {resource.import_id}.", ""]
    lines += ["| Property | Kind | |", "|---|---|---|"]
    lines += [f"| `{path}` | {declared.kind} | {note} |" for path, declared, note in _rows(resource)]
    lines += ["", f"Outputs: {_names([*resource.outputs, *(['tagsAll'] if resource.tagged else [])])}."]
    lines += ["", f"Refused: {_names(list(_rejected(resource)))}."]
    return "\n".join(lines) + "\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _rows(resource: Resource) -> Iterator[tuple[str, Property, str]]:
    for key, declared in sorted(resource.inputs.items()):
        yield from _property_rows(key, declared, resource, False)


def _property_rows(
    path: str, declared: Property, resource: Resource, replaces: bool
) -> Iterator[tuple[str, Property, str]]:
    replaces = replaces or declared.force_new
    notes = []
    if declared.required:
        notes.append("required")
    if replaces:
        notes.append("**replaces**")
    if resource.autoname and path == resource.autoname.property:
        notes.append("autonamed" if resource.autoname.random else "the logical name where missing")
    if declared.default is not None:
        default = f"`{str(declared.default).lower() if declared.default in (True, False) else declared.default}`"
        notes.append(f"default {default}")
    if declared.choices:
        notes.append("one of " + ", ".join(f"`{choice}`" for choice in declared.choices))
    if declared.write_only:
        notes.append("not read back")
    yield path, declared, "; ".join(notes)
    inner = path + ("[]." if declared.kind == "list" else ".")
    for key, field in sorted(declared.fields.items()):
        yield from _property_rows(inner + key, field, resource, replaces)


def _rejected(resource: Resource) -> Iterator[str]:
    yield from resource.rejected
    for key, declared in sorted(resource.inputs.items()):
        yield from _rejected_fields(key, declared)


def _rejected_fields(path: str, declared: Property) -> Iterator[str]:
    inner = path + ("[]." if declared.kind == "list" else ".")
    yield from (inner + name for name in declared.rejected)
    for key, field in sorted(declared.fields.items()):
        yield from _rejected_fields(inner + key, field)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m localcloud.provider.fidelity")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page is not current")
    options = parser.parse_args(arguments)
    if not options.check:
        PAGE.write_text(page())
    elif not PAGE.is_file() or PAGE.read_text() != page():
        print(f"{PAGE.name} is not current; run: python -m localcloud.provider.fidelity", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
