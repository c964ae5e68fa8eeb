"""moto's randomness and time, given from outside: a request that is done again makes the same identifiers and dates.

Apart because it reaches into moto. moto's own recorder replays requests too, but with new random numbers, so that role
ids, versions of objects and the ids of multipart uploads would no longer be those that its clients know.
"""

from __future__ import annotations

import datetime
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Given(threading.local):
    """What holds for the request that this thread does now."""

    random: random.Random | None = None
    moment: float | None = None


_given = _Given()


@contextmanager
def given(seed: int, moment: float) -> Iterator[None]:
    """In this thread, moto draws from `seed` and takes `moment` (seconds since the epoch) for now."""
    _given.random = random.Random(seed)  # noqa: S311 — identifiers, which must come out the same again
    _given.moment = moment
    try:
        yield
    finally:
        _given.random = _given.moment = None


class _System:
    """The module `os`, but for its random bytes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def urandom(size: int) -> bytes:
        return _given.random.randbytes(size) if _given.random else os.urandom(size)


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.datetime.fromtimestamp(time.time() if _given.moment is None else _given.moment, tz)


class _Dates:
    """The module `datetime`, but for what is now."""

    datetime = _Datetime

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


def install() -> None:
    """Makes moto take both from here. Once in a process; doing it again changes nothing."""
    from moto.core import utils
    from moto.kms import utils as kms
    from moto.moto_api._internal import mock_random
    from moto.s3 import models as s3

    dates: Any = utils
    if isinstance(dates.datetime, _Dates):
        return
    dates.datetime = _Dates()
    buckets: Any = s3
    buckets.datetime, buckets.os = _Dates(), _System()
    keys: Any = kms
    keys.os = _System()
    # On the object itself: moto's modules hold it by name, and all that it draws comes from these two methods.
    drawn: Any = mock_random
    own_random, own_bits = drawn.random, drawn.getrandbits
    drawn.random = lambda: (_given.random.random if _given.random else own_random)()
    drawn.getrandbits = lambda bits: (_given.random.getrandbits if _given.random else own_bits)(bits)
