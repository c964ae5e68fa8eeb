"""checkov on what the local stack really has: `python -m bench.checkov_state` (`make checkov`).

It checks the applied state, not the program: `pulumi stack export` becomes a Terraform plan (`terraform_plan`), which
checkov reads. What it finds must be listed in docs/security.md with a reason, and what is listed there must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.terraform_plan import plan

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
ENVIRONMENT = ROOT / "build" / "checkov"
STACK = "local"
MARKS = ("<!-- checkov: begin -->", "<!-- checkov: end -->")


@dataclass(frozen=True)
class Failure:
    check: str
    resource: str
    title: str

    @property
    def kind(self) -> str:
        return self.resource.partition(".")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, help="Output of `pulumi stack export`; the local stack's, if not given.")
    arguments = parser.parse_args()
    state = arguments.state.read_bytes() if arguments.state else export()
    resources = json.loads(state)["deployment"].get("resources", [])
    if not any(resource["type"].startswith("aws:") for resource in resources):
        print("the stack holds nothing; next: make up", file=sys.stderr)
        return 1
    passed, failures = run(plan(resources))
    accepted = reasons(PAGE.read_text("utf-8"))
    print(report(passed, failures, accepted))
    unexpected, stale = compare(failures, accepted)
    for failure in unexpected:
        print(f"FAILED {failure.check} {failure.resource}: {failure.title}")
    for check, kind in sorted(stale):
        print(f"STALE  {check} {kind}: docs/security.md excuses it, and nothing fails it; remove the row")
    return 1 if unexpected or stale or not passed else 0


def export() -> bytes:
    """The local stack's state, by the engine."""
    from toolchain.engine import ensure
    from toolchain.environment import variables

    engine = ensure()
    environment = dict(os.environ) | dict(variables(ROOT, engine))
    command = [str(engine.pulumi), "stack", "export", "--stack", STACK, "--non-interactive"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE).stdout


def run(made: Mapping[str, Any], environment: Path = ENVIRONMENT) -> tuple[int, list[Failure]]:
    """The number of checks that passed, and those that failed. It asks no server."""
    folder = ROOT / "build" / "checkov-plan"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    path.write_text(json.dumps(made, indent=1))
    program = environment / "bin" / "checkov"
    if not program.is_file():
        raise SystemExit(f"{program} is missing; next: make checkov")
    command = [str(program), "--file", str(path), "--framework", "terraform_plan", "--output", "json", "--quiet"]
    done = subprocess.run([*command, "--skip-download"], capture_output=True, text=True)
    try:
        answer = json.loads(done.stdout)
        results = answer["results"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise SystemExit(f"checkov failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}") from None
    failures = [Failure(one["check_id"], one["resource"], one["check_name"]) for one in results["failed_checks"]]
    return int(answer["summary"]["passed"]), failures


def reasons(page: str) -> dict[tuple[str, str], str]:
    """(check, Terraform type) → why it may fail, from the table of the page."""
    begin, end = (page.index(mark) for mark in MARKS)
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", page[begin:end], re.MULTILINE)
    return {(check, kind): reason for check, kind, reason in rows}


def compare(
    failures: Sequence[Failure], accepted: Mapping[tuple[str, str], str]
) -> tuple[list[Failure], set[tuple[str, str]]]:
    """What fails without an excuse, and excuses that nothing needs."""
    found = {(failure.check, failure.kind) for failure in failures}
    return [one for one in failures if (one.check, one.kind) not in accepted], set(accepted) - found


def report(passed: int, failures: Sequence[Failure], accepted: Mapping[tuple[str, str], str]) -> str:
    counted = Counter((failure.check, failure.kind) for failure in failures)
    lines = [f"{passed} checks passed, {len(failures)} failed, of {len(counted)} kinds"]
    for (check, kind), number in sorted(counted.items()):
        lines.append(f"  {check} {kind} ×{number}: {accepted.get((check, kind), 'not excused')}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
