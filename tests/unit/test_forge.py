"""Comments and issues on a forge's API, against a server of this test that behaves as the forges document it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from model_build.errors import UserError
from slipway.review import forge

MARKER = "<!-- slipway review of dev -->"
TOKEN = "not-a-real-token"


class Double:
    """GitHub's and GitLab's comments and issues, held in lists; both wire formats read the same ones."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.open_issues: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        double = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length", 0))
                content = json.loads(self.rfile.read(length) or "null")
                double.requests.append((self.command, parts.path))
                double.tokens.add(self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN") or "")
                page = int(parse_qs(parts.query).get("page", ["1"])[0])
                status, told = double.route(self.command, unquote(parts.path), page, content)
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def route(self, method: str, path: str, page: int, content: Any) -> tuple[int, Any]:
        if path == "/user":
            return 200, {"id": 7}
        if re.fullmatch(r"/repos/o/r/issues/5/comments|/projects/g/p/merge_requests/5/notes", path):
            if method == "GET":
                return 200, self.comments[(page - 1) * 100 : page * 100]
            return 201, self.written(self.comments, content["body"])
        if found := re.fullmatch(r"/repos/o/r/issues/comments/(\d+)|/projects/g/p/merge_requests/5/notes/(\d+)", path):
            return 200, self.edited(self.comments, int(found[1] or found[2]), content["body"])
        if path in ("/repos/o/r/issues", "/projects/g/p/issues"):
            if method == "GET":
                return 200, self.open_issues
            return 201, self.written(self.open_issues, content.get("body") or content["description"])
        if found := re.fullmatch(r"/(?:repos/o/r|projects/g/p)/issues/(\d+)", path):
            if content in ({"state": "closed"}, {"state_event": "close"}):
                self.open_issues[:] = [one for one in self.open_issues if one["number"] != int(found[1])]
                return 200, {}
            text = content.get("body") or content["description"]
            return 200, self.edited(self.open_issues, int(found[1]), text)
        return 404, {"message": "Not Found"}

    def written(self, into: list[dict[str, Any]], text: str, **more: Any) -> dict[str, Any]:
        number = len(into) + 1
        into.append(
            {
                "id": number, "number": number, "iid": number, "body": text, "description": text,
                "html_url": f"https://forge.example/{number}", "web_url": f"https://forge.example/{number}",
                "user": {"type": "Bot"}, "author": {"id": 7},
            }
            | more
        )  # fmt: skip
        return into[-1]

    def edited(self, within: list[dict[str, Any]], number: int, text: str) -> dict[str, Any]:
        one = next(one for one in within if one["id"] == number)
        one |= {"body": text, "description": text}
        return one


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    thread = threading.Thread(target=double.server.serve_forever, args=(0.02,))
    thread.start()
    yield double
    double.server.shutdown()
    double.server.server_close()
    thread.join()


@pytest.fixture(params=["github", "gitlab"])
def place(request: pytest.FixtureRequest, double: Double) -> forge.Forge:
    variables = {
        "github": {
            "GITHUB_API_URL": double.url,
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REF": "refs/pull/5/merge",
        },
        "gitlab": {
            "CI_API_V4_URL": double.url,
            "CI_PROJECT_ID": "g/p",
            "GITLAB_TOKEN": TOKEN,
            "CI_MERGE_REQUEST_IID": "5",
        },
    }[request.param]
    found, number = forge.of_environment(variables)
    assert number == 5
    return found


def test_the_first_comment_is_written_and_later_ones_edit_it_in_place(double: Double, place: forge.Forge) -> None:
    double.written(double.comments, "a person's comment")
    forge.upsert_comment(place, 5, MARKER, f"{MARKER}\none")
    forge.upsert_comment(place, 5, MARKER, f"{MARKER}\ntwo")
    assert [one["body"] for one in double.comments] == ["a person's comment", f"{MARKER}\ntwo"]
    assert all(TOKEN in token for token in double.tokens)


def test_the_earlier_comment_is_found_on_a_later_page(double: Double, place: forge.Forge) -> None:
    for number in range(130):
        double.written(double.comments, f"comment {number}")
    forge.upsert_comment(place, 5, MARKER, f"{MARKER}\none")
    forge.upsert_comment(place, 5, MARKER, f"{MARKER}\ntwo")
    assert len(double.comments) == 131
    assert double.comments[-1]["body"].endswith("two")


def test_a_comment_of_somebody_else_with_the_marker_is_left_alone(double: Double, place: forge.Forge) -> None:
    double.written(double.comments, f"{MARKER}\nforged", user={"type": "User"}, author={"id": 8})
    forge.upsert_comment(place, 5, MARKER, f"{MARKER}\nours")
    assert [one["body"] for one in double.comments] == [f"{MARKER}\nforged", f"{MARKER}\nours"]


def test_one_issue_is_opened_edited_and_closed(double: Double, place: forge.Forge) -> None:
    forge.upsert_issue(place, "drift", MARKER, "Drift", f"{MARKER}\none")
    forge.upsert_issue(place, "drift", MARKER, "Drift", f"{MARKER}\ntwo")
    assert [one["body"] for one in double.open_issues] == [f"{MARKER}\ntwo"]
    place.close(next(place.issues("drift")))
    assert double.open_issues == []


def test_what_the_forge_refuses_is_told_without_the_token(double: Double) -> None:
    place, _ = forge.of_environment(
        {"GITHUB_API_URL": double.url, "GITHUB_REPOSITORY": "o/missing", "GITHUB_TOKEN": TOKEN}
    )
    with pytest.raises(UserError, match="404 Not Found") as told:
        forge.upsert_comment(place, 5, MARKER, "text")
    assert TOKEN not in str(told.value)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "no forge is known here"),
        ({"GITHUB_REPOSITORY": "o/r"}, "GITHUB_TOKEN is not set"),
        ({"CI_PROJECT_ID": "1"}, "GITLAB_TOKEN is not set"),
        (
            {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": "http://forge.example"},
            "a token is not sent without TLS",
        ),
    ],
)
def test_a_job_that_lacks_something_is_told_what(variables: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as told:
        forge.of_environment(variables)
    assert TOKEN not in str(told.value)


def test_a_push_is_of_no_pull_request() -> None:
    variables = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": TOKEN, "GITHUB_REF": "refs/heads/main"}
    assert forge.of_environment(variables)[1] is None
