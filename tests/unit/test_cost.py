"""What a month costs, from hand-made prices: no figure here comes from the committed table."""

import pytest

from infra import billing, cost
from infra.cost import Cost, Fleet, Hosting, Serverless, Traffic
from infra.prices import Part, RegionPrices
from infra.timetable import Change, Span, spans
from model_build.deployment import Deploy

SOURCE = {"date": "2026-01-02", "source": "a test"}
PRICES = RegionPrices(
    instances=Part(**SOURCE, prices={"ml.c7i.large": 0.1, "ml.c7i.xlarge": 0.2}),
    serverless_seconds=Part(**SOURCE, prices={"2048": 0.0001}),
    storage_months=Part(**SOURCE, prices={"s3": 0.02}),
)


def monthly(deploy, artifact_bytes=0, prices=PRICES, target=None):
    return cost.monthly(billing.hosting(Deploy.model_validate(deploy), artifact_bytes, target), prices, "us-east-1")


def figures(found):
    return found.minimum, found.expected, found.maximum


def test_a_fixed_count_costs_its_hours_and_nothing_is_unknown():
    found = monthly({"instances": {"min": 2, "max": 2}})
    assert figures(found) == pytest.approx((146, 146, 146))
    assert found.reasons == ()


def test_a_range_costs_between_its_ends_and_the_expected_cost_needs_the_traffic():
    found = monthly({"instances": {"min": 1, "max": 4}})
    assert found.minimum == pytest.approx(73)
    assert found.maximum == pytest.approx(292)
    assert found.expected is None
    assert "deploy.traffic" in found.reasons[0]


@pytest.mark.parametrize(("rate", "instances"), [(0, 1), (600, 1), (601, 2), (1700, 3), (99999, 4)])
def test_the_expected_count_is_what_the_target_makes_of_the_traffic_within_the_range(rate, instances):
    found = monthly({"instances": {"min": 1, "max": 4}, "traffic": {"requests_per_minute": rate}})
    assert found.expected == pytest.approx(73 * instances)


def test_a_target_that_is_given_counts_and_one_from_evidence_too():
    stated = {"instances": {"min": 1, "max": 9}, "traffic": {"requests_per_minute": 1000}}
    assert monthly(stated | {"autoscaling": {"target": 250}}).expected == pytest.approx(4 * 73)
    measured = stated | {"autoscaling": {"target": "auto"}}
    assert monthly(measured, target=500).expected == pytest.approx(2 * 73)
    assert monthly(measured).expected is None


def test_a_target_that_is_not_in_invocations_leaves_the_expected_cost_unknown():
    found = monthly(
        {
            "instances": {"min": 1, "max": 4},
            "autoscaling": {"metric": "concurrency", "target": 3},
            "traffic": {"requests_per_minute": 10},
        }
    )
    assert found.expected is None
    assert found.maximum is not None


def test_an_endpoint_that_is_off_at_night_costs_the_day_alone():
    schedule = [
        {"cron": "0 8 ? * MON-FRI *", "min": 1, "max": 2},
        {"cron": "0 20 ? * MON-FRI *", "min": 0, "max": 0},
    ]
    found = monthly({"endpoint": "async", "instances": {"min": 0, "max": 0 + 1}, "autoscaling": {"schedule": schedule}})
    day = 73 * 261 * 12 / (365 * 24)  # 261 working days in the year, twelve hours each
    assert found.minimum == pytest.approx(day, rel=1e-3)
    assert found.maximum == pytest.approx(2 * day, rel=1e-3)


def test_variants_and_a_shadow_are_counted_by_their_own_instances():
    found = monthly(
        {
            "instances": {"min": 1, "max": 1},
            "variants": {"large": {"weight": 1, "instance": "ml.c7i.xlarge", "instances": 2}},
        }
    )
    assert figures(found) == pytest.approx((73 + 2 * 146,) * 3)
    assert monthly({"shadow": {"share": 0.5, "instances": 3}}).minimum == pytest.approx(4 * 73)


def test_a_variant_takes_its_share_of_the_traffic_from_the_main_one():
    alone = {"instances": {"min": 1, "max": 9}, "traffic": {"requests_per_minute": 2400}}
    shared = alone | {"variants": {"other": {"weight": 3, "instances": 1}}}
    assert monthly(alone).expected == pytest.approx(4 * 73)
    assert monthly(shared).expected == pytest.approx((1 + 1) * 73)


def test_a_serverless_endpoint_costs_nothing_unasked_and_at_most_what_its_concurrency_takes():
    serverless = {"endpoint": "serverless", "serverless": {"memory_mb": 2048, "max_concurrency": 3}}
    found = monthly(serverless)
    assert (found.minimum, found.expected) == (0, None)
    assert found.maximum == pytest.approx(3 * 730 * 3600 * 0.0001)
    asked = monthly(serverless | {"traffic": {"requests_per_minute": 60, "seconds": 0.5}})
    assert asked.expected == pytest.approx(60 * 730 * 60 * 0.5 * 0.0001)
    assert monthly(serverless | {"traffic": {"requests_per_minute": 60}}).expected is None


def test_provisioned_concurrency_is_unknown_and_not_forgotten():
    found = monthly({"endpoint": "serverless", "serverless": {"provisioned_concurrency": 1}})
    assert figures(found) == (None, None, None)


