"""What a resource needs to be made real: one client per service, the default tags, and a way to stop waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from localcloud.provider.configuration import Configuration, missing_endpoint
from localcloud.provider.errors import Cancelled, ProviderError
from localcloud.provider.values import Values

CONNECTIONS = 64  # as many as the server has threads
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks at what is waited for


class Cloud:
    def __init__(self, configuration: Configuration, warn: Callable[[str], None] = lambda _message: None) -> None:
        """`warn` shows a message to the user, without failing anything."""
        self.warn = warn
        self.configuration = configuration
        self.region = configuration.region
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    @property
    def default_tags(self) -> Mapping[str, str]:
        return self.configuration.default_tags

    @property
    def partition(self) -> str:
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def dns_suffix(self) -> str:
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def iam(self) -> Any:
        return self.client("iam")

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @property
    def autoscaling(self) -> Any:
        return self.client("application-autoscaling")

    @property
    def cloudwatch(self) -> Any:
        return self.client("cloudwatch")

    @property
    def logs(self) -> Any:
        return self.client("logs")

    @property
    def sns(self) -> Any:
        return self.client("sns")

    @property
    def kms(self) -> Any:
        return self.client("kms")

    @property
    def ecr(self) -> Any:
        return self.client("ecr")

    @property
    def budgets(self) -> Any:
        return self.client("budgets")

    @cached_property
    def account(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def tags(self, inputs: Values) -> dict[str, str]:
        return {**self.default_tags, **(inputs.get("tags") or {})}

    def pauses(self, subject: str) -> Iterator[None]:
        """One turn for each look at something that takes a while. Raises Cancelled when the engine wants to stop."""
        pause = FIRST_PAUSE
        started = time.monotonic()
        while True:
            yield
            if self.cancelled.wait(pause):
                waited = time.monotonic() - started
                raise Cancelled(f"cancelled after {waited:.0f} s of waiting for {subject}; run `pulumi up` to go on")
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                if service not in self.configuration.endpoints:
                    raise ProviderError(missing_endpoint(service)[1])
                self._clients[service] = self._session.create_client(
                    service,
                    region_name=self.region,
                    endpoint_url=self.configuration.endpoints[service],
                    aws_access_key_id=self.configuration.access_key,
                    aws_secret_access_key=self.configuration.secret_key,
                    aws_session_token=self.configuration.token,
                    config=self._client_config,
                )
            return self._clients[service]

    @cached_property
    def _session(self) -> Any:
        from botocore.session import Session

        from localcloud.provider.validation import hold_to_the_model

        session = Session()
        hold_to_the_model(session)
        return session

    @cached_property
    def _client_config(self) -> Any:
        from botocore.config import Config

        return Config(
            proxies={},  # loopback is never behind a proxy of the environment
            max_pool_connections=CONNECTIONS,
            connect_timeout=5,
            read_timeout=120,
            retries={"mode": "standard", "max_attempts": 3},
            s3={"addressing_style": "path" if self.configuration.path_style else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
