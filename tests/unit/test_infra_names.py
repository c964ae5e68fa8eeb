import re

import pytest

from infra import names

LONGEST_MODEL = "m" * names.MODEL_LIMIT
LONGEST_STACK = "s" * names.STACK_LIMIT


def test_the_longest_model_in_the_longest_stack_has_an_endpoint_name_that_sagemaker_takes():
    name = names.endpoint(LONGEST_MODEL, LONGEST_STACK)
    assert len(name) == names.ENDPOINT_LIMIT
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


@pytest.mark.parametrize("limit", [names.ENDPOINT_LIMIT, names.BUCKET_LIMIT, names.ROLE_LIMIT])
def test_a_stem_leaves_room_for_the_random_suffix(limit):
    stem = names.stem(LONGEST_MODEL, LONGEST_STACK, limit)
    assert len(stem) + names.SUFFIX <= limit


def test_a_cut_never_leaves_two_hyphens_before_the_suffix():
    assert names.stem("a" * 39, "b-c", 50) == "a" * 39 + "-b"


def test_two_models_never_share_a_stem():
    stems = {names.stem("m" * 39 + digit, LONGEST_STACK) for digit in "0123456789"}
    assert len(stems) == 10


def test_an_artifact_is_keyed_by_its_digest_under_its_model():
    assert names.artifact_key("reviews", "ab" * 32) == f"reviews/{'ab' * 32}.tar.gz"


def test_the_scalable_resource_names_the_one_variant():
    assert names.scalable_resource("reviews-dev") == "endpoint/reviews-dev/variant/AllTraffic"
