import pytest

from model_build.deployment import Deploy, Rollout
from model_build.hosting_rules import problems

GRAVITON = "pytorch-inference-graviton:2.4.0-cpu-py311-ubuntu22.04-sagemaker"
STOCK = "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04"
TWO = {"instances": {"min": 2, "max": 4}}


def found(settings):
    return {".".join(map(str, key)): message for key, message in problems(Deploy.model_validate(settings))}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        TWO | {"rollout": "canary"},
        TWO | {"rollout": {"type": "linear", "size_percent": 10, "interval": "40m"}},
        TWO | {"rollout": "rolling"},
        {"rollout": "all-at-once"},
        {"endpoint": "serverless", "serverless": {"provisioned_concurrency": 2}, "rollout": "all-at-once"},
        {"endpoint": "async", "instances": {"min": 0, "max": 3}, "asynchronous": {"notify": True}},
        {"autoscaling": {"metric": "concurrency", "target": "auto"}},
        {"autoscaling": {"metric": {"namespace": "A", "name": "b"}, "target": 3}},
        {"variants": {"B": {"weight": 0.1}}},
        {"network": {"isolation": True}, "image": "own"},
        {"network": {"isolation": True, "wheels": True}},
        {"instance": "ml.c7g.large", "image": "own"},
        {"instance": "ml.c7g.large", "image": GRAVITON, "network": {"wheels": True}},
        {"instance": "ml.c6g.large", "image": "own", "variants": {"B": {"weight": 1, "instance": "ml.c8g.large"}}},
        {"instance": "ml.c7g.large", "image": "1.dkr.ecr.x.amazonaws.com/mine:1"},  # whatever that is for
        {"shadow": {"share": 1, "instance": "ml.c7g.large", "image": "own"}},
        {"endpoint": "serverless", "instance": "ml.c7g.large"},
        {"shadow": {"share": 1}, "capture": {"percent": 100}},
        {"autoscaling": {"steps": [{"above": 0, "add": 1}, {"above": 5, "add": 2}]}},
    ],
)
def test_what_aws_takes_passes(settings):
    assert found(settings) == {}


@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ({"serverless": {}}, "serverless", "belongs to `endpoint: serverless`"),
        ({"asynchronous": {}}, "asynchronous", "belongs to `endpoint: async`"),
        ({"endpoint": "serverless", "instances": {"min": 1, "max": 2}}, "instances", "serverless.max_concurrency"),
        (
            {"endpoint": "serverless", "serverless": {"max_concurrency": 2, "provisioned_concurrency": 3}},
            "serverless.provisioned_concurrency",
            "above max_concurrency (2)",
        ),
        ({"endpoint": "async", "capture": {"percent": 1}}, "capture", "needs `endpoint: realtime`"),
        ({"endpoint": "serverless", "shadow": {"share": 1}}, "shadow", "needs `endpoint: realtime`"),
        ({"endpoint": "async", "variants": {"B": {"weight": 1}}}, "variants", "needs `endpoint: realtime`"),
        ({"endpoint": "serverless", "network": {"isolation": True}}, "network.isolation", "serverless"),
        ({"network": {"isolation": True}}, "network.isolation", "`network.wheels: true`, `image: own`"),
        ({"network": {"wheels": True}, "image": "own"}, "network.wheels", "is none of them"),
        ({"network": {"wheels": True}, "image": "sklearn:1.2-cpu"}, "network.wheels", "does not tell its Python"),
        ({"instance": "ml.c7g.large"}, "image", "is for Intel and AMD, and ml.c7g.large is Arm: give `image: own`"),
        ({"image": GRAVITON}, "image", "is for Arm, and ml.c7i.large is not"),
        ({"image": f"1.dkr.ecr.x.amazonaws.com/{GRAVITON}"}, "image", "is for Arm, and ml.c7i.large is not"),
        ({"instance": "ml.m7g.large", "image": "own"}, "instance", "no endpoints on ml.m7g; of Arm on c6g"),
        (
            {"variants": {"B": {"weight": 1, "instance": "ml.c7g.large"}}},
            "variants.B.instance",
            "ml.c7g.large and ml.c7i.large are not of one kind",
        ),
        (
            {"variants": {"B": {"weight": 1, "instance": "ml.t4g.large"}}, "instance": "ml.c7g.large", "image": "own"},
            "variants.B.instance",
            "no endpoints on ml.t4g",
        ),
        ({"shadow": {"share": 1, "instance": "ml.c7g.large"}}, "shadow.instance", "an image is for one"),
        (
            {"shadow": {"share": 1, "instance": "ml.c7g.large", "image": STOCK}},
            "shadow.image",
            "is for Intel and AMD",
        ),
        (
            {"shadow": {"share": 1, "instance": "ml.c7g.large", "image": GRAVITON}, "network": {"wheels": True}},
            "shadow.instance",
            "the wheels of network.wheels are of one kind",
        ),
        ({"shadow": {"share": 1}, "variants": {"B": {"weight": 1}}}, "shadow", "one production variant"),
        ({"autoscaling": {"metric": "backlog"}}, "autoscaling.metric", "only async endpoints"),
        ({"autoscaling": {"metric": "concurrency"}}, "autoscaling.target", "is required"),
        ({"endpoint": "async", "autoscaling": {"target": "auto"}}, "autoscaling.target", "give a number"),
        (
            {"autoscaling": {"steps": [{"above": 5, "add": 1}, {"above": 5, "add": 2}]}},
            "autoscaling.steps",
            "in order",
        ),
        (
            {"endpoint": "serverless", "autoscaling": {"schedule": [{"at": "2027-01-04", "min": 1}]}},
            "autoscaling.schedule",
            "no instances",
        ),
        (
            {"autoscaling": {"schedule": [{"at": "2027-01-04", "min": 0}]}},
            "autoscaling.schedule.0",
            "need `endpoint: async`",
        ),
        ({"rollout": {"size_percent": 10}}, "rollout.size_percent", "has no part"),
        (TWO | {"rollout": {"type": "rolling", "bake": "5m"}}, "rollout.bake", "give interval"),
        (TWO | {"rollout": {"interval": "90m"}}, "rollout.interval", "at most an hour"),
        (
            TWO | {"rollout": {"type": "linear", "size_percent": 10, "interval": "55m"}},
            "rollout.interval",
            "8 hours",
        ),
        (TWO | {"instance": "ml.inf1.xlarge", "rollout": "canary"}, "rollout", "all at once"),
    ],
)
def test_what_aws_would_refuse_or_never_do_is_found(settings, key, said):
    assert said in found(settings)[key]


def test_a_rollout_waits_once_for_each_part_and_then_bakes():
    assert Rollout(interval="2m").waiting_seconds == 120
    assert Rollout(type="canary", interval="2m", bake="1m").waiting_seconds == 300
    assert Rollout(type="linear", size_percent=30, interval="2m").waiting_seconds == 4 * 120
