"""What botocore lets pass and AWS would not: values that are none of an enumeration, too long, or of another form."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.session import Session

from localcloud.provider.validation import hold_to_the_model, problems_of


def problems(service: str, operation: str, **request: Any) -> list[str]:
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    return list(problems_of(request, model.operation_model(operation).input_shape, ""))


@pytest.mark.parametrize(
    ("service", "operation", "request_", "problem"),
    [
        ("iam", "CreateRole", {"RoleName": "a b"}, "RoleName is 'a b', which does not match [\\w+=,.@-]+"),
        ("iam", "CreateRole", {"RoleName": "x" * 65}, "RoleName is 65 characters, more than 64"),
        ("iam", "CreateRole", {"MaxSessionDuration": 99999}, "MaxSessionDuration is 99999, more than 43200"),
        (
            "budgets",
            "CreateBudget",
            {"Budget": {"TimeUnit": "WEEKLY"}},
            "Budget.TimeUnit is 'WEEKLY'; AWS knows DAILY, MONTHLY, QUARTERLY, ANNUALLY",
        ),
        (
            "cloudwatch",
            "PutMetricAlarm",
            {"AlarmActions": ["a"] * 2, "Dimensions": [{"Name": "n", "Value": "v" * 2000}]},
            "Dimensions[0].Value is 2000 characters, more than 1024",
        ),
        ("logs", "CreateLogGroup", {"tags": {"k": "v" * 300}}, "tags.k is 300 characters, more than 256"),
        ("logs", "CreateLogGroup", {"tags": {"k" * 129: "v"}}, "tags (key) is 129 characters, more than 128"),
    ],
)
def test_each_constraint_of_the_model_is_held(service: str, operation: str, request_: dict[str, Any], problem: str):
    found = problems(service, operation, **request_)
    assert any(one.startswith(problem) for one in found), found


def test_what_aws_takes_has_no_problems():
    assert problems("iam", "CreateRole", RoleName="a-b", Path="/x/", MaxSessionDuration=3600) == []
    assert problems("s3", "PutObject", Bucket="b", Key="k", Body=b"1", ServerSideEncryption="aws:kms") == []


def test_a_client_of_such_a_session_raises_before_it_sends():
    session = Session()
    hold_to_the_model(session)
    client = session.create_client(
        "iam", "us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with pytest.raises(ParamValidationError, match=r"CreateRole: RoleName is 'a b'.*; Description is 1001 characters"):
        client.create_role(RoleName="a b", AssumeRolePolicyDocument="{}", Description="x" * 1001)
