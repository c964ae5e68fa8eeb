"""Transform jobs on paper: what a request asks for, how files become requests, answers outputs, what filters choose."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from typing import Any

import pytest

from localcloud.errors import AwsError
from localcloud.sagemaker import transform_data, transform_request
from localcloud.sagemaker.transform_data import MEGABYTE, DataError
from localcloud.sagemaker.transform_filters import Path, PathError, Processing, RecordError

RECORD = {"id": 7, "text": {"inputs": "goal", "of": [1, 2, 3]}, "a b": None}


@pytest.mark.parametrize(
    ("path", "chosen"),
    [
        ("$", RECORD),
        ("$.id", 7),
        ("$.text.inputs", "goal"),
        ("$['a b']", None),
        ("$['id','text'].id", 7),
        ("$['id', 'a b']", {"id": 7, "a b": None}),
        ("$.text.of[0]", 1),
        ("$.text.of[-1]", 3),
        ("$.text.of[1:]", [2, 3]),
        ("$.text.of[:-1]", [1, 2]),
        ("$.text.of[0,-1]", [1, 3]),
        ("$.text.of[0, 1:]", [1, 2, 3]),
    ],
)
def test_a_path_chooses_what_aws_documents(path: str, chosen: Any) -> None:
    assert Path.parse(path).select(RECORD) == chosen


@pytest.mark.parametrize("path", ["id", "$.*", "$[*]", "$..id", "$.", "$[id]", "$['id'", "$[]", "$[?(@.id)]"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(PathError, match=r"known: |begins with"):
        Path.parse(path)


@pytest.mark.parametrize("path", ["$.none", "$[0]", "$.text.of[3]", "$.text.of.id", "$['id','none']", "$.id[1:]"])
def test_a_record_that_has_nothing_there_is_told(path: str) -> None:
    with pytest.raises(RecordError, match="nothing at"):
        Path.parse(path).select(RECORD)


def test_an_answer_is_joined_as_an_attribute_and_a_record_that_is_no_object_too() -> None:
    joined = Processing.parse({"JoinSource": "Input"})
    rows = joined.kept([b'{"id": 1}', b"[1,2]"], b'"yes"\n"no"').splitlines()
    assert [json.loads(row) for row in rows] == [
        {"id": 1, "SageMakerOutput": "yes"},
        {"SageMakerInput": [1, 2], "SageMakerOutput": "no"},
    ]


def test_an_answer_with_other_lines_than_there_were_records_cannot_be_joined() -> None:
    with pytest.raises(RecordError, match="answered 1 lines to 2 records"):
        Processing.parse({"JoinSource": "Input"}).kept([b"1", b"2"], b"1")


def test_without_filters_answers_are_kept_as_they_came() -> None:
    plain = Processing.parse({"InputFilter": "$", "OutputFilter": "", "JoinSource": "None"})
    assert not plain.active
    assert plain.sent(b"\xff") == b"\xff" and plain.kept([b"a", b"b"], b"\x00") == b"\x00"


def test_lines_in_whatever_batches_come_back_whole_and_in_order() -> None:
    chance = random.Random(8)
    for _ in range(300):
        lines = [bytes(chance.choices(b"abc\xc3\xa9 ", k=chance.randint(1, 9))) for _ in range(chance.randint(0, 30))]
        end = chance.choice([b"\n", b"\r\n"])
        content = end.join(lines) + chance.choice([b"", end, end * 3])
        found = transform_data.records(content, by_line=True)
        assert found == [line for line in lines if line.strip()]
        limit, together = chance.randint(10, 40), chance.random() < 0.7
        batches = list(transform_data.batches(found, together, limit))
        assert [record for batch in batches for record in batch.records] == found
        assert [batch.first for batch in batches] == [
            1 + sum(len(earlier.records) for earlier in batches[:position]) for position in range(len(batches))
        ]
        for batch, following in itertools.pairwise(batches):
            size = len(transform_data.payload(batch.records))
            assert size <= limit
            # As many as fit: the next record would not have.
            assert not together or size + 1 + len(following.records[0]) > limit
        assert together or all(len(batch.records) == 1 for batch in batches)
        answers = [transform_data.payload(batch.records) for batch in batches]
        assert transform_data.assembled(answers, by_line=True) == b"".join(record + b"\n" for record in found)


def test_a_file_that_is_not_split_is_one_record_even_when_it_is_empty() -> None:
    assert transform_data.records(b"a\nb", by_line=False) == [b"a\nb"]
    assert transform_data.records(b"", by_line=False) == [b""]
    assert transform_data.assembled([b"\x00", b"\n"], by_line=False) == b"\x00\n"


def test_a_record_above_the_payload_is_told_with_its_number() -> None:
    with pytest.raises(DataError, match=r"record 2 has 1,048,577 bytes, more than MaxPayloadInMB allows \(1\)"):
        list(transform_data.batches([b"a", b"b" * (MEGABYTE + 1)], True, MEGABYTE))


def test_compressed_inputs_are_read_and_damaged_ones_told() -> None:
    packed = gzip.compress(b"one\ntwo")
    assert transform_data.decompressed(packed) == b"one\ntwo"
    for damaged in (b"one", packed[:-4], packed[:-1] + b"x"):
        with pytest.raises(DataError, match="not whole gzip"):
            transform_data.decompressed(damaged)


@pytest.mark.parametrize(
    ("prefix", "key", "output"),
    [
        ("in/", "in/a.jsonl", "to/a.jsonl.out"),
        ("in/", "in/deep/a.jsonl", "to/deep/a.jsonl.out"),
        ("in/a.jsonl", "in/a.jsonl", "to/a.jsonl.out"),
        ("in/a", "in/abc.png", "to/abc.png.out"),
        ("", "a.png", "to/a.png.out"),
    ],
)
def test_outputs_have_the_names_of_their_inputs(prefix: str, key: str, output: str) -> None:
    assert transform_data.output_key("to/", transform_data.base_of(prefix), key) == output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON array"),
        (b'["a"]', "does not begin"),
        (b'[{"prefix": "a/"}, "b"]', "does not begin"),
        (b'[{"prefix": "s3://a/"}]', "names no file"),
        (b'[{"prefix": "s3://a/"}, {"source": 1}]', "names are strings"),
    ],
)
def test_a_manifest_that_is_none_is_told(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        transform_data.manifest(content)
    assert transform_data.manifest(b'[{"prefix": "s3://a/b/"}, "c", "d/e"]') == ("s3://a/b/", ["c", "d/e"])


def request(**more: Any) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in/"} | more.pop("Data", {})}
    return {
        "TransformJobName": "job",
        "ModelName": "model",
        "TransformInput": {"DataSource": source, **more.pop("Input", {})},
        "TransformOutput": {"S3OutputPath": "s3://data/out", **more.pop("Output", {})},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
        **more,
    }


def test_what_is_left_out_has_the_defaults_of_the_api() -> None:
    plan = transform_request.read(request())
    assert (plan.concurrency, plan.payload, plan.timeout, plan.retries) == (1, 6 * MEGABYTE, 600, 3)
    assert (plan.together, plan.by_line, plan.assemble_lines, plan.gzipped) == (False, False, False, False)
    assert (plan.bucket, plan.folder, plan.instances, plan.headers) == ("data", "out/", 2, {})
    assert plan.environment == {"SAGEMAKER_BATCH": "true"}


def test_the_container_is_told_what_the_caller_said() -> None:
    plan = transform_request.read(
        request(
            MaxPayloadInMB=10,
            MaxConcurrentTransforms=4,
            BatchStrategy="MultiRecord",
            Environment={"MODE": "x"},
            Input={"SplitType": "Line", "ContentType": "application/jsonlines"},
            Output={"Accept": "application/json", "AssembleWith": "Line"},
        )
    )
    assert plan.environment == {
        "MODE": "x",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "10",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "4",
    }
    assert plan.headers == {"content-type": "application/jsonlines", "accept": "application/json"}
    assert plan.together and plan.by_line and plan.assemble_lines


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"MaxPayloadInMB": 30, "MaxConcurrentTransforms": 4}, "must not be above 100 MB"),
        ({"MaxPayloadInMB": 0}, "MaxPayloadInMB 0"),
        ({"Input": {"SplitType": "RecordIO"}}, "not as RecordIO"),
        ({"Input": {"SplitType": "TFRecord"}}, "not as TFRecord"),
        ({"Data": {"S3DataType": "AugmentedManifestFile"}}, "not AugmentedManifestFile"),
        ({"Data": {"S3Uri": "https://data/in"}}, "not an S3 address"),
        ({"Data": {"S3DataType": "ManifestFile", "S3Uri": "s3://data"}}, "not an S3 address"),
        ({"Output": {"S3OutputPath": "https://data/out"}}, "not an S3 address"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://x"}}, "does not emulate DataCaptureConfig"),
        ({"DataProcessing": {"JoinSource": "Input"}, "Input": {"ContentType": "text/csv"}}, "not of 'text/csv'"),
        ({"DataProcessing": {"InputFilter": "$.*"}}, "not understood"),
    ],
)
def test_what_aws_refuses_or_is_not_emulated_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(AwsError, match=said):
        transform_request.read(request(**more))
