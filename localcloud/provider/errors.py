"""What the provider says when it cannot go on: one message each, shown by the engine under the resource's name."""

from __future__ import annotations

from typing import Any


class ProviderError(Exception):
    """A plain failure: nothing was recorded, the engine keeps the state that it had."""


class InitializationFailed(Exception):
    """The resource exists and is recorded, but is not what was asked for; the next `up` updates it."""

    def __init__(self, reason: str, identifier: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.identifier = identifier


class Cancelled(ProviderError):
    """The engine asked to stop while something was waited for."""


def aws_error(action: str, error: Exception) -> ProviderError:
    """`action` is what was being done (`creating SageMaker Model (iris-1f2e3d4)`); `error` is botocore's."""
    response: dict[str, Any] = getattr(error, "response", {})
    if "Error" in response:
        details = response["Error"]
        return ProviderError(f"{action}: {details.get('Code', 'Unknown')}: {details.get('Message', '')}")
    return ProviderError(f"{action}: {error}")


def code_of(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