@pytest.mark.parametrize(
    ("deploy", "named"),
    [
        ({"instance": "ml.p99.large"}, "ml.p99.large in us-east-1"),
        ({"endpoint": "serverless", "serverless": {"memory_mb": 6144}}, "6144 MiB"),
        ({"variants": {"other": {"weight": 1, "instance": "ml.x1.large"}}}, "ml.x1.large"),
    ],
)
def test_an_unknown_price_makes_the_cost_unknown_and_never_0(deploy, named):
    found = monthly(deploy)
    assert figures(found) == (None, None, None)
    assert named in " ".join(found.reasons)
    assert found.summary["min"] == "unknown"


def test_a_region_without_prices_makes_everything_unknown():
    assert figures(monthly({}, prices=RegionPrices())) == (None, None, None)


def test_the_artifact_is_stored_by_the_gigabyte_and_before_the_build_it_is_left_out():
    assert monthly({}, 50_000_000_000).minimum == pytest.approx(73 + 1)
    assert monthly({}, None).minimum == pytest.approx(73)


def test_a_sum_is_unknown_where_one_part_is_and_says_why_once():
    unknown = Cost(None, None, None, ("why",))
    whole = cost.total([Cost(1, 2, 3), unknown, unknown])
    assert figures(whole) == (None, None, None)
    assert whole.reasons == ("why",)
    assert figures(cost.total([Cost(1, 2, 3), Cost(1, None, 3)])) == (2, None, 6)


def test_a_budget_judges_the_expected_cost_and_the_dearest_where_that_is_unknown():
    assert cost.over_budget(Cost(1, 50, 900), 100) is None
    assert "costs $150.00 a month expected (min $1.00" in cost.over_budget(Cost(1, 150, 900), 100)
    assert cost.over_budget(Cost(1, None, 90), 100) is None
    assert "costs $900.00 a month at most" in cost.over_budget(Cost(1, None, 900), 100)


def test_a_budget_refuses_what_nobody_knows_the_price_of():
    said = cost.over_budget(Cost(None, None, None, ("no price of ml.x.large in us-east-1",)), 100)
    assert "unknown (no price of ml.x.large in us-east-1)" in said


def test_the_figures_for_programs_name_the_currency_and_the_total():
    told = cost.as_json({"a": Cost(1, 2, 3), "b": Cost(1.005, None, 2, ("r",))})
    assert told["currency"] == "USD"
    assert told["models"]["a"] == {"min": 1, "expected": 2, "max": 3}
    assert told["total"]["expected"] == "unknown"


@pytest.mark.parametrize(
    ("cron", "share"),
    [
        ("cron(0 0 * * ? *)", 1.0),
        ("cron(0 12 1 1 ? *)", 1.0),  # from the first of January on, and for ever
        ("cron(0 0 1 7 ? *)", 1.0),
    ],
)
def test_a_change_without_an_end_holds_for_the_whole_year(cron, share):
    (span,) = spans(1, 1, [Change(cron, "UTC", 2, 2)])
    assert (span.min, span.max, span.share) == (2, 2, share)


def test_half_a_day_is_half_the_time_in_any_time_zone():
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
        shares = {
            span.min: span.share
            for span in spans(1, 1, [Change("cron(0 6 * * ? *)", zone, 3, 3), Change("cron(0 18 * * ? *)", zone, 1, 1)])
        }
        assert shares == pytest.approx({1: 0.5, 3: 0.5}, abs=1e-3)


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("cron(0 0 ? * SAT *)", 52),
        ("cron(0 0 ? * MON-FRI *)", 261),
        ("cron(0 0 L * ? *)", 12),
        ("cron(0 0 ? * SUN#1 *)", 12),
        ("cron(0 0 ? * 6L *)", 12),
        ("cron(0 0 1-7 JAN,JUL ? *)", 14),
        ("cron(0 0 */10 * ? *)", 12 * 4 - 5),
    ],
)
def test_days_are_read_as_aws_reads_them(cron, days):
    changes = [Change(cron, "UTC", 5, 5), Change(cron.replace("(0 0", "(0 1"), "UTC", 1, 1)]
    five = next(span for span in spans(1, 1, changes) if span.min == 5)
    assert five.share * 365 * 24 == pytest.approx(days)


def test_a_change_of_one_bound_leaves_the_other_or_pushes_it():
    assert spans(1, 4, [Change("cron(0 0 * * ? *)", "UTC", 2, None)]) == (Span(1.0, 2, 4),)
    assert spans(1, 4, [Change("cron(0 0 * * ? *)", "UTC", None, 0)]) == (Span(1.0, 0, 0),)
    assert spans(1, 4, [Change("cron(0 0 * * ? *)", "UTC", 6, None)]) == (Span(1.0, 6, 6),)


def test_what_happens_once_does_not_change_an_ordinary_month():
    assert spans(1, 4, [Change("at(2027-01-04T06:00:00)", "UTC", 9, 9)]) == (Span(1.0, 1, 4),)


@pytest.mark.parametrize("text", ["rate(1 hour)", "cron(0 0 * *)", "cron(0 25 * * ? *)", "cron(0 0 * * FOO *)"])
def test_a_schedule_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"cron|within|field"):
        spans(1, 2, [Change(text, "UTC", 1, 1)])


def test_a_plan_can_be_made_without_a_spec():
    hosting = Hosting(
        (Fleet("ml.c7i.large", (Span(0.5, 1, 1), Span(0.5, 3, 3))), Serverless(2048, 1)), 0, Traffic(0, 1)
    )
    assert cost.monthly(hosting, PRICES, "x").minimum == pytest.approx(2 * 73)
