"""The URL of a store, taken apart. The standard library alone: specs are checked with it, and `infra` reads it too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

FORMS = "s3://BUCKET/PREFIX, oss://BUCKET/PREFIX?region=REGION or file:///FOLDER"

# S3 also allows dots, which its certificate does not cover in a host name.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[\w.=@+-]+", re.ASCII)


@dataclass(frozen=True)
class Address:
    """`place` is a bucket, or a folder's path. `prefix` has no slash at either end. Not every URL names a region."""

    scheme: str
    place: str
    prefix: str = ""
    region: str | None = None

    def __str__(self) -> str:
        if self.scheme == "file":
            return Path(self.place).as_uri()
        return f"{self.scheme}://{self.place}" + (f"/{self.prefix}" if self.prefix else "")


def parse(url: str) -> Address:
    """Raises ValueError, saying what is wrong and without a full stop."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        path = unquote(parts.path)
        if parts.netloc or parts.query or parts.fragment or len(path) < 2:
            raise ValueError(f"'{url}' names no folder, as file:///FOLDER does")
        return Address("file", path)
    if parts.scheme not in ("s3", "oss"):
        raise ValueError(f"'{url}' names no store; give {FORMS}")
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"'{url}': '{parts.netloc}' is no bucket: 3 to 63 lower-case letters, digits and hyphens")
    prefix = parts.path.strip("/")
    if parts.fragment or not all(_SEGMENT.fullmatch(one) for one in prefix.split("/") if prefix):
        raise ValueError(f"'{url}': '{prefix}' is no prefix: letters, digits and _.=@+- between single slashes")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    region = query.pop("region", None)
    if query or (region is not None and not _REGION.fullmatch(region)):
        raise ValueError(f"'{url}': after the ? there is only region=REGION, for instance region=cn-hangzhou")
    return Address(parts.scheme, parts.netloc, prefix, region)
