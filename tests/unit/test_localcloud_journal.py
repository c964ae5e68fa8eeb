"""The journal of what changes moto: what is kept, what is not, and how it is read again."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any

import pytest

from localcloud.errors import LocalCloudError
from localcloud.persistence.journal import INLINE_BYTES, Entry, Journal, without_deleted_buckets
from localcloud.persistence.recorder import Recorder, changes_state

SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=abc123"


def environ(service: str, method: str = "POST", path: str = "/", body: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_AUTHORIZATION": SIGNED.format(service),
        "wsgi.input": io.BytesIO(body),
        **more,
    }


@pytest.mark.parametrize(
    ("asked", "body", "kept"),
    [
        (environ("s3", "PUT", "/b/k"), b"", True),
        (environ("s3", "DELETE", "/b/k"), b"", True),
        (environ("s3", "GET", "/b/k"), b"", False),
        (environ("iam"), b"Action=CreateRole&RoleName=r", True),
        (environ("iam"), b"Version=2010-05-08&Action=GetRole&RoleName=r", False),
        (environ("sts"), b"Action=AssumeRole", False),
        (environ("sns"), b"Action=Publish&Message=hello", False),
        (environ("sns"), b"Action=Subscribe", True),
        (environ("kms", HTTP_X_AMZ_TARGET="TrentService.CreateKey"), b"{}", True),
        (environ("kms", HTTP_X_AMZ_TARGET="TrentService.Decrypt"), b"{}", False),
        (environ("monitoring", path="/service/GraniteServiceVersion20100801/operation/PutMetricAlarm"), b"", True),
        (environ("monitoring", path="/service/GraniteServiceVersion20100801/operation/PutMetricData"), b"", False),
        (environ("monitoring", path="/service/GraniteServiceVersion20100801/operation/DescribeAlarms"), b"", False),
    ],
)
def test_what_changes_state_is_kept_and_what_only_tells_is_not(asked: dict[str, Any], body: bytes, kept: bool) -> None:
    assert changes_state(asked, body) is kept


class Moto:
    """Notes what it is asked, and refuses what is told to be refused."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, bytes]] = []

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        body = environ["wsgi.input"].read()
        assert len(body) == int(environ["CONTENT_LENGTH"])
        self.done.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], body))
        start("404 Not Found" if "refused" in environ["PATH_INFO"] else "200 OK", [])
        return [b"answer"]


def ask(recorder: Recorder, *arguments: Any, **more: Any) -> bytes:
    return b"".join(recorder(environ(*arguments, **more), lambda *_: None))


def test_requests_that_succeeded_are_done_again_in_their_order_with_their_bodies(tmp_path: Path) -> None:
    long = bytes(range(256)) * (INLINE_BYTES // 256 + 1)
    recorder = Recorder(Moto(), Journal(tmp_path / "state"))
    assert ask(recorder, "s3", "PUT", "/b") == b"answer"
    ask(recorder, "s3", "PUT", "/b/long", long)
    ask(recorder, "s3", "PUT", "/refused/long", long[::-1])
    ask(recorder, "iam", body=b"Action=CreateRole", HTTP_X_AMZ_SECURITY_TOKEN="a secret")
    again = Moto()
    journal = Journal(tmp_path / "state")
    assert Recorder(again, journal).replay() == 3
    assert again.done == [("PUT", "/b", b""), ("PUT", "/b/long", long), ("POST", "/", b"Action=CreateRole")]
    text = journal.path.read_text()
    assert "a secret" not in text and "abc123" not in text
    assert [stat.S_IMODE(path.stat().st_mode) for path in (journal.directory, journal.path)] == [0o700, 0o600]
    assert len(list(journal.bodies.iterdir())) == 1, "bodies of refused requests are not kept"


def test_a_line_that_a_kill_cut_off_is_left_out_and_what_follows_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    recorder = Recorder(Moto(), journal)
    ask(recorder, "s3", "PUT", "/one")
    ask(recorder, "s3", "PUT", "/two")
    journal.path.write_bytes(journal.path.read_bytes()[:-10])
    later = Journal(tmp_path)
    assert [entry.environ["PATH_INFO"] for entry in later.entries()] == ["/one"]
    ask(Recorder(Moto(), later), "s3", "PUT", "/three")
    assert [entry.environ["PATH_INFO"] for entry in later.entries()] == ["/one", "/three"]


def test_what_concerned_a_bucket_that_is_gone_is_not_done_again_and_its_bodies_go(tmp_path: Path) -> None:
    long = b"x" * (INLINE_BYTES + 1)
    recorder = Recorder(Moto(), Journal(tmp_path))
    for method, path, query in (
        ("PUT", "/gone", ""),
        ("PUT", "/gone/long", ""),
        ("PUT", "/stays", ""),
        ("DELETE", "/gone/long", ""),
        ("DELETE", "/stays", "publicAccessBlock="),
        ("DELETE", "/gone", "x-id=DeleteBucket"),
        ("PUT", "/gone", ""),
    ):
        ask(recorder, "s3", method, path, long if path.endswith("long") else b"", QUERY_STRING=query)
    again = Moto()
    journal = Journal(tmp_path)
    assert Recorder(again, journal).replay() == 3
    assert [path for _, path, _ in again.done] == ["/stays", "/stays", "/gone"]
    assert list(journal.bodies.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        '{"format": 99}\n',
        '{"format": 1}\n{"moment": 1}\n',
        '{"format": 1}\nnonsense\n',
        '{"format": 1}\n{"moment": 1, "seed": 1, "environ": {}, "body": {"file": "../../etc/passwd"}}\n',
    ],
)
def test_a_journal_that_cannot_be_read_is_told_with_the_next_step(tmp_path: Path, line: str) -> None:
    journal = Journal(tmp_path)
    journal.path.write_text(line)
    with pytest.raises(LocalCloudError, match=r"journal\.jsonl:\d: the kept state cannot be read .*--fresh"):
        journal.entries()


def test_entries_without_a_bucket_stay() -> None:
    entries = [Entry(0, number, {}) for number in range(3)]
    assert without_deleted_buckets(entries, lambda _: ("", False)) == entries
