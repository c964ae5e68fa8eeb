"""One request to an endpoint through boto3's `sagemaker-runtime`, as any program would send it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_build.errors import UserError
from model_build.manifest import Manifest
from model_build.spec import CONTENT_TYPES


def content_type(path: Path) -> str:
    try:
        return CONTENT_TYPES[path.suffix.lower()]
    except KeyError:
        raise UserError(
            f"{path}: no content type is known for '{path.suffix}'",
            next_step=f"give --content-type, or a file that ends in {', '.join(CONTENT_TYPES)}",
        ) from None


def predict(runtime: Any, endpoint_name: str, body: bytes, kind: str) -> Any:
    """The endpoint's answer, decoded from JSON. Raises UserError with what AWS or the model said."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint_name, Body=body, ContentType=kind, Accept="application/json"
        )
    except ClientError as error:
        said = error.response.get("OriginalMessage") or error.response["Error"].get("Message", "")
        raise UserError(
            f"{endpoint_name}: {error.response['Error']['Code']}: {said}",
            next_step="deploy what is built: slipway up, or slipway deploy on AWS" if "not found" in str(said) else "",
        ) from None
    except BotoCoreError as error:
        raise UserError(
            f"{endpoint_name}: {error}", next_step="is the endpoint's cloud reachable? slipway local status"
        ) from None
    return json.loads(answer["Body"].read())


def sample(manifest: Manifest, build_directory: Path) -> tuple[bytes, str] | None:
    """Body and content type of the model's own sample input, where its spec names one."""
    if manifest.sample is None:
        return None
    return (build_directory / manifest.sample.file).read_bytes(), manifest.sample.content_type


def shown(body: bytes, kind: str, file: str, width: int = 60) -> str:
    """A request in a few words for a table."""
    if kind == "application/json":
        text = json.loads(body)
        text = text.get("inputs", text) if isinstance(text, dict) else text
        line = text if isinstance(text, str) else json.dumps(text)
        line = " ".join(line.split())
        return _cut(line, width)
    return f"{file} ({len(body):,} bytes)"


def answered(answer: Any, width: int = 60) -> str:
    """A prediction in a few words: labels with their scores, a text, or the beginning of the JSON."""
    first = answer
    while isinstance(first, list) and first and not _named(first):
        first = first[0]
    if _named(first):
        return _cut(", ".join(f"{one['word']} ({one['entity_group'].lower()})" for one in first), width)
    if isinstance(first, dict) and {"label", "score"} <= first.keys():
        return f"{first['label']} ({first['score']:.3f})"
    if isinstance(first, dict) and len(first) == 1 and isinstance(text := next(iter(first.values())), str):
        return _cut(text, width)
    if isinstance(first, str):
        return _cut(first, width)
    return _cut(json.dumps(answer, ensure_ascii=False), width)


def _named(answer: Any) -> bool:
    """Whether it is the named entities of one text."""
    return isinstance(answer, list) and bool(answer) and isinstance(answer[0], dict) and "entity_group" in answer[0]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"
