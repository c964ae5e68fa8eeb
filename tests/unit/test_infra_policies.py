import json

from infra import policies
from infra.images import Repository


def execution(**grants):
    return policies.endpoint_execution(
        grants=policies.Grants(**grants),
        partition="aws",
        region="eu-west-1",
        account="123456789012",
        bucket_arn="arn:aws:s3:::slipway-dev-0a1b2c3",
        artifact_key="reviews/abc.tar.gz",
        image=Repository("763104351884", "eu-west-1", "team/slim"),
        log_group="/aws/sagemaker/Endpoints/reviews-dev",
    )


def statement(document, sid):
    return next(item for item in document["Statement"] if item.get("Sid") == sid)


def actions(item):
    return [item["Action"]] if isinstance(item["Action"], str) else item["Action"]


def resources(item):
    return [item["Resource"]] if isinstance(item["Resource"], str) else item["Resource"]


def test_a_role_reads_one_key_only():
    reading = [item for item in execution()["Statement"] if any(a.startswith("s3:") for a in actions(item))]
    assert [actions(item) for item in reading] == [["s3:GetObject"]]
    assert resources(reading[0]) == ["arn:aws:s3:::slipway-dev-0a1b2c3/reviews/abc.tar.gz"]


def test_a_role_pulls_from_its_own_repository_only():
    pulling = statement(execution(), "PullImage")
    assert resources(pulling) == ["arn:aws:ecr:eu-west-1:763104351884:repository/team/slim"]
    assert "ecr:PutImage" not in json.dumps(execution())


def test_a_role_writes_the_logs_of_its_own_endpoint_only():
    group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/reviews-dev"
    assert resources(statement(execution(), "WriteLogs")) == [group, f"{group}:*"]


def test_metrics_go_into_the_namespaces_of_sagemaker_only():
    metrics = statement(execution(), "WriteMetrics")
    assert metrics["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": ["/aws/sagemaker/Endpoints", "AWS/SageMaker"]}
    }


def test_every_resource_is_open_only_where_aws_knows_no_narrower_one():
    wide = {item["Sid"] for item in execution()["Statement"] if "*" in resources(item)}
    assert wide == {"LogInToRegistry", "WriteMetrics"}
    assert not [a for item in execution()["Statement"] for a in actions(item) if "*" in a]


def test_sagemaker_takes_the_role_for_this_account_only():
    trust = policies.assumed_by_sagemaker("aws-cn", "cn-north-1", "123456789012")["Statement"][0]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws-cn:sagemaker:cn-north-1:123456789012:*"},
    }


def test_a_bucket_refuses_plain_http_for_itself_and_its_objects():
    refusal = policies.tls_only("arn:aws:s3:::b")["Statement"][0]
    assert (refusal["Effect"], refusal["Principal"], refusal["Action"]) == ("Deny", "*", "s3:*")
    assert refusal["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_role_without_further_wishes_gets_nothing_more():
    sids = {item["Sid"] for item in execution()["Statement"]}
    assert sids == {"ReadArtifact", "PullImage", "LogInToRegistry", "WriteLogs", "WriteMetrics"}


def test_requests_are_read_and_answers_written_below_the_models_own_prefixes():
    document = execution(read_prefixes=("async/news/input/",), write_prefixes=("async/news/output/",))
    assert resources(statement(document, "ReadRequests")) == ["arn:aws:s3:::slipway-dev-0a1b2c3/async/news/input/*"]
    assert resources(statement(document, "WriteAnswers")) == ["arn:aws:s3:::slipway-dev-0a1b2c3/async/news/output/*"]


def test_the_key_is_used_through_s3_and_sns_and_lent_to_aws_alone():
    document = execution(key_arn="arn:aws:kms:eu-west-1:123456789012:key/k")
    assert statement(document, "UseKey")["Condition"] == {
        "StringEquals": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com", "sns.eu-west-1.amazonaws.com"]}
    }
    assert statement(document, "LendKeyToVolumes")["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    for sid in ("UseKey", "LendKeyToVolumes", "DescribeKey"):
        assert resources(statement(document, sid)) == ["arn:aws:kms:eu-west-1:123456789012:key/k"]


def test_in_a_network_only_describing_is_open_since_ec2_knows_no_narrower_resource():
    document = execution(subnets=("subnet-1",), security_groups=("sg-1",))
    wide = {item["Sid"] for item in document["Statement"] if "*" in resources(item)}
    assert wide == {"LogInToRegistry", "WriteMetrics", "LookAround"}
    assert all(action.startswith("ec2:Describe") for action in actions(statement(document, "LookAround")))
    assert resources(statement(document, "JoinNetwork"))[1:] == [
        "arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-1",
        "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1",
    ]


def test_a_shadows_image_may_be_pulled_too():
    document = execution(shadow_image=Repository("123456789012", "eu-west-1", "mine"))
    assert resources(statement(document, "PullImage"))[1] == "arn:aws:ecr:eu-west-1:123456789012:repository/mine"


def test_topics_are_told_by_name():
    assert resources(statement(execution(topic_arns=("arn:1", "arn:2")), "TellTopics")) == ["arn:1", "arn:2"]


def test_alarms_and_budgets_of_this_account_alone_publish_to_the_alarm_topic():
    allowed, refused = policies.alarm_topic("arn:t", "123456789012")["Statement"]
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_the_stacks_key_leaves_its_users_to_iam_and_lets_this_accounts_alarms_encrypt():
    iam, services = policies.stack_key("aws", "123456789012")["Statement"]
    assert iam["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert services["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_a_role_does_batch_jobs_where_the_spec_says_so_in_the_models_folder_and_those_it_names():
    assert not any("Batch" in item["Sid"] for item in execution()["Statement"])
    batch = policies.BatchGrant("reviews-dev", "batch/reviews/", ("s3://texts/new/",), ("s3://answers/",))
    document = execution(batch=batch)
    own = "arn:aws:s3:::slipway-dev-0a1b2c3"
    assert resources(statement(document, "ReadBatch")) == [f"{own}/batch/reviews/*", "arn:aws:s3:::texts/new/*"]
    assert resources(statement(document, "WriteBatch")) == [f"{own}/batch/reviews/*", "arn:aws:s3:::answers/*"]
    found = [item for item in document["Statement"] if actions(item) == ["s3:ListBucket"]]
    assert [(resources(item), item["Condition"]) for item in found] == [
        ([own], {"StringLike": {"s3:prefix": "batch/reviews/*"}}),
        (["arn:aws:s3:::texts"], {"StringLike": {"s3:prefix": "new/*"}}),
    ]
    group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/TransformJobs"
    assert resources(statement(document, "WriteBatchLogs")) == [f"{group}:log-stream:reviews-dev-*"]
    metrics = statement(document, "WriteMetrics")["Condition"]["StringEquals"]["cloudwatch:namespace"]
    assert "/aws/sagemaker/TransformJobs" in metrics
    assert len({item["Sid"] for item in document["Statement"]}) == len(document["Statement"])
