from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud import protocol
from localcloud.asgi import Request
from localcloud.errors import AwsError

VARIANT = {"VariantName": "A", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.c7i.large"}


def request(body: Any, target: str = "SageMaker.CreateEndpoint") -> Request:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", "/", {"x-amz-target": target}, content)


def test_a_valid_request_is_its_input_without_nulls() -> None:
    content = {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{"Key": "a", "Value": ""}]}
    assert (
        protocol.parse_input(request({**content, "DeploymentConfig": None}), "sagemaker", "CreateEndpoint") == content
    )


@pytest.mark.parametrize(
    ("operation", "content", "message"),
    [
        (
            "CreateEndpoint",
            {"EndpointName": "e"},
            "1 validation error detected: Value null at 'endpointConfigName' failed to satisfy constraint: "
            "Member must not be null",
        ),
        (
            "CreateEndpoint",
            {"EndpointName": "a_b", "EndpointConfigName": "c"},
            "1 validation error detected: Value 'a_b' at 'endpointName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [{**VARIANT, "InitialInstanceCount": 0}]},
            "1 validation error detected: Value 0 at 'productionVariants.1.member.initialInstanceCount' failed to "
            "satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [{**VARIANT, "InitialInstanceCount": True}]},
            "1 validation error detected: Value true at 'productionVariants.1.member.initialInstanceCount' failed to "
            "satisfy constraint: Member must be of type integer",
        ),
    ],
)
def test_a_broken_constraint_is_told_in_awss_words(operation: str, content: Any, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        protocol.parse_input(request(content), "sagemaker", operation)
    assert (caught.value.code, caught.value.message) == ("ValidationException", message)


def test_every_problem_of_a_request_is_told_at_once() -> None:
    content = {"EndpointName": "-", "EndpointConfigName": "c" * 64, "Colour": "red"}
    with pytest.raises(AwsError, match=r"^4 validation errors .*endpointName.*length.*63.*Unknown.*colour"):
        protocol.parse_input(request(content), "sagemaker", "CreateEndpoint")


def test_an_unknown_instance_type_names_the_closest_ones() -> None:
    content = {"EndpointConfigName": "c", "ProductionVariants": [{**VARIANT, "InstanceType": "ml.c7i.lrage"}]}
    with pytest.raises(AwsError, match=r"enum value set: \[.*ml\.c7i\.large.*in all\]") as caught:
        protocol.parse_input(request(content), "sagemaker", "CreateEndpointConfig")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_a_serialization_error(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        protocol.parse_input(request(body), "sagemaker", "CreateEndpoint")
    assert caught.value.code == "SerializationException"


def test_a_target_that_names_no_operation_of_the_service_is_unknown() -> None:
    assert protocol.operation_name(request({}), "sagemaker") == "CreateEndpoint"
    for target in ("", "SageMaker.Fly", "Other.CreateEndpoint", "CreateEndpoint"):
        with pytest.raises(AwsError) as caught:
            protocol.operation_name(request({}, target), "sagemaker")
        assert caught.value.code == "UnknownOperationException"
