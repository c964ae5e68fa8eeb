"""From a URL to its store. A cloud's library is imported when its store is first used."""

from __future__ import annotations

from pathlib import Path

from stores.address import parse
from stores.folder import FolderStore
from stores.oss import OssStore
from stores.s3 import S3Store
from stores.store import Store


def opened(url: str) -> Store:
    """The store of a URL. Raises ValueError for one that is none; whether it can be reached shows when it is used."""
    address = parse(url)
    if address.scheme == "file":
        return FolderStore(Path(address.place))
    if address.scheme == "s3":
        return S3Store(address.place, address.prefix, address.region)
    return OssStore(address.place, address.prefix, address.region)
