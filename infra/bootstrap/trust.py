"""Who may take a role: jobs of one repository, told by the subject of their OIDC token. Pure.

The subject is compared as a whole wherever the forge lets it be; `*` stands only for a branch's name on GitLab.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

AUDIENCE = "sts.amazonaws.com"
GITHUB_URL = "https://token.actions.githubusercontent.com"


@dataclass(frozen=True)
class Forge:
    """Where jobs run. `url` issues their tokens."""

    kind: str
    url: str
    repository: str
    branch: str

    @property
    def host(self) -> str:
        """By which IAM names the token's claims."""
        return self.url.removeprefix("https://")

    def reviewers(self) -> list[str]:
        """Subjects of jobs that look and build: of pull requests, and of the branch that is merged to."""
        if self.kind == "github":
            return [f"repo:{self.repository}:pull_request", f"repo:{self.repository}:ref:refs/heads/{self.branch}"]
        return [f"project_path:{self.repository}:ref_type:branch:ref:*"]

    def deployers(self, environment: str) -> list[str]:
        """Subjects of jobs that deploy to an environment.

        GitLab's subject does not tell the environment: there its protection is the forge's alone.
        """
        if self.kind == "github":
            return [f"repo:{self.repository}:environment:{environment}"]
        return [f"project_path:{self.repository}:ref_type:branch:ref:{self.branch}"]

    def previewers(self) -> list[str]:
        """Subjects of jobs that make and sweep preview environments."""
        return self.deployers("preview") if self.kind == "github" else self.reviewers()


def document(subjects: dict[str, tuple[Forge, list[str]]]) -> dict[str, Any]:
    """A role's trust policy. `subjects`: ARN of the OIDC provider → the forge, and the subjects that may."""
    return {"Version": "2012-10-17", "Statement": list(_statements(subjects))}


def _statements(subjects: dict[str, tuple[Forge, list[str]]]) -> Iterator[dict[str, Any]]:
    for provider, (forge, allowed) in subjects.items():
        compared = "StringLike" if any("*" in subject for subject in allowed) else "StringEquals"
        conditions: dict[str, dict[str, Any]] = {"StringEquals": {f"{forge.host}:aud": AUDIENCE}}
        conditions.setdefault(compared, {})[f"{forge.host}:sub"] = allowed
        yield {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": conditions,
        }
