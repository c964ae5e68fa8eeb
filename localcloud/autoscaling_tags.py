"""Tags of Application Auto Scaling's scalable targets: the operations that moto lacks.

A client that manages scalable targets as resources reads their tags at every refresh.
"""

from __future__ import annotations

from localcloud import emulation, protocol
from localcloud.asgi import Request, Response, json_response
from localcloud.errors import AwsError

SERVICE = "application-autoscaling"
OPERATIONS = ("TagResource", "UntagResource", "ListTagsForResource")


class AutoscalingTags:
    """Handler of the three tag operations."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}

    async def __call__(self, request: Request) -> Response:
        operation = protocol.operation_name(request, SERVICE)
        content = protocol.parse_input(request, SERVICE, operation)
        arn = content["ResourceARN"]
        if not emulation.has_scalable_target(request.region, arn):
            self._tags.pop(arn, None)
            raise AwsError("ResourceNotFoundException", f"No scalable target has the ARN {arn}.")
        tags = self._tags.setdefault(arn, {})
        if operation == "TagResource":
            tags.update(content["Tags"])
        elif operation == "UntagResource":
            for key in content["TagKeys"]:
                tags.pop(key, None)
        answer = {"Tags": tags} if operation == "ListTagsForResource" else {}
        return json_response(200, answer, {"content-type": "application/x-amz-json-1.1"})
