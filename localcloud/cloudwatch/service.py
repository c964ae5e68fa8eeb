"""CloudWatch's operations where moto's fall short: data go to our store, alarms are checked, percentiles are there.

moto keeps its protocols (CBOR, JSON and query) and the alarms themselves; what is replaced here are its methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from localcloud.clock import naive
from localcloud.cloudwatch.alarms import COMPARISONS
from localcloud.cloudwatch.queries import Queries, Query, QueryError, Stat
from localcloud.cloudwatch.statistics import SIMPLE, is_statistic
from localcloud.cloudwatch.store import HIGH_RESOLUTION, STANDARD, Metric, MetricStore
from localcloud.cloudwatch.watch import Change, Watch, Watched

_MISSING = ("breaching", "notBreaching", "ignore", "missing")
MAX_PERIOD_SECONDS = 7 * 86400
MAX_DATAPOINTS = 1440


def install(watch: Watch) -> None:
    """Makes moto's CloudWatch answer from `watch`. Once in a process; a later one takes the place of the former."""
    from moto.cloudwatch import responses
    from moto.cloudwatch.exceptions import InvalidParameterCombination, InvalidParameterValue, ValidationError
    from moto.cloudwatch.models import CloudWatchBackend
    from moto.core.responses import ActionResult

    original = _ORIGINALS.setdefault("put_metric_alarm", CloudWatchBackend.put_metric_alarm)
    original_set_state = _ORIGINALS.setdefault("set_alarm_state", CloudWatchBackend.set_alarm_state)

    def put_metric_data(backend: Any, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        for number, datum in enumerate(metric_data, start=1):
            backend._validate_parameters_put_metric_data(datum, number)
        store = watch.store(backend.region_name)
        for datum in metric_data:
            put_datum(store, namespace, datum, watch.clock.now())

    def put_metric_alarm(backend: Any, name: str, **arguments: Any) -> Any:
        before = backend.alarms.get(name)
        try:
            check_alarm(name, arguments)
            alarm = original(backend, name=name, **arguments)
            Watched(alarm)
        except QueryError as error:
            backend.alarms.pop(name, None)
            if before is not None:
                backend.alarms[name] = before
            raise ValidationError(str(error)) from None
        alarm.configuration_updated_timestamp = watch.clock.datetime()
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
            alarm.state_updated_timestamp = alarm.state_transitioned_timestamp = watch.clock.datetime()
        else:
            for kept in ("value", "reason", "reason_data", "updated_timestamp", "transitioned_timestamp"):
                setattr(alarm, f"state_{kept}", getattr(before, f"state_{kept}"))
        return alarm

    def set_alarm_state(backend: Any, alarm_name: str, reason: str, reason_data: str | None, state_value: str) -> None:
        kept = backend.alarms.get(alarm_name)
        if kept is None or state_value not in ("OK", "ALARM", "INSUFFICIENT_DATA"):
            # moto has the words for these.
            original_set_state(backend, alarm_name, reason, reason_data, state_value)
            return
        watch.enter(backend.region_name, Watched(kept), state_value, reason, reason_data or "{}")

    def list_metrics(
        backend: Any, next_token: str | None, namespace: str | None, metric_name: str | None, dimensions: Any
    ) -> Any:
        if next_token:
            pages = backend.paged_metric_data
            if next_token not in pages:
                raise InvalidParameterValue("Request parameter NextToken is invalid")
            return backend._get_paginated(pages.pop(next_token))
        wanted = [(one["Name"], one.get("Value")) for one in dimensions or ()]
        found = [
            _described(metric)
            for metric in watch.store(backend.region_name).metrics()
            if namespace in (None, metric.namespace) and metric_name in (None, metric.name) and metric.has(wanted)
        ]
        return backend._get_paginated(found)

    def get_metric_data(
        backend: Any, queries: list[dict[str, Any]], start_time: datetime, end_time: datetime, scan_by: str
    ) -> list[dict[str, Any]]:
        start, end = _seconds(start_time), _seconds(end_time)
        if start >= end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        try:
            asked = Queries(tuple(query_of(query) for query in queries))
            found = asked.read(watch.store(backend.region_name), start, end)
        except QueryError as error:
            raise ValidationError(str(error)) from None
        results = []
        for query in asked.queries:
            if query.returned:
                moments = sorted(found[query.id], reverse=scan_by == "TimestampDescending")
                results.append(
                    {
                        "id": query.id,
                        "label": query.label or label_of(query),
                        "timestamps": [naive(moment) for moment in moments],
                        "values": [found[query.id][moment] for moment in moments],
                        "status_code": "Complete",
                    }
                )
        return results

    def get_metric_statistics(response: Any) -> Any:
        simple = response._get_param("Statistics", []) or []
        extended = response._get_param("ExtendedStatistics", []) or []
        if not simple and not extended:
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
        for name in (*simple, *extended):
            if not is_statistic(name):
                raise InvalidParameterValue(f"The value {name} for parameter Statistics is not supported.")
        metric = _metric(response._get_param("Namespace"), response._get_param("MetricName"), response)
        start, end = _seconds(response._get_param("StartTime")), _seconds(response._get_param("EndTime"))
        period, unit = response._get_int_param("Period"), response._get_param("Unit")
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        try:
            Stat(metric, period, "Sum")
        except QueryError as error:
            raise ValidationError(str(error)) from None
        store = watch.store(response.region)
        points = store.read(metric, start // period * period, end, period, unit)
        if len(points) > MAX_DATAPOINTS:
            raise InvalidParameterCombination(
                f"You have requested up to {len(points)} datapoints, which exceeds the limit of {MAX_DATAPOINTS}. You "
                "may reduce the datapoints requested by increasing Period, or decreasing the time range."
            )
        datapoints = []
        for moment, point in points:
            datum: dict[str, Any] = {"Timestamp": naive(moment), "Unit": store.unit(metric) or "None"}
            datum |= {name: point.statistic(name) for name in simple}
            percentiles = {name: point.statistic(name) for name in extended}
            if percentiles:
                datum["ExtendedStatistics"] = {key: one for key, one in percentiles.items() if one is not None}
            datapoints.append(datum)
        return ActionResult({"Label": metric.name, "Datapoints": datapoints})

    def describe_alarm_history(response: Any) -> Any:
        name = response._get_param("AlarmName")
        kind = response._get_param("HistoryItemType")
        descending = response._get_param("ScanBy") != "TimestampAscending"
        changes = [change for change in watch.history(response.region) if name in (None, change.alarm)]
        if kind not in (None, "StateUpdate"):
            changes = []
        items = [_history_item(change) for change in (reversed(changes) if descending else changes)]
        limit = response._get_param("MaxRecords") or 100
        return ActionResult({"AlarmHistoryItems": items[: int(limit)]})

    def put_composite_alarm(_response: Any) -> Any:
        raise ValidationError("The local AWS does not emulate composite alarms; it has metric alarms and metric math.")

    for name, method in {
        "put_metric_data": put_metric_data,
        "put_metric_alarm": put_metric_alarm,
        "set_alarm_state": set_alarm_state,
        "list_metrics": list_metrics,
        "get_metric_data": get_metric_data,
    }.items():
        setattr(CloudWatchBackend, name, method)
    for name, operation in {
        "get_metric_statistics": get_metric_statistics,
        "describe_alarm_history": describe_alarm_history,
        "put_composite_alarm": put_composite_alarm,
    }.items():
        setattr(responses.CloudWatchResponse, name, operation)


_ORIGINALS: dict[str, Any] = {}


def put_datum(store: MetricStore, namespace: str, datum: dict[str, Any], now: float) -> None:
    """One `MetricDatum` of PutMetricData, as moto checked it."""
    metric = Metric.of(
        namespace, datum["MetricName"], {one["Name"]: one["Value"] for one in datum.get("Dimensions") or ()}
    )
    moment = _seconds(datum["Timestamp"]) if datum.get("Timestamp") else now
    unit = datum.get("Unit")
    step = HIGH_RESOLUTION if int(datum.get("StorageResolution") or STANDARD) == 1 else STANDARD
    if datum.get("Values"):
        counts = datum.get("Counts") or [1.0] * len(datum["Values"])
        for value, count in zip(datum["Values"], counts, strict=True):
            store.put(metric, moment, float(value), float(count), unit, step)
    elif datum.get("StatisticValues"):
        values = {name: float(value) for name, value in datum["StatisticValues"].items()}
        store.put_set(metric, moment, values, unit, step)
    else:
        store.put(metric, moment, float(datum.get("Value", 0.0)), 1.0, unit, step)


def check_alarm(name: str, alarm: dict[str, Any]) -> None:
    """Raises QueryError for what is wrong with PutMetricAlarm's arguments, as moto names them, or not emulated."""
    if alarm.get("rule") is not None:
        raise QueryError("The local AWS does not emulate composite alarms.")
    if alarm["comparison_operator"] not in COMPARISONS:
        raise QueryError(
            f"The local AWS does not emulate {alarm['comparison_operator']}; it has {', '.join(COMPARISONS)}."
        )
    if alarm.get("threshold") is None:
        raise QueryError(f"Alarm {name} needs a Threshold.")
    if alarm.get("treat_missing_data") not in (None, *_MISSING):
        raise QueryError(
            f"Option {alarm['treat_missing_data']} is not supported. Supported options for parameter "
            f"TreatMissingData are {', '.join(_MISSING)}."
        )
    periods = int(alarm["evaluation_periods"] or 0)
    if periods < 1:
        raise QueryError("EvaluationPeriods must be at least 1.")
    if not 1 <= int(alarm.get("datapoints_to_alarm") or periods) <= periods:
        raise QueryError("DatapointsToAlarm must be between 1 and EvaluationPeriods.")
    if alarm.get("metric_data_queries"):
        return
    if not alarm.get("namespace") or not alarm.get("metric_name") or not alarm.get("period"):
        raise QueryError(f"Alarm {name} needs Namespace, MetricName and Period, or Metrics.")
    if (alarm.get("statistic") is None) == (alarm.get("extended_statistic") is None):
        raise QueryError(
            "The parameters Statistic and ExtendedStatistic exclude each other, and one of them is needed."
        )
    if alarm.get("statistic") is not None and alarm["statistic"] not in SIMPLE:
        raise QueryError(f"Statistic must be one of {', '.join(SIMPLE)}, not {alarm['statistic']}.")
    if int(alarm["period"]) not in (10, 20, 30) and int(alarm["period"]) % 60:
        raise QueryError(f"An alarm's Period is 10, 20, 30 or a multiple of 60 seconds, not {alarm['period']}.")
    if int(alarm["period"]) * periods > MAX_PERIOD_SECONDS:
        raise QueryError("Metrics cannot be checked across more than seven days (EvaluationPeriods * Period).")


def query_of(query: dict[str, Any]) -> Query:
    """One `MetricDataQuery` of the API. Raises QueryError."""
    returned = query.get("ReturnData", True) is not False
    if "MetricStat" not in query:
        if query["Expression"].lstrip().upper().startswith("SELECT"):
            raise QueryError("The local AWS does not emulate Metrics Insights queries; it has metric math.")
        return Query(query["Id"], query["Expression"], query.get("Label"), returned)
    stat = query["MetricStat"]
    dimensions = {one["Name"]: one["Value"] for one in stat["Metric"].get("Dimensions") or ()}
    metric = Metric.of(stat["Metric"].get("Namespace", ""), stat["Metric"].get("MetricName", ""), dimensions)
    source = Stat(metric, int(stat["Period"]), stat["Stat"], stat.get("Unit"))
    return Query(query["Id"], source, query.get("Label"), returned)


def label_of(query: Query) -> str:
    return query.id if isinstance(query.source, str) else query.source.metric.name


def _described(metric: Metric) -> Any:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
    }


def _metric(namespace: str, name: str, response: Any) -> Metric:
    dimensions: Sequence[dict[str, str]] = response._get_param("Dimensions", []) or []
    return Metric.of(namespace, name, {one["Name"]: one["Value"] for one in dimensions})


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _history_item(change: Change) -> dict[str, Any]:
    import json

    return {
        "AlarmName": change.alarm,
        "AlarmType": "MetricAlarm",
        "Timestamp": naive(change.moment),
        "HistoryItemType": "StateUpdate",
        "HistorySummary": f"Alarm updated from {change.old} to {change.new}",
        "HistoryData": json.dumps(
            {
                "version": "1.0",
                "oldState": {"stateValue": change.old},
                "newState": {"stateValue": change.new, "stateReason": change.reason},
            }
        ),
    }
