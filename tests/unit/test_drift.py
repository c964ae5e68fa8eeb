"""Drift, from a refresh's events: what counts, and what autoscaling may do."""

from __future__ import annotations

from typing import Any

from slipway import drift

BUCKET = "aws:s3/bucketVersioning:BucketVersioning"
POLICY = "aws:appautoscaling/policy:Policy"


def refreshed(operation: str, kind: str, diffs: list[str] | None = None) -> dict[str, Any]:
    state = {"inputs": {"tags": {"slipway:model": "fashion"}}}
    urn = f"urn:pulumi:dev::slipway::slipway:infra:ModelEndpoint${kind}::fashion-dev"
    metadata = {"op": operation, "urn": urn, "old": state, "new": state, "diffs": diffs or []}
    return {"resOutputsEvent": {"metadata": metadata}}


def test_a_refresh_that_finds_everything_as_it_was_is_no_drift() -> None:
    assert drift.drifted([refreshed("same", BUCKET), {"resourcePreEvent": {"metadata": {"op": "refresh"}}}]) == []


def test_a_changed_property_and_a_deleted_resource_are_told() -> None:
    found = drift.drifted([refreshed("update", BUCKET, ["versioningConfiguration"]), refreshed("delete", POLICY)])
    assert [(one.operation, one.what, one.properties) for one in found] == [
        ("update", "BucketVersioning", ("versioning configuration",)),
        ("delete", "scaling policy", ()),
    ]
    text = drift.markdown("dev", found)
    assert text.startswith(drift.marker("dev"))
    assert "`fashion-dev`: versioning configuration changed" in text
    assert "scaling policy `fashion-dev`: is gone" in text


def test_a_range_that_a_schedule_sets_is_no_drift() -> None:
    moved = refreshed("update", drift.TARGET, ["maxCapacity", "minCapacity"])
    assert drift.drifted([moved], {"fashion"}) == []
    assert len(drift.drifted([moved], {"other"})) == 1


def test_other_changes_of_a_scheduled_models_target_are_drift() -> None:
    assert len(drift.drifted([refreshed("update", drift.TARGET, ["maxCapacity", "roleArn"])], {"fashion"})) == 1
    assert len(drift.drifted([refreshed("delete", drift.TARGET)], {"fashion"})) == 1
