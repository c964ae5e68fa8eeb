"""The comment on a pull request: twenty changes, and what each must and must not say; ten of them word for word.

After a wanted change of the wording: `REWRITE=1 pytest tests/unit/test_review_comment.py`, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra import billing, cost
from infra.prices import RegionPrices
from model_build.manifest import Artifact, Deploy, GateResult, Manifest, Measurement
from slipway.review import changes, comment, infrastructure
from slipway.review.comment import Review
from slipway.review.page import html

GOLDEN = Path(__file__).parent / "reviews"
SCREEN_LINES = 45
PRICES = RegionPrices.model_validate(
    {
        "instances": {
            "date": "2026-11-01",
            "source": "a test",
            "prices": {"ml.c7i.large": 0.1, "ml.c7i.xlarge": 0.2},
        },
        "storage_months": {"date": "2026-11-01", "source": "a test", "prices": {"s3": 0.02}},
    }
)
HOSTED: dict[str, Any] = {"instances": {"min": 1, "max": 2}, "traffic": {"requests_per_minute": 60}}
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
TARGET = "aws:appautoscaling/target:Target"


def measured(**figures: Any) -> Measurement:
    given = {
        "metric": "accuracy", "score": 0.93, "samples": 1000, "latency_p50_ms": 1.0, "latency_p95_ms": 2.0,
        "memory_peak_mb": 90.0, "size_mb": 1.5, "threads": 1,
    }  # fmt: skip
    return Measurement.model_validate(given | figures)


def gate(name: str = "accuracy.min", limit: float = 0.9, value: float | None = 0.93, **more: Any) -> GateResult:
    return GateResult.model_validate({"gate": name, "limit": limit, "measured": value, "passed": True} | more)


def manifest(
    name: str = "fashion",
    artifact: str = "a",
    deploy: Mapping[str, Any] | None = None,
    gates: tuple[GateResult, ...] = (gate(),),
    **chosen: Any,
) -> Manifest:
    return Manifest(
        name=name,
        task="image-classification",
        inputs={},
        artifact=Artifact(sha256=artifact * 64, bytes=1_500_000),
        candidate="export_onnx",
        source=measured(),
        chosen=measured(**chosen),
        gates=gates,
        deploy=Deploy.model_validate(HOSTED | dict(deploy or {})),
    )


def step(operation: str, kind: str, name: str = "fashion-dev", **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::slipway::slipway:infra:ModelEndpoint${kind}::{name}"
    state = {"inputs": {"tags": {"slipway:model": name.removesuffix("-dev")}}}
    return {"resourcePreEvent": {"metadata": {"op": operation, "urn": urn, "new": state, **more}}}


def policy(rule: str, level: str = "mandatory", message: str = "is wrong") -> dict[str, Any]:
    return {
        "policyEvent": {
            "policyName": rule,
            "enforcementLevel": level,
            "message": message,
            "resourceUrn": f"urn:pulumi:dev::slipway::{ENDPOINT}::fashion-dev",
        }
    }


@dataclass(frozen=True)
class Case:
    """One change. `must` and `must_not` are pieces of the comment."""

    before: list[Manifest]
    after: list[Manifest]
    must: list[str]
    must_not: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] | None = field(default_factory=list)
    environment: str = "dev"
    failed: str = ""
    blocked: bool = False
    golden: bool = False


NEW_VERSION = [
    step("create", "aws:s3/bucketObjectv2:BucketObjectv2", new={"inputs": {"tags": {"slipway:model": "fashion"}}}),
    step("create-replacement", CONFIGURATION, detailedDiff={"productionVariants[0].modelName": {}}),
    step("replace", CONFIGURATION, detailedDiff={"productionVariants[0].modelName": {}}),
    step("update", ENDPOINT, detailedDiff={"endpointConfigName": {}}),
    step("delete-replaced", CONFIGURATION),
]
CASES = {
    "nothing": Case(
        [manifest()], [manifest()],
        ["Slipway · dev: nothing changes", "1 other model unchanged", "**Infrastructure:** nothing changes"],
        ["| model |", "⚠", "✗", "Gates"], golden=True,
    ),
    "new model": Case(
        [manifest("other")], [manifest("other"), manifest()],
        ["| `fashion` | new | 0.9300 | 2 | 90 | 1.5 |", "1 model changes", "Gates: 1 held", "1 other model unchanged"],
        ["→ 0.93", "✗", "| `other` | new"],
        events=[step("create", ENDPOINT), step("create", CONFIGURATION)], golden=True,
    ),
    "a better version": Case(
        [manifest(score=0.93, latency_p95_ms=2.0)], [manifest(artifact="b", score=0.95, latency_p95_ms=1.0)],
        ["0.9300 → 0.9500 ▲", "2 → 1 ▲", "no endpoint is interrupted", "1 to create, 1 to update, 1 to replace"],
        ["▼ |", "✗", "deleted and made anew"], events=NEW_VERSION, golden=True,
    ),
    "a worse version that holds its gates": Case(
        [manifest(score=0.95, memory_peak_mb=90.0)], [manifest(artifact="b", score=0.91, memory_peak_mb=120.0)],
        ["0.9500 → 0.9100 ▼", "90 → 120 ▼", "✓ all gates hold"], ["✗"], events=NEW_VERSION,
    ),
    "only scaling": Case(
        [manifest()], [manifest(deploy={"instances": {"min": 1, "max": 4}})],
        ["| `fashion` | hosting only |", "73…146 → 73…292", "～ scaling range `fashion-dev`: max capacity"],
        ["new version", "Gates", "✗"],
        events=[step("update", TARGET, detailedDiff={"maxCapacity": {}})], golden=True,
    ),
    "fewer instances": Case(
        [manifest(deploy={"instances": {"min": 2, "max": 6}})], [manifest(deploy={"instances": {"min": 1, "max": 2}})],
        ["at most 2 instances from now on, 6 before", "146…438 → 73…146"], ["✗"],
    ),
    "instance type": Case(
        [manifest()], [manifest(deploy={"instance": "ml.c7i.xlarge"})],
        ["it moves from ml.c7i.large to ml.c7i.xlarge: scaling is taken off", "73…146 → 146…292"], ["✗", "unknown"],
        events=[step("create-replacement", CONFIGURATION, detailedDiff={"productionVariants[0].instanceType": {}}),
                step("update", ENDPOINT, detailedDiff={"endpointConfigName": {}})],
        golden=True,
    ),
    "an instance type without a price": Case(
        [manifest()], [manifest(deploy={"instance": "ml.m5.large"})],
        ["73…146 → unknown", "no price of ml.m5.large"], ["→ 0"],
    ),
    "gate missed": Case(
        [manifest()],
        [manifest(artifact="b", score=0.85, gates=(gate(value=0.85, passed=False), gate("size.max_mb", 5, 1.5)))],
        ["✗ do not merge", "- ✗ `fashion` misses `accuracy.min`", "Gates: 1 held, 1 missed", "**missed**"],
        ["✓ all gates hold"], blocked=True, golden=True,
    ),
    "gate not resolved": Case(
        [manifest()],
        [manifest(artifact="b", gates=(gate("latency_p50.max_ratio", 0.7, 0.7, passed=False, unresolved=True),))],
        ["- ✗ `fashion` misses `latency_p50.max_ratio`", "**not resolved**"], ["**missed**"], blocked=True,
    ),
    "build failed": Case(
        [manifest()], [],
        ["| `fashion` | **not built** |", "- ✗ `fashion` was not built", "what runs stays",
         "no candidate passes"],
        ["✓ all gates hold", "deleted when this is merged"],
        failures={"fashion": "fashion: no candidate passes every gate\n```\nexport_onnx"}, blocked=True, golden=True,
    ),
    "policy violated": Case(
        [manifest()], [manifest(artifact="b")],
        ["- ✗ policy `sagemaker-4` is violated by `fashion-dev`", "Policies: 1 violated, 1 advice",
         "one &lt;b&gt;instance&lt;/b&gt;"],
        ["✓ all gates hold", "<b>instance"],
        events=[*NEW_VERSION, policy("sagemaker-4", message="one <b>instance</b>"), policy("s3-9", "advisory")],
        blocked=True, golden=True,
    ),
    "policy advice alone": Case(
        [manifest()], [manifest(artifact="b")], ["Policies: 0 violated, 1 advice", "✓ all gates hold"], ["✗"],
        events=[*NEW_VERSION, policy("s3-9", "advisory")],
    ),
    "model removed": Case(
        [manifest(), manifest("other")], [manifest("other")],
        ["| `fashion` | removed |", "73…146 → 0", "deleted when this is merged",
         "⚠ `fashion`: the endpoint is taken down"],
        ["✗", "no endpoint is interrupted"],
        events=[step("delete", ENDPOINT, new=None, old={"inputs": {"tags": {"slipway:model": "fashion"}}})],
        golden=True,
    ),
    "endpoint replaced": Case(
        [manifest()], [manifest(deploy={"environment": {"A": "b"}})],
        ["the endpoint is deleted and made anew (name cannot change in place): no answers in between"],
        ["no endpoint is interrupted"], events=[step("replace", ENDPOINT, keys=["name"])],
    ),
    "preview failed": Case(
        [manifest()], [manifest(artifact="b")],
        ["- ✗ the preview failed", "Preview: what it said", "specs/fashion.yaml: not built"],
        ["**Infrastructure:** nothing", "✓ all gates hold"],
        failed="specs/fashion.yaml: not built; run: slipway build fashion",
        blocked=True, golden=True,
    ),
    "no preview asked for": Case(
        [manifest()], [manifest(artifact="b")], ["**Infrastructure:** not looked at."], ["nothing changes", "✗"],
        events=None,
    ),
    "kind of endpoint": Case(
        [manifest()], [manifest(deploy={"endpoint": "async", "instances": {"min": 0, "max": 2}})],
        ["it becomes async from realtime", "0…146"], ["✗"],
    ),
    "one instance in production": Case(
        [], [manifest(deploy={"instances": {"min": 1, "max": 1}})],
        ["one instance at most: one failure is an outage", "all traffic moves at once"], ["✗"], environment="prod",
    ),
    "several models": Case(
        [manifest(), manifest("beta"), manifest("gamma")],
        [manifest(artifact="b"), manifest("beta", deploy={"instances": {"min": 1, "max": 4}}), manifest("gamma")],
        ["2 models change", "| `beta` | hosting only |", "| `fashion` | new version |", "1 other model unchanged"],
        ["✗"],
    ),
}  # fmt: skip


def reviewed(case: Case) -> Review:
    before = {one.name: one for one in case.before}
    after = {one.name: one for one in case.after}
    told = case.events or []

    def price(one: Manifest | None) -> cost.Cost | None:
        return cost.monthly(billing.of_manifest(one, case.environment), PRICES, "us-east-1") if one else None

    return Review(
        environment=case.environment,
        base="origin/main (123456789)",
        changes=changes.compare(before, after, case.failures, case.environment),
        resources=None if case.events is None or case.failed else infrastructure.changes(told),
        failure=case.failed,
        costs={
            name: (price(before.get(name)), price(before.get(name) if name in case.failures else after.get(name)))
            for name in sorted({*before, *after})
        },
        violations=None if case.events is None else infrastructure.violations(told),
    )


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_told_with_what_it_must_say_and_nothing_else(name: str) -> None:
    case = CASES[name]
    review = reviewed(case)
    text = comment.markdown(review)
    assert [piece for piece in case.must if piece not in text] == []
    assert [piece for piece in case.must_not if piece in text] == []
    assert bool(review.blocked) == case.blocked
    assert text.startswith(comment.marker(case.environment))
    unfolded = text
    while "<details>" in unfolded:
        head, _, rest = unfolded.partition("<details>")
        unfolded = head + rest.partition("</details>")[2]
    assert unfolded.count("\n") < SCREEN_LINES


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.golden])
def test_ten_changes_are_told_word_for_word(name: str) -> None:
    path = GOLDEN / f"{name.replace(' ', '-')}.md"
    text = comment.markdown(reviewed(CASES[name]))
    if os.environ.get("REWRITE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_there_are_twenty_changes_and_ten_golden_files() -> None:
    assert len(CASES) >= 20
    assert len(list(GOLDEN.glob("*.md"))) == sum(case.golden for case in CASES.values()) >= 10


def test_what_a_build_said_cannot_close_the_block_it_is_shown_in() -> None:
    text = comment.markdown(reviewed(CASES["build failed"]))
    assert "````text\nfashion: no candidate passes every gate\n```\nexport_onnx\n````" in text


def test_the_page_holds_the_same_folds_and_tables_and_escapes_what_others_wrote() -> None:
    page = html(comment.markdown(reviewed(CASES["policy violated"])), "a review")
    assert page.count("<details>") == page.count("</details>") == 4
    assert "<table>" in page and "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
