import pytest

from infra.images import image_uri, partition, repository

TAG = "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04"
DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("region", "registry"),
    [
        ("us-east-1", "763104351884.dkr.ecr.us-east-1.amazonaws.com"),
        ("eu-central-1", "763104351884.dkr.ecr.eu-central-1.amazonaws.com"),
        ("af-south-1", "626614931356.dkr.ecr.af-south-1.amazonaws.com"),
        ("ap-east-1", "871362719292.dkr.ecr.ap-east-1.amazonaws.com"),
        ("me-south-1", "217643126080.dkr.ecr.me-south-1.amazonaws.com"),
        ("eu-south-1", "692866216735.dkr.ecr.eu-south-1.amazonaws.com"),
        ("cn-north-1", "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_a_repository_and_tag_become_the_image_of_aws_in_the_region(region, registry):
    assert image_uri(TAG, region) == f"{registry}/{TAG}"


@pytest.mark.parametrize(
    "uri",
    [
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/slim:1",
        f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/slim@{DIGEST}",
        "localhost:5000/slim:1",
        "quay.io/slim:1",
    ],
)
def test_a_whole_uri_is_passed_as_it_is(uri):
    assert image_uri(uri, "us-east-1") == uri


def test_a_repository_with_a_folder_is_still_a_repository():
    assert image_uri("team/slim:1", "us-east-1") == "763104351884.dkr.ecr.us-east-1.amazonaws.com/team/slim:1"


@pytest.mark.parametrize(
    ("region", "expected"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_a_region_tells_its_partition(region, expected):
    assert partition(region) == expected


@pytest.mark.parametrize("ending", ["", ":1", f"@{DIGEST}", f":1@{DIGEST}"])
def test_the_repository_of_an_image_is_its_uri_without_tag_and_digest(ending):
    found = repository(f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/slim{ending}")
    assert found == ("123456789012", "eu-west-1", "team/slim")


@pytest.mark.parametrize("uri", ["quay.io/slim:1", "localhost:5000/slim", "123.dkr.ecr.eu-west-1.amazonaws.com/slim"])
def test_an_image_outside_ecr_is_refused(uri):
    with pytest.raises(ValueError, match="SageMaker pulls from there alone"):
        repository(uri)
