"""IAM policy documents compared by meaning, so that a rewritten but equal document is no change.

AWS stores documents as they were sent, other providers reorder them: one string equals a list of that string,
lists of actions, resources, principals and condition values are sets, and so is the list of statements.
"""

from __future__ import annotations

import json
from typing import Any

_SETS = {"Action", "NotAction", "Resource", "NotResource"}
_PRINCIPALS = {"Principal", "NotPrincipal"}


def canonical_document(text: str) -> str:
    """Text that is the same for documents that mean the same. Raises ValueError where `text` is not JSON."""
    document = json.loads(text)
    if isinstance(document, dict) and "Statement" in document:
        statements = document["Statement"]
        statements = statements if isinstance(statements, list) else [statements]
        document = {**document, "Statement": sorted((_statement(item) for item in statements), key=_key)}
    return _key(document)


def _statement(statement: Any) -> Any:
    if not isinstance(statement, dict):
        return statement
    result: dict[str, Any] = {}
    for name, value in statement.items():
        if name in _SETS:
            result[name] = _set(value)
        elif name in _PRINCIPALS:
            principals = {"AWS": "*"} if value == "*" else value
            result[name] = (
                {kind: _set(who) for kind, who in principals.items()} if isinstance(principals, dict) else principals
            )
        elif name == "Condition" and isinstance(value, dict):
            result[name] = {
                operator: {key: _set(wanted) for key, wanted in tests.items()} if isinstance(tests, dict) else tests
                for operator, tests in value.items()
            }
        elif name == "Sid" and value == "":
            continue
        else:
            result[name] = value
    return result


def _set(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return sorted({item if isinstance(item, str) else json.dumps(item) for item in items})


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
