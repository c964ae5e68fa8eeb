"""The status page under `/_slipway/`: one HTML page, the document that it draws, and a stream of that document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from localcloud.asgi import Request, Response, StreamResponse, json_response
from localcloud.status import Status

_PAGE = Path(__file__).with_name("page.html")
_UNCACHED = {"cache-control": "no-store"}
# Nothing of another origin can be loaded, nor can the page be framed by one.
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'",
    **_UNCACHED,
}
STEP_SECONDS = 0.5
_LOGS = "/_slipway/logs/"


class StatusPage:
    """Handler of `/_slipway/…`. `ending` tells whether the server is about to stop: streams end then."""

    def __init__(self, health: dict[str, Any], status: Status, ending: Callable[[], bool]) -> None:
        self._health = health
        self._status = status
        self._ending = ending

    async def __call__(self, request: Request) -> Response | StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"message": "only GET"}, {"allow": "GET"})
        match request.path:
            case "/_slipway":
                return Response(308, headers={"location": "/_slipway/"})
            case "/_slipway/":
                return Response(200, _PAGE.read_bytes(), _HEADERS)
            case "/_slipway/health":
                return json_response(200, {"status": "ok", **self._health}, _UNCACHED)
            case "/_slipway/status":
                return json_response(200, self._status.document(), _UNCACHED)
            case "/_slipway/events":
                return StreamResponse(200, self._events(), {"content-type": "text/event-stream", **_UNCACHED})
            case path if path.startswith(_LOGS):
                return self._log(path.removeprefix(_LOGS))
            case _:
                known = "/_slipway/, /_slipway/status, /_slipway/events, /_slipway/health and /_slipway/logs/REPLICA"
                return json_response(404, {"message": f"there are {known}"})

    async def _events(self) -> AsyncGenerator[bytes, None]:
        """The document as server-sent events, twice a second."""
        yield b"retry: 1000\n\n"
        while not self._ending():
            yield b"data: " + json.dumps(self._status.document(), separators=(",", ":")).encode() + b"\n\n"
            await asyncio.sleep(STEP_SECONDS)

    def _log(self, replica: str) -> Response:
        text = self._status.log_of(replica)
        if text is None:
            return json_response(404, {"message": f"there is no replica {replica}"})
        return Response(200, text.encode(), {"content-type": "text/plain; charset=utf-8", **_UNCACHED})
