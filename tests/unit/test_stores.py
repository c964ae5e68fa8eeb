"""One suite for every kind of store: a folder, S3 by moto, OSS by a server that judges signatures for itself."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import oss_server
import pytest
from store_services import BUCKET, SMALLEST_PART, calls, oss_here, s3_here, url_of

from stores import blobs
from stores.bucket import BucketStore, Outdated, in_order
from stores.opening import opened
from stores.oss import OssStore
from stores.s3 import S3Store
from stores.store import NoBucket, Store, StoreError

KINDS = ("file", "s3", "oss")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with url_of(request.param, tmp_path, monkeypatch) as url:
        yield in_small_parts(opened(url))


@pytest.fixture(params=KINDS[1:])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketStore]:
    """A store that sends in parts, one after the other."""
    with url_of(request.param, tmp_path, monkeypatch) as url:
        store = in_small_parts(opened(url))
        assert isinstance(store, BucketStore)
        yield replace(store, at_once=1)


@pytest.fixture
def oss(monkeypatch: pytest.MonkeyPatch) -> Iterator[oss_server.OssServer]:
    with oss_here(monkeypatch) as server:
        yield server


def in_small_parts(store: Store) -> Store:
    return replace(store, part_size=SMALLEST_PART[store.scheme]) if isinstance(store, BucketStore) else store


def a_file(tmp_path: Path, content: bytes = b"content") -> Path:
    path = tmp_path / "source"
    path.write_bytes(content)
    return path


def three_parts(store: BucketStore, tmp_path: Path, other: str = "") -> Path:
    """A file of two parts and a bit; another second part where `other` is given."""
    size = store.part_size
    return a_file(tmp_path, b"1" * size + (other or "2").encode() * size + b"3" * 17)


class Cut(Exception):
    """Stands for whatever ends a process."""


def cut_after(parts: int, store: BucketStore) -> Any:
    def moved(done: int, total: int) -> None:
        if done >= parts * store.part_size:
            raise Cut

    return moved


def test_what_was_put_comes_back(store: Store, tmp_path: Path) -> None:
    assert store.put("a/b.bin", a_file(tmp_path, b"some bytes"))
    assert store.get("a/b.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"some bytes"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "kept") == ["back", "source"]


def test_an_empty_file_is_a_file(store: Store, tmp_path: Path) -> None:
    assert store.put("nothing", a_file(tmp_path, b""))
    assert store.get("nothing", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_a_name_that_is_taken_stays_what_it_is(store: Store, tmp_path: Path) -> None:
    store.put("name", a_file(tmp_path, b"first"))
    assert not store.put("name", a_file(tmp_path, b"second"))
    store.get("name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"first"
    assert store.put("name", a_file(tmp_path, b"second"), replace=True)
    store.get("name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"second"


def test_what_is_not_there_is_none(store: Store, tmp_path: Path) -> None:
    assert store.stat("no") is None
    assert not store.get("no", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert list(store.list()) == []


def test_files_are_listed_by_the_beginning_of_their_names(store: Store, tmp_path: Path) -> None:
    for name in ("models/a/1", "models/a/2", "models/ab/3", "blobs/4 é+&.bin"):
        store.put(name, a_file(tmp_path, name.encode()))
    assert sorted(found.name for found in store.list("models/a/")) == ["models/a/1", "models/a/2"]
    assert sorted(found.name for found in store.list("models/a")) == ["models/a/1", "models/a/2", "models/ab/3"]
    (odd,) = store.list("blobs")
    assert (odd.name, odd.size) == ("blobs/4 é+&.bin", len("blobs/4 é+&.bin".encode()))
    assert store.stat(odd.name) == odd or replace(odd, modified=store.stat(odd.name).modified) == store.stat(odd.name)
    assert odd.modified.tzinfo is not None


def test_a_tag_changes_with_the_content(store: Store, tmp_path: Path) -> None:
    store.put("name", a_file(tmp_path, b"first"))
    before = store.stat("name")
    store.put("name", a_file(tmp_path, b"other"), replace=True)
    after = store.stat("name")
    assert before and after and before.tag != after.tag


def test_a_store_travels_to_other_processes(store: Store, tmp_path: Path) -> None:
    store.put("name", a_file(tmp_path))
    assert pickle.loads(pickle.dumps(store)).stat("name") == store.stat("name")


def test_a_large_file_moves_in_parts_and_tells_how_far_it_is(bucket: BucketStore, tmp_path: Path) -> None:
    source = three_parts(bucket, tmp_path)
    size = bucket.part_size
    for store in (bucket, replace(bucket, at_once=4)):
        told: list[tuple[int, int]] = []
        assert store.put(f"large-{store.at_once}", source, moved=lambda *said, told=told: told.append(said))
        assert told == [(size, 2 * size + 17), (2 * size, 2 * size + 17), (2 * size + 17, 2 * size + 17)]
        told.clear()
        assert store.get(f"large-{store.at_once}", tmp_path / "back", moved=lambda *said, told=told: told.append(said))
        assert [done for done, _ in told] == [size, 2 * size, 2 * size + 17]
        assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_upload_that_was_cut_off_is_gone_on_with(
    bucket: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = three_parts(bucket, tmp_path)
    with pytest.raises(Cut):
        bucket.put("large", source, moved=cut_after(2, bucket))
    assert bucket.stat("large") is None
    sent = calls(monkeypatch, bucket, "_send")
    assert bucket.put("large", source)
    assert [number for _, _, number, _ in sent] == [3]
    assert bucket.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert list(bucket._uploads(bucket._key("large"))) == []


def test_parts_of_another_content_are_sent_again(
    bucket: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cut):
        bucket.put("large", three_parts(bucket, tmp_path, other="x"), moved=cut_after(2, bucket))
    source = three_parts(bucket, tmp_path)
    sent = calls(monkeypatch, bucket, "_send")
    assert bucket.put("large", source)
    assert [number for _, _, number, _ in sent] == [2, 3]
    bucket.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_upload_of_a_longer_name_is_another_one(bucket: BucketStore, tmp_path: Path) -> None:
    with pytest.raises(Cut):
        bucket.put("large-too", three_parts(bucket, tmp_path, other="x"), moved=cut_after(1, bucket))
    assert bucket.put("large", three_parts(bucket, tmp_path))
    assert len(list(bucket._uploads(bucket._key("large-too")))) == 1


def test_a_name_that_is_taken_meanwhile_stays_and_the_upload_is_forgotten(bucket: BucketStore, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"first")

    def overtaken(done: int, total: int) -> None:
        bucket.put("large", first)

    assert not bucket.put("large", three_parts(bucket, tmp_path), moved=overtaken)
    found = bucket.stat("large")
    assert found and found.size == len(b"first")
    assert list(bucket._uploads(bucket._key("large"))) == []


def test_a_download_that_was_cut_off_is_gone_on_with(
    bucket: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = three_parts(bucket, tmp_path)
    bucket.put("large", source)
    target = tmp_path / "back"
    with pytest.raises(Cut):
        bucket.get("large", target, moved=cut_after(2, bucket))
    assert not target.exists()
    read = calls(monkeypatch, bucket, "_read")
    assert bucket.get("large", target)
    assert [start for _, start, _, _ in read] == [2 * bucket.part_size]
    assert target.read_bytes() == source.read_bytes()
    assert not list(tmp_path.glob(".back*"))


def test_what_came_of_another_content_is_not_gone_on_with(bucket: BucketStore, tmp_path: Path) -> None:
    bucket.put("large", three_parts(bucket, tmp_path, other="x"))
    target = tmp_path / "back"
    with pytest.raises(Cut):
        bucket.get("large", target, moved=cut_after(1, bucket))
    source = three_parts(bucket, tmp_path)
    bucket.put("large", source, replace=True)
    assert bucket.get("large", target)
    assert target.read_bytes() == source.read_bytes()


def test_a_file_that_changes_while_it_is_read_is_an_error(bucket: BucketStore, tmp_path: Path) -> None:
    bucket.put("large", three_parts(bucket, tmp_path))
    other = three_parts(bucket, tmp_path, other="x")

    def changed(done: int, total: int) -> None:
        bucket.put("large", other, replace=True)

    with pytest.raises(StoreError, match="large changed while it was read"):
        bucket.get("large", tmp_path / "back", moved=changed)
    assert not (tmp_path / "back").exists()


def test_a_bucket_that_is_not_there_is_told_from_other_errors(bucket: BucketStore, tmp_path: Path) -> None:
    nowhere = replace(bucket, bucket="nowhere")
    with pytest.raises(NoBucket, match=r"nowhere: .*NoSuchBucket"):
        nowhere.put("name", a_file(tmp_path))
    with pytest.raises(NoBucket):
        nowhere.put("large", three_parts(bucket, tmp_path))


def test_a_blob_is_named_by_its_digest_and_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"a blob")
    sha256 = blobs.digest(source)
    assert blobs.put(store, source, sha256)
    assert not blobs.put(store, source, sha256)
    assert [found.name for found in store.list("blobs/")] == [f"blobs/{sha256[:2]}/{sha256}"]
    blobs.get(store, sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"a blob"


def test_a_damaged_blob_does_not_come_back_and_one_in_part_is_mended(store: Store, tmp_path: Path) -> None:
    source = a_file(tmp_path, b"a blob")
    sha256 = blobs.digest(source)
    store.put(blobs.name(sha256), a_file(tmp_path, b"a blub"))
    with pytest.raises(StoreError, match="is damaged: its content has another digest"):
        blobs.get(store, sha256, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    store.put(blobs.name(sha256), a_file(tmp_path, b"a bl"), replace=True)
    assert blobs.put(store, a_file(tmp_path, b"a blob"), sha256)
    blobs.get(store, sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"a blob"


def test_a_blob_that_is_not_there_is_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"blobs/00/00.* is not there"):
        blobs.get(store, "00" * 32, tmp_path / "back")


@pytest.mark.parametrize("kind", ["file", "oss"])  # moto looks and writes without a lock
def test_of_several_that_put_one_name_at_once_one_does(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []
    for number in range(6):
        sources.append(tmp_path / str(number))
        sources[-1].write_bytes(bytes([number]) * 100)
    with url_of(kind, tmp_path, monkeypatch) as url, ThreadPoolExecutor(6) as pool:
        store = opened(url)
        done = list(pool.map(lambda source: store.put("name", source), sources))
        assert done.count(True) == 1
        store.get("name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == sources[done.index(True)].read_bytes()


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    store = opened((tmp_path / "kept").as_uri())
    with pytest.raises(StoreError):
        store.put("name", a_file(tmp_path))


def test_a_part_of_s3_is_known_by_its_checksum_and_without_one_by_its_etag(monkeypatch: pytest.MonkeyPatch) -> None:
    from stores.bucket import Part
    from stores.s3 import _sha256

    store = S3Store(BUCKET)
    encrypted = Part(1, "an etag that is no md5", _sha256(b"data"))
    assert store._holds(encrypted, b"data")
    assert not store._holds(encrypted, b"dada")
    assert store._holds(Part(1, "8d777f385d3dfec8815d20f7496026dc"), b"data")
    assert not store._holds(Part(1, "an etag that is no md5"), b"data")


def test_s3_takes_parts_with_the_checksum_that_it_is_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_here(monkeypatch):
        store = S3Store(BUCKET, part_size=SMALLEST_PART["s3"])
        sent: list[dict[str, Any]] = []
        store._client().meta.events.register(
            "provide-client-params.s3.*", lambda params, model, **_: sent.append({"operation": model.name, **params})
        )
        store.put("large", three_parts(store, tmp_path))
        store.put("small", a_file(tmp_path))
    asked = {one["operation"]: one for one in sent}
    assert asked["CreateMultipartUpload"]["ChecksumAlgorithm"] == "SHA256"
    assert asked["UploadPart"]["ChecksumSHA256"] and asked["PutObject"]["ChecksumSHA256"]
    completed = asked["CompleteMultipartUpload"]
    assert completed["IfNoneMatch"] == asked["PutObject"]["IfNoneMatch"] == "*"
    assert all(part["ChecksumSHA256"] for part in completed["MultipartUpload"]["Parts"])


class TestOss:
    """What is OSS's own."""

    def test_the_bucket_is_part_of_the_hosts_name_and_every_request_is_signed(
        self, oss: oss_server.OssServer, tmp_path: Path
    ) -> None:
        store = OssStore(BUCKET, part_size=oss_server.LEAST_PART)
        store.put("large", three_parts(store, tmp_path))
        store.put("small", a_file(tmp_path))
        store.get("large", tmp_path / "back")
        list(store.list())
        assert {one.host for one in oss.asked} == {f"{BUCKET}.oss-{oss_server.REGION}.aliyuncs.com"}
        assert all(one.headers["authorization"].startswith("OSS4-HMAC-SHA256 ") for one in oss.asked)
        assert {one.headers.get("x-oss-forbid-overwrite") for one in (*oss.sent("POST", "uploadId"),)} == {"true"}

    def test_without_an_endpoint_it_is_the_regions_own_by_tls(
        self, oss: oss_server.OssServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OSS_ENDPOINT")
        options = OssStore(BUCKET, region="eu-central-1")._client()._client._options
        assert options.endpoint.geturl() == "https://oss-eu-central-1.aliyuncs.com"

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("OSS_ACCESS_KEY_SECRET", "not-the-secret", "SignatureDoesNotMatch: The request signature we calculated"),
            ("OSS_ACCESS_KEY_ID", "nobody", "InvalidAccessKeyId"),
            ("OSS_REGION", "cn-beijing", "SignatureDoesNotMatch: Invalid signing region"),
            ("OSS_ACCESS_KEY_SECRET", None, "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET are not set"),
            ("OSS_REGION", None, r"end the URL in \?region=REGION, or set OSS_REGION"),
        ],
    )
    def test_who_may_not_is_told_why_and_no_secret_is_said(
        self,
        oss: oss_server.OssServer,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str | None,
        said: str,
    ) -> None:
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
        with pytest.raises(StoreError, match=said) as caught:
            OssStore(BUCKET).stat("name")
        assert "secret" not in str(caught.value).lower().replace("oss_access_key_secret", "")

    def test_what_changed_on_its_way_is_refused(self, oss: oss_server.OssServer, tmp_path: Path) -> None:
        store = OssStore(BUCKET, part_size=oss_server.LEAST_PART)
        source = three_parts(store, tmp_path)
        oss.before = lambda asked: replace(asked, body=asked.body[:-1] + b"!") if asked.method == "PUT" else None
        with pytest.raises(StoreError, match="InvalidDigest"):
            store.put("large", source)
        with pytest.raises(StoreError, match="InvalidDigest"):
            store.put("small", a_file(tmp_path))
        assert oss.buckets[BUCKET].objects == {}

    def test_a_server_that_is_busy_is_asked_again(
        self, oss: oss_server.OssServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("alibabacloud_oss_v2.retry.StandardRetryer.retry_delay", lambda *_: 0)
        busy = iter([True, True, False])

        def before(asked: oss_server.Asked) -> None:
            if next(busy, False):
                raise oss_server.OssError(503, "ServiceUnavailable", "Please reduce your request rate.")

        oss.before = before
        assert OssStore(BUCKET).put("name", a_file(tmp_path))

    def test_an_upload_that_another_completes_is_done(self, oss: oss_server.OssServer, tmp_path: Path) -> None:
        store = OssStore(BUCKET, part_size=oss_server.LEAST_PART, at_once=1)
        source = three_parts(store, tmp_path)

        def completed(done: int, total: int) -> None:
            held = oss.buckets[BUCKET]
            held.uploads.clear()
            held.objects["large"] = oss_server.Stored(source.read_bytes(), "OF-ANOTHER-3")

        assert not store.put("large", source, moved=completed)

    def test_an_upload_that_another_aborts_begins_anew(self, oss: oss_server.OssServer, tmp_path: Path) -> None:
        store = OssStore(BUCKET, part_size=oss_server.LEAST_PART, at_once=1)
        source = three_parts(store, tmp_path)
        aborted = iter([True])

        def moved(done: int, total: int) -> None:
            if next(aborted, False):
                oss.buckets[BUCKET].uploads.clear()

        assert store.put("large", source, moved=moved)
        assert oss.buckets[BUCKET].objects["large"].data == source.read_bytes()

    def test_where_versions_are_kept_a_name_that_is_taken_stays_too(
        self, oss: oss_server.OssServer, tmp_path: Path
    ) -> None:
        oss.buckets[BUCKET].versioned = True
        store = OssStore(BUCKET)
        assert store.put("name", a_file(tmp_path, b"first"))
        assert not store.put("name", a_file(tmp_path, b"second"))
        assert oss.buckets[BUCKET].objects["name"].data == b"first"

    def test_lists_come_page_by_page(self, oss: oss_server.OssServer, tmp_path: Path) -> None:
        oss.page = 2
        store = OssStore(BUCKET, "p", part_size=oss_server.LEAST_PART, at_once=1)
        for number in range(5):
            store.put(f"n/{number}", a_file(tmp_path))
        assert [found.name for found in store.list("n/")] == [f"n/{number}" for number in range(5)]
        source = a_file(tmp_path, b"x" * 5 * oss_server.LEAST_PART + b"y")
        with pytest.raises(Cut):
            store.put("large", source, moved=cut_after(5, store))
        for _ in range(3):
            store._begin("p/other")
        assert len(list(store._uploads("p/other"))) == 3
        (upload,) = store._uploads("p/large")
        assert sorted(store._parts("p/large", upload)) == [1, 2, 3, 4, 5]


def test_nothing_is_begun_after_an_error() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise Outdated("no more")
        return number

    with ThreadPoolExecutor(1) as pool, pytest.raises(Outdated):
        list(in_order(pool, work, range(100), 3))
    assert max(begun) < 6
