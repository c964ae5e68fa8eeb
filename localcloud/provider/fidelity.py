"""docs/provider-fidelity.md, written from the declarations: `python -m localcloud.provider.fidelity [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from localcloud.provider.calls import operations_of
from localcloud.provider.configuration import ALWAYS, SERVICES, SETTINGS
from localcloud.provider.declarations import Property, Resource
from localcloud.provider.functions import FUNCTIONS
from localcloud.provider.resources import RESOURCES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "provider-fidelity.md"

SERVED = {
    "sagemaker": "our hosting",
    "application-autoscaling": "our autoscaler",
    "cloudwatch": "our CloudWatch",
}


def _overview() -> str:
    """A line for each resource type."""
    lines = ["| Resource type | Properties | Refused | Served by | Calls |", "|---|---|---|---|---|"]
    for token, resource in sorted(RESOURCES.items()):
        implemented, refused = len(list(_rows(resource))), len(list(_rejected(resource)))
        link = token.replace(":", "").replace("/", "").lower()
        served = SERVED.get(resource.service, "moto")
        calls = len(operations_of(resource))
        lines.append(f"| [{token}](#{link}) | {implemented} | {refused} | {served} | {calls} |")
    return "\n".join(lines)


def _introduction() -> str:
    return f"""# What the local `aws` provider does

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
- An endpoint update that SageMaker rolled back **is a success** (hashicorp/terraform-provider-aws#46663): the endpoint
  is `InService`, on its old configuration. The state says which one runs, and the next `up` tries again. A program that
  wants to fail has to compare `endpoint_config_name` with what it asked for; ours does.
- A change of `deploymentConfig` alone is sent as an update of the endpoint. An `autoRollbackConfiguration` that comes
  or goes later replaces the endpoint.
- A key that waits for its deletion counts as gone, a scheduled action cannot be imported, a lifecycle policy of ECR is
  replaced for any change.
- An object in a bucket with a retention can be deleted where `forceDestroy` is set, on it or on the bucket.

## Other than upstream

- Every endpoint must be a loopback address. {", ".join(sorted(ALWAYS))} need one
  always; {", ".join(sorted(SERVICES.keys() - set(ALWAYS)))} where one of their resources is declared.
- Environment variables and files of the AWS tools are not read.
- There is one region: the provider's. A resource's `region` may only repeat it.
- An endpoint update that SageMaker rolled back is shown as a warning with AWS's reason. Upstream says nothing.
- A failed endpoint is deleted and created again by the next `up`, in place of a replacement.
- An endpoint or bucket that a killed run left behind, under the fixed name and with the very tags that are wanted (a
  bucket: with none), is taken over instead of being in the way.
- Names are checked against AWS's own limits (63 characters for SageMaker), where upstream lets AWS refuse them.
- Where a lifecycle policy of ECR is replaced, the old one goes first: there can be only one.
- A dashboard's body is checked in the preview: widgets, their types, their columns.

## How a request is validated

1. In the preview, `Check` holds each property against the tables below: unknown and refused names, types, values,
   conflicts; all problems at once.
2. Before a request leaves, botocore checks its types, required and unknown members and lower limits, and
   `localcloud/provider/validation.py` the rest of botocore's model: enumerations, patterns, upper limits. What AWS
   would refuse for its form is refused here for every service, also for those whose emulation is lenient.
3. The service checks what it means. SageMaker and Application Auto Scaling (ours) hold the request against the whole
   model once more, then against AWS's rules: variants that are constant, sizes of canaries, roles that can be assumed,
   artifacts that are there. CloudWatch (ours, in moto's protocols) checks alarms down to their metric math. The others
   are moto's, completed by `localcloud/moto_gaps.py`.

The **calls** of each type are read from its code.

## At a glance

{_overview()}

## The provider's settings

{", ".join(f"`{name}`" for name in sorted(SETTINGS))}.

## Functions

{", ".join(f"`{token}`" for token in FUNCTIONS)}.

## Resources
"""


def page() -> str:
    return _introduction() + "".join(f"\n{_section(token, resource)}" for token, resource in sorted(RESOURCES.items()))


def _section(token: str, resource: Resource) -> str:
    lines = [f"### {token}", "", f"Import id: {resource.import_id}.", ""]
    if resource.delete_first:
        lines += ["Deleted before it is replaced: there can be only one.", ""]
    lines += ["| Property | Kind | |", "|---|---|---|"]
    lines += [f"| `{path}` | {declared.kind} | {note} |" for path, declared, note in _rows(resource)]
    lines += ["", f"Outputs: {_names([*resource.outputs, *(['tagsAll'] if resource.tagged else [])])}."]
    lines += ["", f"Refused: {_names(list(_rejected(resource)))}."]
    lines += ["", f"Calls of {resource.service}: {_names(operations_of(resource))}."]
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
    if declared.as_found:
        notes.append("recorded as it is, not as asked")
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
