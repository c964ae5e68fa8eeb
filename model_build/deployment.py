"""How a model is hosted: the shape of `deploy`, which the manifest carries to provisioning.

Apart from `manifest` because it is what people write; it depends on pydantic and the standard library alone. A field
that is not given is left out of the JSON, so that a manifest of before there was such a field keeps its digest.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from stores.address import parse as parse_address

FORMS = ("in a word", "in keys")
"""Tags of a value that is either one of some words, or something else (keys, a number)."""

MAIN_VARIANT = "AllTraffic"
"""The production variant that every endpoint has; scaling policies and guardrails stop working when it changes."""
SHADOW_VARIANT = "Shadow"


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def is_none(value: object) -> bool:
    return value is None


def is_empty(value: Any) -> bool:
    return not value


def form(value: Any) -> str:
    return FORMS[not isinstance(value, str)]


Duration = Annotated[str, Field(pattern=r"^[1-9]\d{0,4}[smh]$", examples=["10m"])]


def seconds(duration: str) -> int:
    """Of a duration such as `90s`, `10m` or `1h`."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$", examples=["ml.c7i.large"])]
Image = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][\w./-]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$")]


def _topic(value: str) -> str:
    if not re.fullmatch(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}", value):
        raise ValueError(f"'{value}' is not the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME")
    return value


TopicArn = Annotated[str, AfterValidator(_topic)]


def _mirror(value: str) -> str:
    address = parse_address(value)
    if address.scheme == "oss" and address.region is None:
        raise ValueError(f"'{value}': say where the bucket is: {value}?region=cn-hangzhou")
    return value


Mirror = Annotated[str, AfterValidator(_mirror), Field(examples=["oss://my-models/slipway?region=cn-hangzhou"])]


class InstanceRange(Frozen):
    min: int = Field(
        1,
        ge=0,
        le=1000,
        description="Instances that always run; also the count at the first deploy. 0 on an `async` endpoint alone.",
    )
    max: int = Field(
        1,
        ge=1,
        le=1000,
        description="Instances that autoscaling may reach. Equal to `min` turns scaling off.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) must be at least min ({self.min})")
        return self


class Serverless(Frozen):
    """A serverless endpoint: no instances, paid by the time that requests take, cold after a pause."""

    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = Field(
        2048, description="Memory of one worker; processor power grows with it."
    )
    max_concurrency: int = Field(20, ge=1, le=200, description="Requests at once; more are refused.")
    provisioned_concurrency: int | None = Field(
        None, ge=1, le=200, description="Workers that are kept warm, and paid for.", exclude_if=is_none
    )


class Asynchronous(Frozen):
    """An asynchronous endpoint: requests name an input in S3 and wait in a queue; answers are written to S3."""

    concurrency: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Requests that one instance works on at a time. Left out: AWS chooses.",
        exclude_if=is_none,
    )
    notify: bool = Field(False, description="Makes two SNS topics that are told of every success and every error.")
    success_topic: TopicArn | None = Field(
        None, description="A topic of yours in place of the one for successes.", exclude_if=is_none
    )
    error_topic: TopicArn | None = Field(
        None, description="A topic of yours in place of the one for errors.", exclude_if=is_none
    )
    keep_days: int = Field(30, ge=1, le=3650, description="Days after which S3 removes inputs and outputs.")


class Variant(Frozen):
    """A further production variant: the same artifact on other instances, with its share of the traffic."""

    weight: float = Field(gt=0, le=1000, description="Of the traffic, against the main variant's 1.")
    instance: InstanceType | None = Field(
        None, description="Its instance type. Left out: that of `deploy`.", exclude_if=is_none
    )
    instances: int = Field(1, ge=1, le=1000, description="Its instances, always so many.")


class Shadow(Frozen):
    """A shadow variant: gets copies of requests, its answers go to nobody, its metrics tell how it would do."""

    share: float = Field(gt=0, le=1, description="Of the requests that are copied to it.")
    instance: InstanceType | None = Field(
        None, description="Its instance type. Left out: that of `deploy`.", exclude_if=is_none
    )
    instances: int = Field(1, ge=1, le=1000, description="Its instances, always so many.")
    image: Image | None = Field(None, description="Its image. Left out: that of `deploy`.", exclude_if=is_none)


