"""moto, in this process: the application that answers for S3, IAM and the rest, and what our own services read of it.

Apart because, with `cloudwatch/service.py`, `persistence/repeatable.py` and `moto_gaps.py`, it is the one place that
touches moto; importing it imports none of it.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from localcloud.asgi import Application

if TYPE_CHECKING:
    from localcloud.cloudwatch.watch import Watched
    from localcloud.persistence.journal import Journal
    from localcloud.persistence.recorder import Recorder

log = logging.getLogger(__name__)

_publisher = ThreadPoolExecutor(1, "sns")
_recorder: Recorder | None = None

ACCOUNT = "123456789012"

SERVICES = frozenset(
    {
        "budgets",
        "ecr",
        "iam",
        "kms",
        "logs",
        "monitoring",
        "s3",
        "sns",
        "sts",
        "tagging",
    }
)


class ObjectMissingError(Exception):
    """There is no such bucket or key in S3."""


@dataclass(frozen=True)
class Role:
    arn: str
    trusts_sagemaker: bool


def application(journal: Journal) -> Application:
    """moto as an ASGI application that keeps what changes it in `journal`; `replay` does again what is there already.

    Takes most of a second: it imports moto.
    """
    global _recorder
    # A page in a browser must not read what is here; moto would allow every origin.
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    from a2wsgi import WSGIMiddleware
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    from localcloud import moto_gaps
    from localcloud.persistence import repeatable
    from localcloud.persistence.recorder import Recorder

    repeatable.install()
    moto_gaps.fill()
    _leave_conditions_of_bucket_policies_out()
    dispatcher = DomainDispatcherApplication(create_backend_app)

    def moto(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "CONTENT_LENGTH" not in environ:
            # A chunked body ends by itself; without this flag it would be taken for an empty one.
            environ["wsgi.input_terminated"] = True
        answer: Iterable[bytes] = dispatcher(environ, start_response)
        return answer

    _recorder = Recorder(moto, journal)
    # The two packages type ASGI differently; it is the same protocol.
    return cast(Application, WSGIMiddleware(cast(Any, _recorder), workers=16))


def replay() -> int:
    """Does again what an earlier server kept; gives how many requests. Raises LocalCloudError."""
    return _made().replay()


def _made() -> Recorder:
    if _recorder is None:
        raise RuntimeError("moto is asked before `application` made it")
    return _recorder


def _leave_conditions_of_bucket_policies_out() -> None:
    """moto denies whatever a conditional statement of a bucket policy speaks of, since it knows no condition's value.

    A bucket that refuses plain HTTP would refuse everything. Here such statements do not apply: nothing on loopback
    travels over a network that could be listened to.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3.models import FakeBucket

    def permission(bucket: Any, action: str, resource: str) -> Any:
        if bucket.policy is None:
            return PermissionResult.NEUTRAL
        document = json.loads(bucket.policy)
        statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        unconditional = [statement for statement in statements if not statement.get("Condition")]
        return IAMPolicy(json.dumps({**document, "Statement": unconditional})).is_action_permitted(action, resource)

    FakeBucket.get_permission = permission  # type: ignore[assignment, method-assign]


def _s3() -> Any:
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]


def object_exists(bucket: str, key: str) -> bool:
    return _find_object(bucket, key) is not None


def _find_object(bucket: str, key: str) -> Any:
    from moto.s3.exceptions import MissingBucket

    try:
        return _s3().get_object(bucket, key)
    except MissingBucket:
        return None


def read_object(bucket: str, key: str, target: IO[bytes]) -> None:
    """Copies an object's bytes into `target`. Raises ObjectMissingError."""
    found = _find_object(bucket, key)
    if found is None:
        raise ObjectMissingError(f"s3://{bucket}/{key}")
    shutil.copyfileobj(io.BytesIO(found.value), target)


def write_object(bucket: str, key: str, content: bytes, content_type: str) -> bool:
    """Puts an object; False, and a line in the log, where there is no such bucket: nobody waits for the answer."""
    if _made().put_object(bucket, key, content, content_type):
        return True
    log.warning("s3://%s/%s could not be written", bucket, key)
    return False


