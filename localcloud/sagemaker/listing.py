"""The List operations' common half: filter, sort and cut a page, with AWS's parameter names."""

from __future__ import annotations

from typing import Any

from localcloud.errors import ValidationException

_SORT_KEYS = {"Name": "{kind}Name", "CreationTime": "CreationTime", "Status": "{kind}Status"}


def list_page(request: dict[str, Any], summaries: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """One page of `summaries` (dicts with `{kind}Name`, `CreationTime`, …) as `{kind}s` and `NextToken`."""
    found = [summary for summary in summaries if _passes(request, summary, kind)]
    key = _SORT_KEYS[request.get("SortBy", "CreationTime")].format(kind=kind)
    found.sort(key=lambda summary: summary[key], reverse=request.get("SortOrder", "Descending") == "Descending")
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise ValidationException("The NextToken is not one that this operation gave.")
    start = int(token)
    end = start + request.get("MaxResults", 10)
    page: dict[str, Any] = {f"{kind}s": found[start:end]}
    if end < len(found):
        page["NextToken"] = str(end)
    return page


def _passes(request: dict[str, Any], summary: dict[str, Any], kind: str) -> bool:
    tests = [
        request.get("NameContains", "").lower() in summary[f"{kind}Name"].lower(),
        request.get("StatusEquals") in (None, summary.get(f"{kind}Status")),
    ]
    for member in ("CreationTime", "LastModifiedTime"):
        before, after = request.get(f"{member}Before"), request.get(f"{member}After")
        tests.append(before is None or summary[member] < float(before))
        tests.append(after is None or summary[member] > float(after))
    return all(tests)
