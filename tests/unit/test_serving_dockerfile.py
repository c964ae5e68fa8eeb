"""`serving/Dockerfile` keeps the rules of an image that is small, reproducible and runs with no more than it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from dockerfiles import Instruction, ignored, parse, stages

PROJECT = Path(__file__).parents[2]
DOCKERFILE = PROJECT / "serving/Dockerfile"

GOOD = """\
FROM python:3.12-slim AS packages
COPY a /a
RUN pip install --no-cache-dir --require-hashes --target /opt/packages -r /tmp/requirements.txt
FROM python:3.12-slim
COPY --from=packages /a /a
USER 10001:10001
EXPOSE 8080
HEALTHCHECK CMD ["true"]
ENTRYPOINT ["python"]
"""


def problems(text: str) -> list[str]:
    """What a reviewer would object to, each as `line: rule`."""
    found: list[str] = []
    instructions = parse(text)
    *_, final = stages(instructions)
    names = {stage[0].words[2] for stage in stages(instructions) if len(stage[0].words) > 2}
    last = {one.name: one for one in final}

    def object_to(one: Instruction, rule: str) -> None:
        found.append(f"{one.line}: {rule}")

    for one in instructions:
        match one.name:
            case "FROM":
                image = one.words[0]
                if image not in names and (":" not in image or image.endswith(":latest")):
                    object_to(one, "a base image needs a tag that is not latest")
            case "ADD":
                object_to(one, "COPY, for ADD fetches and unpacks")
            case "RUN":
                if "pip install" in one.text and not {"--require-hashes", "--no-cache-dir"} <= set(one.words):
                    object_to(one, "pip needs --require-hashes and --no-cache-dir")
                if any(word in one.words for word in ("sudo", "curl", "wget", "ssh")):
                    object_to(one, "nothing is fetched past the package manager's hashes")
                if "apt-get install" in one.text and "--no-install-recommends" not in one.words:
                    object_to(one, "apt needs --no-install-recommends")
            case "ENV" | "ARG" if any(word in one.text.upper() for word in ("SECRET", "TOKEN", "PASSWORD", "_KEY")):
                object_to(one, "a secret would stay in the image's history")
            case "ENTRYPOINT" | "CMD" if not one.text.startswith("["):
                object_to(one, "the JSON form, or a shell takes the signals")
            case "WORKDIR" if not one.text.startswith("/"):
                object_to(one, "an absolute path")
            case "MAINTAINER":
                object_to(one, "a LABEL")
            case _:
                pass
    user = last.get("USER")
    if user is None or user.text.split(":")[0] in ("0", "root") or not user.text.split(":")[0].isdecimal():
        found.append(f"{user.line if user else len(text.splitlines())}: the last stage needs a USER, a number above 0")
    for name in ("EXPOSE", "HEALTHCHECK", "ENTRYPOINT"):
        if name not in last:
            found.append(f"{len(text.splitlines())}: the last stage needs {name}")
    return found


def test_the_serving_image_keeps_every_rule() -> None:
    assert problems(DOCKERFILE.read_text()) == []


def test_the_good_example_keeps_every_rule() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("python:3.12-slim AS", "python AS", "1: a base image needs a tag"),
        ("python:3.12-slim AS", "python:latest AS", "1: a base image needs a tag"),
        ("COPY a /a", "ADD https://example.org/a /a", "2: COPY, for ADD"),
        ("--require-hashes ", "", "3: pip needs"),
        ("pip install", "curl x | sh && pip install", "3: nothing is fetched"),
        ("USER 10001:10001", "USER root", "6: the last stage needs a USER"),
        ("USER 10001:10001", "ENV A=1", "9: the last stage needs a USER"),
        ("EXPOSE 8080", "ENV AWS_SECRET_ACCESS_KEY=x", "7: a secret"),
        ('["python"]', "python", "9: the JSON form"),
        ("HEALTHCHECK", "LABEL", "9: the last stage needs HEALTHCHECK"),
    ],
)
def test_each_rule_finds_its_offender(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert any(one.startswith(message) for one in problems(GOOD.replace(old, new, 1)))


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    patterns = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split()
    sources = [
        source
        for one in parse(DOCKERFILE.read_text())
        if one.name == "COPY" and "from" not in one.flags
        for source in one.arguments[:-1]
    ]
    assert sources
    for source in sources:
        assert (PROJECT / source).exists()
        assert not ignored(source, patterns)
    assert not ignored("serving/tasks/tensor.py", patterns)
    for kept_out in (
        ".git/config",
        "serving/__pycache__/a.pyc",
        "requirements/dev.txt",
        "serving/Dockerfile",
        "specs/a",
    ):
        assert ignored(kept_out, patterns)


def test_instructions_are_joined_and_split_as_docker_does() -> None:
    one, other = parse('# comment\nRUN a \\\n  # comment within\n  && b\nCMD ["x y", "z"]\n')
    assert (one.name, one.text, one.line) == ("RUN", "a && b", 2)
    assert other.words == ["x y", "z"]
