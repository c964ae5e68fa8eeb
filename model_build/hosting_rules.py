"""What the keys of `deploy` must hold together: what AWS would refuse, or accept and then not do.

Apart from `deployment` because each finding names its key, and from `rules` because it looks at `deploy` alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_build.deployment import MAIN_VARIANT, SHADOW_VARIANT, CustomMetric, Deploy, seconds
from model_build.instances import HOSTED, family, image_is_arm, is_arm
from model_build.wheels import python_of
from model_build.yaml_tree import Key

LONGEST_ROLLOUT_SECONDS = 28_800
LONGEST_WAIT_SECONDS = 3_600
SIZES = {"canary": (1, 50), "linear": (10, 50), "rolling": (5, 50)}
"""Kind of rollout → the percentages of the instances that AWS allows a part to have."""

OWN_IMAGE = "own"
"""Our slim serving image, which installs nothing when it starts."""

Problem = tuple[Key, str]


def problems(deploy: Deploy) -> Iterator[Problem]:
    """Each as the key below `deploy` and a sentence."""
    yield from _kind(deploy)
    yield from _architecture(deploy)
    yield from _variants(deploy)
    yield from _scaling(deploy)
    yield from _rollout(deploy)


def _kind(deploy: Deploy) -> Iterator[Problem]:
    kind = deploy.endpoint
    if deploy.serverless and kind != "serverless":
        yield ("serverless",), f"belongs to `endpoint: serverless`; this endpoint is {kind}"
    if deploy.asynchronous and kind != "async":
        yield ("asynchronous",), f"belongs to `endpoint: async`; this endpoint is {kind}"
    if deploy.instances.min == 0 and kind != "async":
        yield (
            ("instances", "min"),
            f"0 instances need `endpoint: async`, whose requests wait for one; this endpoint is {kind}",
        )
    if kind == "serverless":
        given = deploy.serverless
        if given and (given.provisioned_concurrency or 0) > given.max_concurrency:
            yield (
                ("serverless", "provisioned_concurrency"),
                f"is above max_concurrency ({given.max_concurrency}), so that some workers never work",
            )
        if deploy.instances.max > 1:
            yield ("instances",), "a serverless endpoint has none; its size is serverless.max_concurrency"
    for key in ("capture", "shadow", "variants"):
        if kind != "realtime" and getattr(deploy, key):
            yield (key,), f"needs `endpoint: realtime`; AWS has it on no {kind} endpoint"
    if kind == "serverless" and deploy.isolated:
        yield ("network", "isolation"), "AWS has it on no serverless endpoint"
    elif deploy.isolated and is_stock(deploy.image) and not deploy.wheels:
        yield (
            ("network", "isolation"),
            f"AWS's image {deploy.image} installs code/requirements.txt when it starts, which isolation cuts off: give "
            "`network.wheels: true`, `image: own`, or an image of yours that has what it names",
        )
    if deploy.wheels:
        yield from _wheels(deploy)


def is_stock(image: str) -> bool:
    """Whether it is one of AWS's, which install code/requirements.txt when they start."""
    return "/" not in image and image != OWN_IMAGE


def _wheels(deploy: Deploy) -> Iterator[Problem]:
    at = ("network", "wheels")
    if not is_stock(deploy.image):
        yield (
            at,
            f"is for AWS's images, which install packages when they start; `image: {deploy.image}` is none of them",
        )
    elif python_of(deploy.image) is None:
        yield at, f"the tag of {deploy.image} does not tell its Python, as -py312- does"


def _architecture(deploy: Deploy) -> Iterator[Problem]:
    """What is of Arm runs nowhere else, and the other way round: an image, and the wheels that an artifact brings."""
    if deploy.endpoint == "serverless":
        return  # it has no instances, whatever is named
    asked: dict[Key, str] = {("instance",): deploy.instance}
    asked |= {("variants", name, "instance"): one.instance for name, one in deploy.variants.items() if one.instance}
    if deploy.shadow and deploy.shadow.instance:
        asked["shadow", "instance"] = deploy.shadow.instance
    for key, instance in asked.items():
        if is_arm(instance) and family(instance) not in HOSTED:
            yield key, f"SageMaker has no endpoints on ml.{family(instance)}; of Arm on {', '.join(HOSTED)}"
    arm = is_arm(deploy.instance)
    images: dict[Key, tuple[str, str]] = {("image",): (deploy.image, deploy.instance)}
    if deploy.shadow and deploy.shadow.image:
        images["shadow", "image"] = (deploy.shadow.image, deploy.shadow.instance or deploy.instance)
    for key, (image, instance) in images.items():
        if is_arm(instance) and is_stock(image) and not image_is_arm(image):
            yield (
                key,
                f"AWS's {image} is for Intel and AMD, and {instance} is Arm: give `image: own`, or one of AWS's whose "
                "name ends in -graviton or -arm64",
            )
        elif not is_arm(instance) and image_is_arm(image):
            yield key, f"{image} is for Arm, and {instance} is not: take an Arm instance, or another image"
    for key, instance in asked.items():
        if is_arm(instance) is not arm and not (key[0] == "shadow" and ("shadow", "image") in images):
            yield key, f"{instance} and {deploy.instance} are not of one kind, Arm or not, and an image is for one"
        elif is_arm(instance) is not arm and deploy.wheels:
            yield key, f"the wheels of network.wheels are of one kind, Arm or not, as {deploy.instance} is"


