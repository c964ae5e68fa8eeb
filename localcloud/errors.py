"""Errors of the local AWS: what its user can mend, and what its API answers as AWS would."""

from __future__ import annotations

from localcloud.asgi import Response, json_response


class LocalCloudError(Exception):
    """A mistake that the user can mend; the message is one line and ends with the next step."""


class AwsError(Exception):
    """An answer of an API other than success: AWS's error code, its message, its HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: str | int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields

    def response(self) -> Response:
        """The error as JSON, in the form that both JSON 1.1 and REST-JSON clients of AWS read.

        Both spellings of the message are there: the control plane says `message`, the runtime `Message`.
        """
        content = {"__type": self.code, "message": self.message, "Message": self.message, **self.fields}
        return json_response(self.status, content, {"x-amzn-errortype": self.code})


class ValidationException(AwsError):
    """What AWS answers to nearly everything that is wrong with a request of SageMaker's control plane."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class UnsupportedError(AwsError):
    """Valid on AWS, not emulated here; refused so that nothing is silently accepted."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__("UnsupportedOperation", message, status)
