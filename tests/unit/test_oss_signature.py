"""The signature that `oss_server.py` judges by, held to values that Alibaba Cloud has published."""

from __future__ import annotations

import hashlib

import oss_signature
import pytest
from oss_server import crc64

QUERY = "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2="
HEADERS = {
    "x-oss-head1": "value",
    "abc": "value",
    "ZAbc": "value",
    "XYZ": "value",
    "content-type": "text/plain",
    "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
}


def test_the_canonical_request_is_the_documentations() -> None:
    """Of examplebucket/exampleobject, with the SHA-256 that the page gives for it."""
    headers = {
        "content-disposition": "attachment",
        "content-length": "3",
        "content-md5": "ICy5YqxZB1uWSwcVLSNLcA==",
        "content-type": "text/plain",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "x-oss-date": "20250411T064124Z",
    }
    canonical = oss_signature.canonical_request(
        "PUT", "examplebucket", "exampleobject", "", headers, ["content-disposition", "content-length"]
    )
    found = hashlib.sha256(canonical.encode()).hexdigest()
    assert found == "c46d96390bdbc2d739ac9363293ae9d710b14e48081fcb22cd8ad54b63136eca"


@pytest.mark.parametrize(
    ("moment", "more", "additional", "expected"),
    [
        ("20231216T162057Z", {}, "", "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
        (
            "20231217T034736Z",
            {"x-oss-security-token": "token"},
            "",
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
        ),
        (
            "20231216T172512Z",
            {},
            "abc;zabc",
            "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
        ),
    ],
)
def test_signatures_are_those_that_alibabas_libraries_expect_of_themselves(
    moment: str, more: dict[str, str], additional: str, expected: str
) -> None:
    extra = f"AdditionalHeaders={additional}," if additional else ""
    given = oss_signature.parse(
        f"OSS4-HMAC-SHA256 Credential=ak/{moment[:8]}/cn-hangzhou/oss/aliyun_v4_request,{extra}Signature={expected}"
    )
    canonical = oss_signature.canonical_request(
        "PUT", "bucket", "1234+-/123/1.txt", QUERY, HEADERS | more | {"x-oss-date": moment}, given.additional
    )
    assert oss_signature.signature("sk", given, moment, canonical) == given.signature


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("OSS ak:abc", "the algorithm is 'OSS'"),
        ("OSS4-HMAC-SHA256 Signature=00", "the fields are"),
        ("OSS4-HMAC-SHA256 Credential=ak/20231216/cn/oss/aws4_request,Signature=00", "the credential is"),
        ("OSS4-HMAC-SHA256 Credential=ak/2023-12-16/cn/oss/aliyun_v4_request,Signature=00", "the credential is"),
        ("OSS4-HMAC-SHA256 Credential=ak/20231216/cn/oss/aliyun_v4_request,Signature=00", "64 hexadecimal"),
        ("OSS4-HMAC-SHA256 Credential=ak/20231216/cn/oss/aliyun_v4_request,AdditionalHeaders=,Signature=0", "fields"),
    ],
)
def test_other_headers_are_no_signature(header: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        oss_signature.parse(header)


def test_the_crc_is_ecmas() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA  # the check value of CRC-64/XZ in the catalogue of CRCs
