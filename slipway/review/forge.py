"""The place that holds pull requests, GitHub or GitLab, by its REST API: one comment, one issue, edited in place.

A dozen lines a forge: client libraries would bring more packages than calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from model_build.errors import UserError

PAGE = 100
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Note:
    """A comment or an issue."""

    id: int
    text: str
    url: str


class Forge(Protocol):
    def comments(self, number: int) -> Iterator[Note]:
        """Those of a pull request that this caller wrote."""
        ...

    def comment(self, number: int, text: str, edited: Note | None) -> str:
        """Writes a comment, or edits one; gives its address."""
        ...

    def issues(self, label: str) -> Iterator[Note]:
        """Open ones."""
        ...

    def issue(self, title: str, text: str, label: str, edited: Note | None) -> str: ...

    def close(self, issue: Note) -> None: ...


def upsert_comment(forge: Forge, number: int, marker: str, text: str) -> str:
    """Edits the comment that begins with the marker; writes one where there is none."""
    earlier = next((note for note in forge.comments(number) if note.text.startswith(marker)), None)
    return forge.comment(number, text, earlier)


def upsert_issue(forge: Forge, label: str, marker: str, title: str, text: str) -> str:
    """The same for the open issue with that label and marker."""
    earlier = next((note for note in forge.issues(label) if note.text.startswith(marker)), None)
    return forge.issue(title, text, label, earlier)


@dataclass(frozen=True)
class Api:
    """JSON over HTTP with a token, which no message repeats."""

    base: str
    headers: Mapping[str, str]

    def call(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """Raises UserError with what the forge said."""
        import urllib3

        url = f"{self.base}/{path}"
        body = json.dumps(content).encode() if content is not None else None
        headers = {"Content-Type": "application/json", **self.headers}
        try:
            answer = urllib3.request(method, url, body=body, headers=headers, timeout=TIMEOUT_SECONDS, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise UserError(f"{method} {url}: {error}", "is the forge reachable from here?") from None
        if answer.status >= 400:
            raise UserError(
                f"{method} {url}: {answer.status} {_message(answer.data)}",
                "may the token write to pull requests and issues of this project?",
            )
        return json.loads(answer.data) if answer.data else None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        page, joint = 1, "&" if "?" in path else "?"
        while True:
            found = self.call("GET", f"{path}{joint}per_page={PAGE}&page={page}")
            yield from found
            if len(found) < PAGE:
                return
            page += 1


@dataclass(frozen=True)
class GitHub:
    """https://docs.github.com/rest/issues/comments: a pull request is an issue there."""

    api: Api
    repository: str

    def comments(self, number: int) -> Iterator[Note]:
        for one in self.api.pages(f"repos/{self.repository}/issues/{number}/comments"):
            # A person could write the marker too, and change the text after us.
            if one["user"]["type"] == "Bot" or one.get("author_association") == "OWNER":
                yield _github(one)

    def comment(self, number: int, text: str, edited: Note | None) -> str:
        at = f"comments/{edited.id}" if edited else f"{number}/comments"
        return self._write(edited, f"repos/{self.repository}/issues/{at}", {"body": text})

    def issues(self, label: str) -> Iterator[Note]:
        for one in self.api.pages(f"repos/{self.repository}/issues?state=open&labels={quote(label)}"):
            if "pull_request" not in one:
                yield _github(one | {"id": one["number"]})

    def issue(self, title: str, text: str, label: str, edited: Note | None) -> str:
        at = f"/{edited.id}" if edited else ""
        content = {"title": title, "body": text, "labels": [label]}
        return self._write(edited, f"repos/{self.repository}/issues{at}", content)

    def close(self, issue: Note) -> None:
        self.api.call("PATCH", f"repos/{self.repository}/issues/{issue.id}", {"state": "closed"})

    def _write(self, edited: Note | None, path: str, content: Mapping[str, Any]) -> str:
        return str(self.api.call("PATCH" if edited else "POST", path, content)["html_url"])


@dataclass(frozen=True)
class GitLab:
    """https://docs.gitlab.com/api/notes, of merge requests."""

    api: Api
    project: str

    def comments(self, number: int) -> Iterator[Note]:
        own = self.api.call("GET", "user")["id"]
        for one in self.api.pages(f"projects/{quote(self.project, safe='')}/merge_requests/{number}/notes"):
            if one["author"]["id"] == own:
                yield Note(one["id"], one["body"], "")

    def comment(self, number: int, text: str, edited: Note | None) -> str:
        at = f"/{edited.id}" if edited else ""
        path = f"projects/{quote(self.project, safe='')}/merge_requests/{number}/notes{at}"
        written = self.api.call("PUT" if edited else "POST", path, {"body": text})
        return f"note {written['id']}"

    def issues(self, label: str) -> Iterator[Note]:
        for one in self.api.pages(f"projects/{quote(self.project, safe='')}/issues?state=opened&labels={quote(label)}"):
            yield Note(one["iid"], one["description"] or "", one["web_url"])

    def issue(self, title: str, text: str, label: str, edited: Note | None) -> str:
        at = f"/{edited.id}" if edited else ""
        content = {"title": title, "description": text, "labels": label}
        path = f"projects/{quote(self.project, safe='')}/issues{at}"
        return str(self.api.call("PUT" if edited else "POST", path, content)["web_url"])

    def close(self, issue: Note) -> None:
        path = f"projects/{quote(self.project, safe='')}/issues/{issue.id}"
        self.api.call("PUT", path, {"state_event": "close"})


def of_environment(variables: Mapping[str, str]) -> tuple[Forge, int | None]:
    """The forge whose job this is, by its own variables, and the pull request's number. Raises UserError."""
    if variables.get("GITHUB_REPOSITORY"):
        api = Api(
            _address(variables.get("GITHUB_API_URL", "https://api.github.com")),
            {"Authorization": f"Bearer {_token(variables, 'GITHUB_TOKEN')}", "Accept": "application/vnd.github+json"},
        )
        return GitHub(api, variables["GITHUB_REPOSITORY"]), number_of_environment(variables)
    if variables.get("CI_PROJECT_ID"):
        api = Api(
            _address(variables.get("CI_API_V4_URL", "https://gitlab.com/api/v4")),
            {"PRIVATE-TOKEN": _token(variables, "GITLAB_TOKEN")},
        )
        return GitLab(api, variables["CI_PROJECT_ID"]), number_of_environment(variables)
    raise UserError(
        "no forge is known here: neither GITHUB_REPOSITORY nor CI_PROJECT_ID is set",
        "run it in a job of GitHub Actions or GitLab CI, or leave --post out",
    )


def number_of_environment(variables: Mapping[str, str]) -> int | None:
    """The pull request that this job is of, where its variables tell it."""
    reference = variables.get("GITHUB_REF", "").split("/")  # refs/pull/NUMBER/merge
    found = reference[2] if reference[:2] == ["refs", "pull"] else variables.get("CI_MERGE_REQUEST_IID", "")
    return int(found) if found.isdecimal() else None


def _token(variables: Mapping[str, str], name: str) -> str:
    token = variables.get(name, "")
    if not token:
        raise UserError(f"{name} is not set", "give the job a token that may write to pull requests and issues")
    return token


def _address(url: str) -> str:
    """A token travels over TLS alone, or to this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise UserError(f"{url}: a token is not sent without TLS", "give the forge's https address")
    return url.rstrip("/")


def _github(one: Mapping[str, Any]) -> Note:
    return Note(one["id"], one.get("body") or "", one["html_url"])


def _message(data: bytes) -> str:
    try:
        said = json.loads(data)
        return str(said.get("message") or said.get("error") or "")
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace")
