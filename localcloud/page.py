"""The status page under `/_slipway/`: one HTML page that reads one JSON document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.asgi import Request, Response, json_response

_PAGE = Path(__file__).with_name("page.html")
# Nothing of another origin can be loaded, nor can the page be framed by one.
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class StatusPage:
    """Handler of `/_slipway/`, `/_slipway/status` and `/_slipway/health`."""

    def __init__(self, health: dict[str, Any], status: Callable[[], dict[str, Any]]) -> None:
        self._health = health
        self._status = status

    async def __call__(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"message": "only GET"}, {"allow": "GET"})
        match request.path:
            case "/_slipway":
                return Response(308, headers={"location": "/_slipway/"})
            case "/_slipway/":
                return Response(200, _PAGE.read_bytes(), _HEADERS)
            case "/_slipway/health":
                return json_response(200, {"status": "ok", **self._health}, {"cache-control": "no-store"})
            case "/_slipway/status":
                return json_response(200, self._status(), {"cache-control": "no-store"})
            case _:
                return json_response(404, {"message": "there are /_slipway/, /_slipway/status and /_slipway/health"})
