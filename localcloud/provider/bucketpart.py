"""What the parts of a bucket (policy, versioning, encryption, …) have in common: one put, one get, one delete.

Their id is the bucket's name; a bucket that is gone has taken them with it.
"""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import ClientError

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Property, Resource, text
from localcloud.provider.errors import code_of
from localcloud.provider.values import Values

NO_BUCKET = "NoSuchBucket"


def bucket_part(
    label: str,
    inputs: dict[str, Property],
    put: Callable[[Cloud, Values], object],
    get: Callable[[Cloud, str], Values],
    remove: Callable[[Cloud, str], object],
    absent: tuple[str, ...] = (),
    rejected: tuple[str, ...] = (),
) -> Resource:
    """`inputs` are those beside bucket and region; `absent` the error codes that say that there is no such part."""

    def create(cloud: Cloud, inputs: Values) -> str:
        put(cloud, inputs)
        return str(inputs["bucket"])

    def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
        try:
            return {"bucket": identifier, **get(cloud, identifier)}
        except ClientError as error:
            if code_of(error) in (NO_BUCKET, *absent):
                return None
            raise

    def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
        put(cloud, new)

    def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
        try:
            remove(cloud, identifier)
        except ClientError as error:
            if code_of(error) not in (NO_BUCKET, *absent):
                raise

    return Resource(
        label=label,
        service="s3",
        inputs={"bucket": text(required=True, force_new=True), "region": REGION, **inputs},
        rejected=rejected,
        outputs=(),
        import_id="the bucket's name",
        create=create,
        read=read,
        update=update,
        delete=delete,
    )
