"""The two ways in which serving fails: by the artifact (`ModelError`) and by the request (`RequestError`).

Apart, so that every module can raise them without importing the handler.
"""

from __future__ import annotations

from http import HTTPStatus

try:  # In AWS's toolkit only this base class carries a status to the client; everything else becomes a 500.
    from sagemaker_inference.errors import BaseInferenceToolkitError as _StatusError
except ImportError:

    class _StatusError(Exception):  # type: ignore[no-redef]
        """Stands in for the toolkit's class, with the same fields."""

        def __init__(self, status_code: int, message: str, phrase: str) -> None:
            self.status_code = status_code
            self.message = message
            self.phrase = phrase
            super().__init__(status_code, message, phrase)


class ServingError(_StatusError):  # type: ignore[misc]
    """An HTTP status and a message that is safe to send back."""

    status_code: int
    message: str

    def __init__(self, status: int, message: str) -> None:
        # The message is no reason phrase: TorchServe drops the worker when that is not Latin-1.
        super().__init__(status, message, HTTPStatus(status).phrase)

    def __str__(self) -> str:
        return self.message


class ModelError(ServingError):
    """The artifact cannot be served, or its model answers what cannot be; the message says which file and why."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


class RequestError(ServingError):
    """The client's mistake: status 400, 406, 413 or 415."""