def list_objects(bucket: str, prefix: str) -> list[str]:
    """Keys below a prefix, sorted. Raises ObjectMissingError for a missing bucket."""
    from moto.s3.exceptions import MissingBucket

    try:
        keys = list(_s3().get_bucket(bucket).keys)
    except MissingBucket:
        raise ObjectMissingError(f"s3://{bucket}") from None
    return sorted(key for key in keys if key.startswith(prefix))


def find_role(arn: str) -> Role | None:
    """An IAM role and whether `sagemaker.amazonaws.com` may assume it."""
    from moto.iam.exceptions import NotFoundException
    from moto.iam.models import iam_backends

    try:
        role = iam_backends[ACCOUNT]["aws"].get_role_by_arn(arn)
    except NotFoundException:
        return None
    document = role.assume_role_policy_document
    statements = (json.loads(document) if isinstance(document, str) else document).get("Statement", [])
    if isinstance(statements, dict):
        statements = [statements]
    return Role(role.arn, any(_lets_sagemaker_in(statement) for statement in statements))


def _lets_sagemaker_in(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    if isinstance(services, str):
        services = [services]
    return statement.get("Effect") == "Allow" and "sagemaker.amazonaws.com" in services


def alarms(region: str | None = None) -> list[tuple[str, Watched]]:
    """(region, alarm) of every metric alarm, of one region or of all."""
    from moto.cloudwatch.models import cloudwatch_backends

    from localcloud.cloudwatch.watch import Watched

    regions = cloudwatch_backends[ACCOUNT]
    names = list(regions) if region is None else [region]
    return [(name, Watched(alarm)) for name in names for alarm in list(regions[name].alarms.values())]


def publish(region: str, topic: str, subject: str, message: str) -> None:
    """SNS's Publish, on a thread of its own: moto delivers to HTTP subscribers before it returns."""
    _publisher.submit(_publish, region, topic, subject, message)


def _publish(region: str, topic: str, subject: str, message: str) -> None:
    from moto.sns.exceptions import SNSNotFoundError
    from moto.sns.models import sns_backends

    try:
        sns_backends[ACCOUNT][region].publish(message, arn=topic, subject=subject[:100])
    except SNSNotFoundError:
        log.warning("there is no topic %s for: %s", topic, subject)
    except OSError as error:
        log.warning("%s could not be delivered to a subscriber of %s: %s", subject, topic, error)


def write_log(region: str, group: str, stream: str, lines: list[str]) -> None:
    """Adds lines to a log stream, which is made where there is none. As log events are, it is gone after a restart."""
    from moto.logs.models import logs_backends

    if not lines:
        return
    backend = logs_backends[ACCOUNT][region]
    if group not in backend.groups:
        backend.create_log_group(group, {})
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)
    now = int(time.time() * 1000)
    backend.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines])


class CloudWatchError(Exception):
    """An alarm that CloudWatch refuses; the message says why."""


def put_alarm(region: str, alarm: dict[str, Any]) -> str:
    """CloudWatch's PutMetricAlarm, with arguments as moto names them; gives the ARN. Raises CloudWatchError."""
    from moto.cloudwatch.exceptions import CloudWatchException
    from moto.cloudwatch.models import cloudwatch_backends

    try:
        return str(cloudwatch_backends[ACCOUNT][region].put_metric_alarm(**alarm).alarm_arn)
    except CloudWatchException as error:
        raise CloudWatchError(str(error)) from None


def delete_alarms(region: str, names: list[str]) -> None:
    from moto.cloudwatch.models import cloudwatch_backends

    cloudwatch_backends[ACCOUNT][region].delete_alarms(names)


def metric_data_query(query: dict[str, Any]) -> Any:
    """A `MetricDataQuery` of the API as moto keeps one of an alarm."""
    from moto.cloudwatch.models import Dimension, Metric, MetricDataQuery, MetricStat

    stat = query.get("MetricStat")
    kept = None
    if stat is not None:
        metric = stat["Metric"]
        dimensions = [Dimension(one["Name"], one["Value"]) for one in metric.get("Dimensions", [])]
        kept = MetricStat(
            Metric(metric.get("MetricName", ""), metric.get("Namespace", ""), dimensions),
            stat["Period"],
            stat["Stat"],
            stat.get("Unit"),
        )
    made: Any = MetricDataQuery  # moto declares members as given that the API lets one leave out
    return made(query["Id"], query.get("Label"), None, query.get("ReturnData"), query.get("Expression"), kept)