def _variants(deploy: Deploy) -> Iterator[Problem]:
    for name in deploy.variants:
        if name in (MAIN_VARIANT, SHADOW_VARIANT):
            yield ("variants", name), f"'{name}' is the name of the endpoint's own variant; choose another"
    if deploy.shadow and deploy.variants:
        yield ("shadow",), "AWS copies requests of one production variant; it cannot stand beside variants"


def _scaling(deploy: Deploy) -> Iterator[Problem]:
    scaling, metric = deploy.autoscaling, deploy.metric
    if deploy.endpoint == "serverless":
        for key in ("steps", "schedule"):
            if getattr(scaling, key):
                yield ("autoscaling", key), "a serverless endpoint has no instances to add or remove"
        return
    if deploy.endpoint == "async" and metric in ("invocations", "concurrency"):
        yield (
            ("autoscaling", "metric"),
            f"AWS publishes no {metric} of async endpoints, so nothing would ever scale: leave it out, for the backlog",
        )
    if deploy.endpoint == "realtime" and metric == "backlog":
        yield ("autoscaling", "metric"), "only async endpoints have a backlog"
    name = "a metric of CloudWatch" if isinstance(metric, CustomMetric) else f"`metric: {metric}`"
    if scaling.target == "auto" and metric not in ("invocations", "concurrency"):
        yield ("autoscaling", "target"), f"a load test says nothing of {name}: give a number"
    if scaling.target is None and metric not in ("invocations", "backlog"):
        yield ("autoscaling", "target"), f"is required with {name}"
    aboves = [step.above for step in scaling.steps]
    if aboves != sorted(set(aboves)):
        yield ("autoscaling", "steps"), "must be in order, each `above` larger than the one before"
    for index, action in enumerate(scaling.schedule):
        if deploy.endpoint != "async" and 0 in (action.min, action.max):
            yield ("autoscaling", "schedule", index), "0 instances need `endpoint: async`, whose requests wait for one"


def _rollout(deploy: Deploy) -> Iterator[Problem]:
    rollout = deploy.rollout
    if rollout is None:
        return
    kind = rollout.type
    if kind == "all-at-once":
        if rollout.size_percent is not None:
            yield ("rollout", "size_percent"), "all-at-once has no part; choose canary, linear or rolling"
    else:
        least, most = SIZES[kind]
        if rollout.size_percent is not None and not least <= rollout.size_percent <= most:
            yield ("rollout", "size_percent"), f"{kind} takes {least} to {most} percent"
        if deploy.endpoint == "serverless":
            yield ("rollout",), f"a {kind} rollout counts instances, which a serverless endpoint has none of"
        elif min(deploy.instances.min, *(one.instances for one in deploy.variants.values()), 1000) < 2:
            yield (
                ("rollout",),
                f"one instance cannot be updated in parts: {kind} needs instances.min of at least 2"
                + (", and 2 of each variant" if deploy.variants else ""),
            )
        if deploy.instance.startswith("ml.inf1."):
            yield ("rollout",), f"AWS updates {deploy.instance} all at once, whatever is asked for"
    if kind == "rolling":
        if deploy.variants:
            yield ("rollout",), "AWS's rolling updates are for endpoints of one variant"
        if rollout.bake is not None:
            yield ("rollout", "bake"), "a rolling update removes the old instances batch by batch; give interval"
    waits = {key: getattr(rollout, key) for key in ("interval", "bake") if getattr(rollout, key)}
    too_long = [key for key, value in waits.items() if seconds(value) > LONGEST_WAIT_SECONDS]
    for key in too_long:
        yield ("rollout", key), f"is {waits[key]}; AWS waits at most an hour"
    if not too_long and rollout.waiting_seconds >= LONGEST_ROLLOUT_SECONDS:
        yield ("rollout", "interval"), "the waits together exceed the 8 hours that AWS gives an update"
