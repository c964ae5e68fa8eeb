"""Lists the packages of the Python that runs this, as JSON pairs of name and version.

A script of the standard library alone, since the program's Python need not hold this project.
"""

import importlib.metadata
import json
import re
import sys


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(transitive: bool) -> list[tuple[str, str]]:
    """All packages, or those that no other one requires."""
    found = {canonical(item.metadata["Name"]): item for item in importlib.metadata.distributions()}
    required = set()
    if not transitive:
        for name, item in found.items():
            for requirement in item.requires or ():
                other = canonical(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
                if other != name and "extra ==" not in requirement:
                    required.add(other)
    return [(name, item.version) for name, item in sorted(found.items()) if name not in required]


if __name__ == "__main__":
    print(json.dumps(packages("--transitive" in sys.argv[1:])))