class CustomMetric(Frozen):
    """A CloudWatch metric that target tracking holds."""

    namespace: str = Field(min_length=1, max_length=255, description="For instance `/aws/sagemaker/Endpoints`.")
    name: str = Field(min_length=1, max_length=255, description="For instance `CPUUtilization`.")
    statistic: Literal["Average", "Minimum", "Maximum", "SampleCount", "Sum"] = Field(
        "Average", description="Of a minute."
    )
    dimensions: dict[str, str] | None = Field(
        None,
        description="Left out: `EndpointName` and `VariantName` of this endpoint.",
        exclude_if=is_none,
    )


MetricWord = Literal["invocations", "concurrency", "backlog"]


class ScalingStep(Frozen):
    """Instances to add at once, where target tracking would be too slow."""

    above: float = Field(ge=0, description="How far the metric lies above the target.")
    add: int = Field(ge=1, le=100, description="Instances to add.")


class ScheduledRange(Frozen):
    """Another range of instances from a time on, until the next entry."""

    cron: str | None = Field(
        None, description="Six fields, for instance `0 8 ? * MON-FRI *`.", exclude_if=is_none, examples=["0 20 * * ? *"]
    )
    at: str | None = Field(
        None, description="Or once, for instance `2027-01-04T06:00:00`.", exclude_if=is_none, examples=["2027-01-04"]
    )
    timezone: str = Field("UTC", description="Of the times, for instance `Europe/Berlin`.")
    min: int | None = Field(None, ge=0, le=1000, description="The new minimum.", exclude_if=is_none)
    max: int | None = Field(None, ge=0, le=1000, description="The new maximum.", exclude_if=is_none)

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise ValueError("give either cron, a repeated time, or at, a single one")
        if self.cron is not None and not re.fullmatch(r"[\w*?,/#-]+( [\w*?,/#-]+){5}", self.cron):
            raise ValueError(f"'{self.cron}' must have six fields: minute hour day month weekday year")
        if self.at is not None:
            _moment(self.at)
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) must be at least min ({self.min})")
        known = zoneinfo.available_timezones()
        if known and self.timezone not in known:
            raise ValueError(f"'{self.timezone}' is not a time zone of the IANA database, as Europe/Berlin is")
        return self

    @property
    def expression(self) -> str:
        """As Application Auto Scaling writes it."""
        return f"cron({self.cron})" if self.cron else f"at({_moment(self.at or '').isoformat(timespec='seconds')})"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a time such as 2027-01-04T06:00:00") from None
    if moment.tzinfo is not None:
        raise ValueError(f"'{text}' carries a time zone; give it as timezone")
    return moment


if TYPE_CHECKING:
    Metric = MetricWord | CustomMetric
    Target = Literal["auto"] | float
else:
    Metric = Annotated[
        Annotated[MetricWord, Tag(FORMS[0])] | Annotated[CustomMetric, Tag(FORMS[1])], Discriminator(form)
    ]
    Target = Annotated[
        Annotated[Literal["auto"], Tag(FORMS[0])] | Annotated[float, Field(gt=0), Tag(FORMS[1])], Discriminator(form)
    ]


class Autoscaling(Frozen):
    metric: Metric | None = Field(
        None,
        description="What is held at the target. Left out: `invocations` a minute and instance; on an `async` endpoint "
        "its `backlog` an instance. `concurrency` reacts within seconds (high-resolution requests in flight an "
        "instance). Keys name a metric of CloudWatch.",
        exclude_if=is_none,
    )
    target: Target | None = Field(
        None,
        description="The value to hold. Left out: 600 invocations, or a backlog of 5. `auto` takes it from "
        "`specs/capacity/NAME.json`, which `slipway loadtest` writes.",
        exclude_if=is_none,
    )
    safety: float = Field(
        0.5,
        gt=0,
        le=1,
        description="With `auto`: the share of what one instance bears that is taken as the target.",
        exclude_if=lambda value: value == 0.5,
    )
    steps: tuple[ScalingStep, ...] = Field(
        (), description="Instances to add at once far above the target.", exclude_if=is_empty
    )
    schedule: tuple[ScheduledRange, ...] = Field(
        (), description="Ranges of instances by the clock.", exclude_if=is_empty
    )
    scale_in_cooldown: int = Field(300, ge=0, le=3600, description="Seconds between two removals of instances.")
    scale_out_cooldown: int = Field(60, ge=0, le=3600, description="Seconds between two additions of instances.")


