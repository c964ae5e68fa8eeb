from datetime import date

import pytest

from model_build.capacity import Capacity, CapacityError, path_of, read_capacity

GOOD = Capacity(
    name="news",
    artifact="a" * 64,
    instance="ml.c7i.large",
    environment="staging",
    max_rps=41.5,
    concurrency=3.2,
    latency_p50_ms=12,
    latency_p95_ms=40,
    measured=date(2026, 11, 24),
)
ASKED = {"name": "news", "artifact": "a" * 64, "instance": "ml.c7i.large", "environment": "prod"}


def write(root, text):
    path = path_of("news", root)
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_what_is_written_is_read_again(tmp_path):
    write(tmp_path, GOOD.to_json())
    assert read_capacity(tmp_path, **ASKED) == GOOD


def test_the_target_is_a_safe_share_of_what_one_instance_bears():
    assert GOOD.target("invocations", 0.5) == 1245
    assert GOOD.target("concurrency", 0.5) == 1.6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"artifact": "b" * 64}, "another artifact (aaaaaaaaaaaa, and bbbbbbbbbbbb is built)"),
        ({"instance": "ml.c7i.xlarge"}, "on ml.c7i.large, and ml.c7i.xlarge is asked for"),
        ({"name": "fashion"}, "there is no capacity evidence"),
    ],
)
def test_evidence_of_something_else_is_refused_with_the_command_that_makes_it(tmp_path, changes, said):
    write(tmp_path, GOOD.to_json())
    with pytest.raises(CapacityError) as caught:
        read_capacity(tmp_path, **(ASKED | changes))
    assert said in str(caught.value)
    assert f"slipway loadtest {(ASKED | changes)['name']} --env ENV" in str(caught.value)


def test_what_this_machine_bears_says_nothing_of_aws(tmp_path):
    write(tmp_path, GOOD.model_copy(update={"environment": "local"}).to_json())
    assert read_capacity(tmp_path, **(ASKED | {"environment": "local"})).max_rps == 41.5
    with pytest.raises(CapacityError, match="on this machine"):
        read_capacity(tmp_path, **ASKED)


@pytest.mark.parametrize(
    "text", ["", "{}", GOOD.to_json().replace("41.5", "0"), GOOD.to_json().replace('"news"', '"fashion"')]
)
def test_a_file_that_is_no_evidence_of_this_model_is_refused(tmp_path, text):
    write(tmp_path, text)
    with pytest.raises(CapacityError, match=r"specs/capacity/news.json: is (no capacity evidence|of the model)"):
        read_capacity(tmp_path, **ASKED)
