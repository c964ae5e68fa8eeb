"""Where shared nodes lie, by URL: a folder, or a bucket of S3.

Apart from `model_build`, which knows what a store is but depends on no cloud's library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from model_build.errors import UserError
from model_build.shared_cache import FolderStore, Store, StoreError

SECONDS = 5
"""That a connection may take: a build does better without the cache than to wait for it."""
NONE_THERE = {"404", "NoSuchKey"}
_clients: dict[str, Any] = {}


def opened(url: str) -> Store:
    """The store of a URL. Raises UserError for one that is none; whether it can be reached shows when it is used."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and len(parts.path) > 1:
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and not parts.query:
        return S3Store(parts.netloc, parts.path.strip("/"))
    raise UserError(f"'{url}' names no shared cache", "give s3://BUCKET/PREFIX or file:///FOLDER")


@dataclass(frozen=True)
class S3Store:
    """A bucket, with the account, region and endpoint of the environment, as boto3 finds them."""

    bucket: str
    prefix: str

    def fetch(self, name: str, target: Path) -> bool:
        from botocore.exceptions import ClientError

        with self._told():
            try:
                self._client().download_file(self.bucket, self._key(name), str(target))
            except ClientError as error:
                if error.response["Error"]["Code"] in NONE_THERE:
                    return False
                raise
        return True

    def keep(self, name: str, source: Path) -> None:
        with self._told():
            self._client().upload_file(str(source), self.bucket, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @staticmethod
    def _client() -> Any:
        """One a process: a store itself travels between processes."""
        if "s3" not in _clients:
            import boto3
            from botocore.config import Config

            patience = Config(connect_timeout=SECONDS, read_timeout=60, retries={"total_max_attempts": 3})
            _clients["s3"] = boto3.client("s3", config=patience)
        return _clients["s3"]

    @contextmanager
    def _told(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise StoreError(f"s3://{self.bucket}: {str(error).splitlines()[0]}") from error