class RolloutAlarms(Frozen):
    """What rolls an update back. Minutes with fewer than `min_requests` requests are not judged."""

    latency_p95_ms: float | None = Field(
        None,
        gt=0,
        description="Model latency, 95th percentile of a minute. Left out: ten times what the build measured, and at "
        "least 500.",
        exclude_if=is_none,
    )
    errors_5xx_percent: float = Field(
        5,
        gt=0,
        le=100,
        description="Requests of a minute that end in a server error; of an `async` endpoint, that fail.",
    )
    model_errors_percent: float = Field(
        20, gt=0, le=100, description="Requests of a minute that the container did not answer with 2xx."
    )
    min_requests: int = Field(10, ge=1, le=100000, description="Fewest requests of a minute that are judged.")


RolloutWord = Literal["all-at-once", "canary", "linear", "rolling"]


class Rollout(Frozen):
    """How an update reaches the traffic, and what rolls it back."""

    type: RolloutWord = Field("all-at-once", description="All at once, a part first, in equal steps, or in batches.")
    size_percent: int | None = Field(
        None,
        ge=1,
        le=50,
        description="Of the instances: the canary, a step or a batch. Left out: 10 for a canary, 25 otherwise.",
        exclude_if=is_none,
    )
    interval: Duration = Field("5m", description="How long each step is watched before the next.")
    bake: Duration | None = Field(
        None, description="How long the old instances stay after the last step. Not for `rolling`.", exclude_if=is_none
    )
    alarms: RolloutAlarms = Field(default_factory=RolloutAlarms, description="What rolls an update back.")

    @property
    def percent(self) -> int:
        """Of the instances that a part has."""
        return self.size_percent or (10 if self.type == "canary" else 25)

    @property
    def waiting_seconds(self) -> int:
        """How long it waits in all; the start of instances is not counted."""
        parts = {"all-at-once": 1, "canary": 2}.get(self.type) or -(-100 // self.percent)
        return parts * seconds(self.interval) + (seconds(self.bake) if self.bake else 0)


def _rollout(word: RolloutWord) -> Rollout:
    return Rollout(type=word)


if TYPE_CHECKING:
    RolledOut = Rollout
else:  # the word is turned into the keys, so the code sees these alone
    RolledOut = Annotated[
        Annotated[RolloutWord, AfterValidator(_rollout), Tag(FORMS[0])] | Annotated[Rollout, Tag(FORMS[1])],
        Discriminator(form),
    ]


class Capture(Frozen):
    """Data capture: requests and answers, copied to S3."""

    percent: int = Field(ge=1, le=100, description="Of the requests.")
    keep_days: int = Field(30, ge=1, le=3650, description="Days after which S3 removes them.")


def _folder(value: str) -> str:
    # In the role's policy: neither wildcards nor variables of IAM.
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([\w!.()'=-]+/)*", value):
        raise ValueError(f"'{value}' is not a folder in S3 that ends with a slash, s3://BUCKET/FOLDER/")
    return value


Folder = Annotated[str, AfterValidator(_folder), Field(examples=["s3://my-texts/incoming/"])]


class Batch(Frozen):
    """Batch transform: the model's role may also do jobs of `slipway batch`, with data in S3."""

    inputs: tuple[Folder, ...] = Field(
        (),
        max_length=8,
        description="Folders that jobs may read, besides `batch/NAME/` in the stack's bucket.",
        exclude_if=is_empty,
    )
    outputs: tuple[Folder, ...] = Field(
        (),
        max_length=8,
        description="Folders that jobs may write to, besides `batch/NAME/` in the stack's bucket.",
        exclude_if=is_empty,
    )
    keep_days: int = Field(
        30, ge=1, le=3650, description="Days after which S3 removes what lies in `batch/NAME/` of the stack's bucket."
    )


class Network(Frozen):
    isolation: bool = Field(
        False,
        description="The container gets no network at all, not even to install packages: needs `wheels`, or an image "
        "that has them, `own` or one of yours.",
    )
    wheels: bool = Field(
        False,
        description="The artifact brings its packages along (`code/wheels`, some 50 MB more), for the Python of AWS's "
        "image, which installs them from there.",
        exclude_if=is_empty,
    )


class Traffic(Frozen):
    """The requests that are expected. It decides nothing but the expected cost."""

    requests_per_minute: float = Field(ge=0, description="In an average minute of the month.")
    seconds: float | None = Field(
        None,
        gt=0,
        le=60,
        description="That a request is worked on, which is what a serverless endpoint is paid by.",
        exclude_if=is_none,
    )


class Budget(Frozen):
    """A limit on the money. A model that costs more is not deployed, nor one of which that is unknown."""

    monthly_usd: float = Field(
        gt=0,
        description="Most USD a month: of the expected cost where `traffic` is given, else of the dearest case.",
    )


VariantName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,62}$")]


class Deploy(Frozen):
    """How the model is hosted. One per environment, after the spec's overlay was applied."""

    endpoint: Literal["realtime", "serverless", "async"] = Field("realtime", description="Kind of SageMaker endpoint.")
    instance: InstanceType = Field(
        "ml.c7i.large",
        description="SageMaker instance type. It also implies the instruction set that quantization assumes.",
    )
    instances: InstanceRange = Field(default_factory=InstanceRange, description="How many instances may run.")
    serverless: Serverless | None = Field(
        None, description="Of a `serverless` endpoint, in place of instances.", exclude_if=is_none
    )
    asynchronous: Asynchronous | None = Field(None, description="Of an `async` endpoint.", exclude_if=is_none)
    variants: dict[VariantName, Variant] = Field(
        default_factory=dict,
        max_length=4,
        description=f"Further production variants by name, beside the main one, `{MAIN_VARIANT}`, whose weight is 1.",
        exclude_if=is_empty,
    )
    shadow: Shadow | None = Field(None, description="A variant that gets copies of requests.", exclude_if=is_none)
    autoscaling: Autoscaling = Field(default_factory=Autoscaling, description="When instances are added and removed.")
    rollout: RolledOut | None = Field(
        None,
        description="How an update reaches the traffic: a word, or keys. It brings alarms and automatic rollback. Left "
        "out: `all-at-once` on AWS, and no alarms on `local`.",
        exclude_if=is_none,
    )
    capture: Capture | None = Field(None, description="Copies requests and answers to S3.", exclude_if=is_none)
    batch: Batch | None = Field(
        None, description="Lets the model do batch transform jobs; `{}` is enough.", exclude_if=is_none
    )
    network: Network | None = Field(None, description="What the container may reach.", exclude_if=is_none)
    image: Image = Field(
        "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04",
        description="Inference image: `repository:tag` of AWS's own registry in the stack's region, a whole image "
        "URI, or `own`: the slim image of this server, from the stack's repository (`slipway image push`).",
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables of the container. Not for secrets: they end in the manifest.",
    )
    traffic: Traffic | None = Field(None, description="The requests that are expected.", exclude_if=is_none)
    budget: Budget | None = Field(None, description="What the model may cost.", exclude_if=is_none)
    mirrors: tuple[Mirror, ...] = Field(
        (),
        max_length=8,
        description="Stores that the artifact is copied to before it is deployed: `oss://BUCKET/PREFIX?region=REGION`, "
        "`s3://BUCKET/PREFIX`, `file:///FOLDER`.",
        exclude_if=is_empty,
    )

    @property
    def isolated(self) -> bool:
        return self.network is not None and self.network.isolation

    @property
    def wheels(self) -> bool:
        """Whether the artifact brings the packages of its code along."""
        return self.network is not None and self.network.wheels

    @property
    def metric(self) -> MetricWord | CustomMetric:
        """What autoscaling holds at its target."""
        default: MetricWord = "backlog" if self.endpoint == "async" else "invocations"
        return self.autoscaling.metric or default
